"""The guides: their links lead somewhere, what they name exists, their words
are plain, and what one language has the other has too."""

import os
import pathlib
import posixpath
import re
from urllib.parse import unquote

import pytest

from support import ROOT, run_server
import demo  # where support finds the scripts

NOT_OURS = {"build", "__pycache__"}  # and names that begin with a dot,
SHOWN = {".ci", ".github"}           # except these


# ------------------------------ what there is -------------------------------

def files(root):
    """Returns every file and folder below `root`, relative to it."""
    found = set()
    for folder, folders, names in os.walk(root):
        here = pathlib.Path(folder).relative_to(root)
        folders[:] = [name for name in folders if name in SHOWN
                      or name not in NOT_OURS and name[0] != "."]
        found |= {(here / name).as_posix() for name in folders + names}
    return found


def documents(root):
    return sorted(name for name in files(root) if name.endswith(".md"))


def read(root, name):
    return (root / name).read_text(encoding="utf-8")


FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^    .*$", re.MULTILINE)
SPAN = re.compile(r"`([^`]+)`")


def prose(text):
    """Returns the text without code."""
    for code in FENCED, INDENTED, SPAN:
        text = code.sub(" ", text)
    return text


def code(text):
    """Returns the pieces of code: each line of a block, each span."""
    blocks = FENCED.findall(text) + INDENTED.findall(FENCED.sub("", text))
    return ([line for block in blocks for line in block.split("\n")]
            + SPAN.findall(INDENTED.sub("", FENCED.sub("", text))))


# ---------------------------------- links -----------------------------------

def links(text):
    """Returns where [links](like this) and ![pictures](like this) lead."""
    return re.findall(r"\]\(([^)\s]+)\)|^\[[^]]+\]: (\S+)", prose(text),
                      re.MULTILINE)


def anchors(text):
    """Returns the anchors of the headings, by GitHub's rule."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", FENCED.sub("", text),
                              re.MULTILINE):
        words = re.sub(r"[^\w -]", "", heading.strip().lower())
        name = base = words.replace(" ", "-")
        number = 0
        while name in found:  # another heading has the same name
            number += 1
            name = f"{base}-{number}"
        found.add(name)
    return found


def broken_links(root):
    """Returns the relative links that lead nowhere."""
    there, broken = files(root), []
    for document in documents(root):
        text = read(root, document)
        for link in map("".join, links(text)):
            if re.match(r"[a-z]+:", link):
                continue  # on the web
            path, _, anchor = unquote(link).partition("#")
            target = posixpath.normpath(posixpath.join(
                posixpath.dirname(document), path)) if path else document
            if target not in there or anchor and anchor not in anchors(
                    read(root, target)):
                broken.append(f"{document}: {link}")
    return broken


def test_links():
    assert documents(ROOT)[0] == "README.md"
    assert broken_links(ROOT) == []


@pytest.mark.parametrize("link, good", [
    ("(#two-words)", True), ("(#Two-Words)", False), ("(#two)", False),
    ("(#한국어-안내)", True), ("(#한국어)", False), ("(#twice-1)", True),
    ("(#twice-2)", False), ("(#c-and-pool_c)", True), ("(#no-heading)", False),
    ("(other.md)", False), ("(sub/other.md)", True), ("(sub)", True),
    ("(Sub/other.md)", False), ("(sub/other.md#here)", True),
    ("(sub/other.md#there)", False), ("(sub/../README.md#twice)", True),
    ("(../outside.md)", False), ("(build/made.md)", False),
    ("(https://example.org/none#x)", True)])
def test_broken_links_are_found(tmp_path, link, good):
    readme = ("# Two words\n\n## 한국어 안내\n\n## Twice\n\n## Twice\n\n"
              "## C, and `pool_c`\n\n```\n# no heading\n```\n\n"
              "    [code](none.md)\n\n`[code](none.md)`\n")
    for name, text in {"README.md": readme, "sub/other.md": "# Here\n",
                       "build/made.md": ""}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert broken_links(tmp_path) == []
    for form in f"[a link\nto it]{link}", f"![a picture]{link}":
        (tmp_path / "README.md").write_text(f"{readme}\n{form}\n",
                                            encoding="utf-8")
        assert broken_links(tmp_path) == ([] if good
                                          else [f"README.md: {link[1:-1]}"])


# ---------------------------------- names -----------------------------------

def sources():
    """Returns the text of all sources and scripts except this file."""
    return "\n".join(
        read(ROOT, name) for name in files(ROOT)
        if re.search(r"^(src|scripts|tests)/.*\.(c|h|py)$", name)
        and name != pathlib.Path(__file__).relative_to(ROOT).as_posix())


def targets(makefile):
    lines = re.findall(r"^(\w[\w -]*):(?!=)", read(ROOT, makefile),
                       re.MULTILINE)
    return set(" ".join(lines).split())


# The names in a piece of code.
FILE = re.compile(r"[\w./\\-]+\.(?:c|h|py|cmd|sh|yml)\b")
OPTION = re.compile(r"(?<!\S)--([a-z][\w-]*)")
IDENTIFIER = re.compile(r"^[a-z]\w*_\w+$")
MAKE = re.compile(r"(?<!n)make(?: [A-Z]+=(?:\"[^\"]*\"|\S+))* ([a-z][\w-]*)")
NMAKE = re.compile(r"nmake /f NMakefile ([a-z]\w*)")
LESSON = re.compile(r"(?:LESSON=|demo )([a-z][\w-]*)$")
PRESET = re.compile(r"#preset=([a-z]\w*)")


def unknown_names(text, source):
    """Returns the names in a document's code that do not exist."""
    there = files(ROOT)
    known = {
        FILE: lambda name: any(f"/{path}".endswith(
            "/" + name.replace("\\", "/")) for path in there),
        OPTION: lambda name: re.search(rf"[-\"]{name}\b", source),
        IDENTIFIER: lambda name: re.search(rf"\b{name}\b", source),
        MAKE: targets("Makefile").__contains__,
        NMAKE: targets("NMakefile").__contains__,
        LESSON: demo.LESSONS.__contains__,
        PRESET: lambda name: re.search(rf"^  {name}: \{{workers", read(
            ROOT, "scripts/playground.html"), re.MULTILINE)}
    return sorted({name for piece in code(text) for kind in known
                   for name in kind.findall(piece) if not known[kind](name)})


@pytest.mark.parametrize("document", documents(ROOT))
def test_names(document):
    assert unknown_names(read(ROOT, document), sources()) == []


@pytest.mark.parametrize("piece, unknown", [
    ("`main.c` `src/main.c` `EchoThreadMain`", []),
    ("`nain.c` `tests/main.c`", ["nain.c", "tests/main.c"]),
    ("    scripts\\run.cmd 9190\n    scripts\\walk.cmd",
     ["scripts\\walk.cmd"]),
    ("`connection_open`, `connection_opened`", ["connection_opened"]),
    ("`--batch 64 --bunch 3`", ["bunch"]), ("`make test-i686`", []),
    ("`make TESTS=\"-k x\" best`", ["best"]),
    ("    make ARCH=i686 teps", ["teps"]),
    ("`nmake /f NMakefile run PORT=9190` `nmake /f NMakefile ran`", ["ran"]),
    ("`demo cycle` `demo bicycle` `make demo LESSON=no-such`",
     ["bicycle", "no-such"]),
    ("`playground.html#preset=sync` `#preset=sink&predict`", ["sink"])])
def test_unknown_names_are_found(piece, unknown):
    assert unknown_names(piece + "\n", sources()) == unknown


def test_options_are_those_of_the_server():
    shown = re.findall(r"^\| (?:`(-\w)`, )?`(--[\w-]+)",
                       read(ROOT, "README.md"), re.MULTILINE)
    told = re.findall(r"^  (-\w)? +(--[\w-]+)", run_server("--help").stdout,
                      re.MULTILINE)
    assert len(told) > 10 and shown == told


# ------------------------------ both languages ------------------------------

COMMAND = re.compile(r"^(?:(?:n?make|demo|mingw32-make|py|python3|winget) |"
                     r"\S+\.(?:cmd|exe|py) |\S*#preset=)")
FIGURE = re.compile(r"\**([\d.,-]+(?: msg/s| MB/s| /s)?)\**")


def cells(row):
    """Returns the cells of a table's row: figures, and "" for all others."""
    found = [FIGURE.fullmatch(cell.strip())
             for cell in SPAN.sub("", row).split("|")[1:-1]]
    return [figure[1] if figure else "" for figure in found]


def shape(text):
    """Returns what must be the same in both languages, for each section: the
    heading's level, the cells of tables, the items of lists, the folded parts,
    the code without its comments, the commands in the prose."""
    sections = []
    for part in re.split(r"^(?=#+ )", FENCED.sub("", text),
                         flags=re.MULTILINE)[1:]:
        lines = part.split("\n")
        blocks = [line for line in lines if INDENTED.match(line)]
        sections.append({
            "heading": lines[0].split(" ")[0],
            "tables": [cells(x) for x in lines if x.startswith("|")],
            "lists": re.findall(r"^ *(?:-|\d+\.)(?= )", part, re.MULTILINE),
            "folded": part.count("<details>"),
            "code": [re.split("  +", line.strip())[0] for line in blocks],
            "commands": sorted({" ".join(span.split())
                                for span in SPAN.findall(part)
                                if COMMAND.match(span)})})
    return sections


def differences(text, other):
    """Returns where the shapes of two texts differ; both, for each section."""
    mine, others = shape(text), shape(other)
    if len(mine) != len(others):
        return [(len(mine), len(others))]
    return [({key: one[key] for key in one if one[key] != two[key]},
             {key: two[key] for key in one if one[key] != two[key]})
            for one, two in zip(mine, others) if one != two]


@pytest.mark.parametrize("guide", ["src/README", "scripts/README"])
def test_both_languages_have_the_same(guide):
    assert differences(read(ROOT, guide + ".md"),
                       read(ROOT, guide + ".ko.md")) == []


GUIDE = """# Head

`make run` and `x`.

| a | b |
|---|---|
| 1 | `c|d` |

    make demo    list them

1. One

   <details>

## Tail
"""


@pytest.mark.parametrize("old, new, same", [
    ("# Head", "# 머리", True), ("## Tail", "### Tail", False),
    ("\n## Tail\n", "", False), ("`x`", "`y`", True),
    ("`make run`", "`make  run`", True), ("`make run`", "`make test`", False),
    ("| 1 | `c|d` |\n", "", False), ("| 1 |", "| 1 | 2 |", False),
    ("| 1 |", "| 2 |", False), ("| a |", "| 가 |", True),
    ("list them", "목록 보기", True),
    ("make demo ", "make demos ", False), ("1. One", "1. 하나", True),
    ("1. One", "1. One\n2. Two", False), ("   <details>\n", "", False)])
def test_differences_are_found(old, new, same):
    assert old in GUIDE
    assert (differences(GUIDE, GUIDE.replace(old, new)) == []) == same


# ---------------------------------- words -----------------------------------

# Words that are old-fashioned or read as translated.
STIFF = re.compile(r"\b(shall|anew|so many|so long(?! as)|is told of|for who|"
                   r"as it was meant|nobody will ever)\b")

# Korean sentences have polite endings, in tables too, and use one word for one
# thing: the chapter's.
PLAIN_ENDING = re.compile(r"[\uac00-\ud7a3]*(?!니)[\uac00-\ud7a3]다"
                          r"(?=[.)]?\s*(?:\||$)|\. )", re.MULTILINE)
OTHER_WORDS = re.compile("스레드|컴플리션")


def badly_said(text):
    text = prose(text)
    return [found[0] for rule in (STIFF, PLAIN_ENDING, OTHER_WORDS)
            for found in rule.finditer(text)]


@pytest.mark.parametrize("document", documents(ROOT))
def test_words(document):
    assert badly_said(read(ROOT, document)) == []


@pytest.mark.parametrize("text, found", [
    ("It is started anew. `anew`", ["anew"]),
    ("so long as it lasts; it waits so long", ["so long"]),
    ("빌려 씁니다. 돌려줍니다(기본입니다). 다음 수신을 기다립니다", []),
    ("| 빌려 쓴다 | 돌려준다. |\n한다. 그리고 받는다",
     ["쓴다", "돌려준다", "한다", "받는다"]),
    ("작업자 스레드", ["스레드"])])
def test_stiff_words_are_found(text, found):
    assert badly_said(text) == found
