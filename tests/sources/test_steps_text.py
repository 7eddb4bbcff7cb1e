"""src/steps as a text: each step is one short file, tells its problem, and
shares what it can with its neighbours, so that their difference is the
lesson."""

import difflib
import re
import shutil
import subprocess
import sys

import pytest

import count
from kinds import STEPS
from parts import steps_diff
from support import ROOT, TEXT

ROAD = [each.program.stem for each in STEPS.values()]
CLIENT = "stable_echo_client"
SHARED = {"Check", "PrintClient", "Listen"}  # by all steps

# Lines of code. Step 6 has all of step 5 but main's accept, and AcceptEx.
MOST_LINES = {**dict.fromkeys(ROAD + [CLIENT], 200), ROAD[5]: 219}
# Lines of code that are not in the step before.
MOST_NEW = {ROAD[1]: 110, ROAD[2]: 75, ROAD[3]: 100, ROAD[4]: 35,
            ROAD[5]: 72}


def text_of(name):
    return (ROOT / "src/steps" / f"{name}.c").read_text(encoding="ascii")


def code_of(text):
    """Returns the lines of code, without comments and blanks around them."""
    return [line.strip() for line in count.without_comments(text).splitlines()
            if line.strip()]


def functions(text):
    """Returns the text of each function, by name, but main's and PROGRAM."""
    found = {}
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    for match in re.finditer(r"^static [^;{}=]*?(\w+)\([^;{}]*\)\n\{\n.*?^\}",
                             code, re.MULTILINE | re.DOTALL):
        found[match[1]] = re.sub(r"\s+", " ", match[0])
    return found


def new_lines(old, new):
    """Counts the lines that are new."""
    return sum(line.startswith("+ ") for line in difflib.ndiff(old, new))


def test_these_are_all():
    there = {path.stem for path in (ROOT / "src/steps").glob("*.c")}
    assert there == {*ROAD, CLIENT}
    assert [int(name[4]) for name in ROAD] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("name", [*ROAD, CLIENT])
def test_a_step_is_one_short_file(name):
    """A student can copy it and needs nothing else."""
    text = text_of(name)
    assert text.startswith(f"/*\n * {name}.c - ")
    assert f'#define PROGRAM  "{name}"\n' in text
    assert re.findall(r"^#\s*include +([^<].*)$", text, re.MULTILINE) == []
    assert all(len(line) < 80 for line in text.splitlines())
    assert count.lines_of_code(text) <= MOST_LINES[name]
    assert max(lines for _, lines in count.functions(text)) <= 45


@pytest.mark.skipif(shutil.which("clang") is None, reason="no clang here")
@pytest.mark.parametrize("name", [*ROAD, CLIENT])
def test_a_step_is_cpp_too(name):
    """Visual Studio names new source files .cpp. (Only C++ warns that {0}
    leaves members out.)"""
    subprocess.run(
        ["clang", "--target=x86_64-w64-mingw32", "-x", "c++", "-std=c++11",
         "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion",
         "-Werror", "-Wno-missing-field-initializers",
         str(ROOT / "src/steps" / f"{name}.c")],
        check=True, timeout=60)


@pytest.mark.parametrize("number", range(6))
def test_a_step_begins_with_a_problem_and_ends_with_the_next(number):
    about = " ".join(steps_diff.parts_of(
        ROOT / "src/steps" / f"{ROAD[number]}.c")[0].replace("*", "").split())
    before, shows = about.index("The problem before: "), "this step shows"
    assert before < about.index(shows)
    problem = re.search(r"Its problems?: ", about)
    assert about.index(shows) < problem.start()
    if number > 0:
        assert f"step {number} " in about[before:].split(shows)[0]
    if number < 5:
        assert f"{ROAD[number + 1]}.c" in about[problem.start():]
    else:
        assert "server in src/ begins here" in about[problem.start():]


def test_what_steps_share_is_the_same_text():
    """A function of one name is the same in all steps that have it, unless it
    is what a step changes."""
    every = {name: functions(text_of(name)) for name in ROAD}
    for name, mine in every.items():
        assert SHARED <= set(mine), name
    for shared in SHARED:
        assert len({mine[shared] for mine in every.values()}) == 1, shared
    for number, both in enumerate(zip(ROAD, ROAD[1:]), 1):
        first, second = (every[name] for name in both)
        changed = {name for name in set(first) & set(second)
                   if first[name] != second[name]}
        assert changed <= {
            1: {"CloseClient", "StartClient"},
            2: {"CloseClient", "StartClient"},
            3: {"CloseClient", "StartClient"},
            4: {"CloseClient", "StartClient", "EchoThreadMain"},
            5: {"CloseClient", "StartClient", "EchoThreadMain", "Post",
                "OnControl"}}[number], changed


@pytest.mark.parametrize("name", ROAD[1:])
def test_a_step_changes_little(name):
    before = ROAD[ROAD.index(name) - 1]
    new = new_lines(code_of(text_of(before)), code_of(text_of(name)))
    assert new <= MOST_NEW[name]


# -------------------------------- side by side ------------------------------

def run(*arguments, columns=""):
    return subprocess.run(
        [sys.executable, steps_diff.__file__, *arguments],
        env={"COLUMNS": columns, "PATH": ""} if columns else None,
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60, **TEXT)


@pytest.mark.parametrize("number", range(1, 6))
def test_side_by_side(number, monkeypatch):
    """Each side is whole, whatever the width."""
    old, new = (steps_diff.parts_of(ROOT / "src/steps" / f"{name}.c")[1]
                for name in ROAD[number - 1:number + 1])
    short = steps_diff.make_text(old, new, 162)
    monkeypatch.setattr(steps_diff, "CONTEXT", 10**6)
    rows = list(steps_diff.rows(old, new))
    assert [left for left, mark, _ in rows if mark != ">"] == old
    assert [right for _, mark, right in rows if mark != "<"] == new
    assert all(left == right for left, mark, right in rows if mark == " ")
    for width in (60, 162):
        text = steps_diff.make_text(old, new, width)
        half = (width - 4) // 2
        sides = [(x[:half], x[half + 3:]) for x in text.splitlines()]
        for side, lines in zip(zip(*sides), (old, new)):
            assert ("".join(x.strip() for x in side).replace(" ", "")
                    == "".join(lines).replace(" ", ""))
    assert len(short) < len(text)  # the same without what is equal


def test_the_page_and_the_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(steps_diff, "ROOT", tmp_path)
    monkeypatch.setattr(steps_diff, "PAGES", tmp_path / "build" / "steps")
    monkeypatch.setattr(sys, "argv", ["steps_diff.py", "4"])
    assert steps_diff.main() == 0
    out = capsys.readouterr().out
    assert out.startswith("step4_iocp.c - step5_end.c\n")
    assert "> static BOOL WINAPI OnControl(DWORD event)\n" in out
    assert out.endswith("as a page: build/steps/4-5.html\n")
    page = (tmp_path / "build/steps/4-5.html").read_text(encoding="utf-8")
    assert "OnControl" in page and "The problem before" in page
    assert not re.search(r"https?:|src=|<script|url\(|@import", page)


@pytest.mark.parametrize("number", ["0", "6", "x", ""])
def test_no_such_step(number):
    done = run(number)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") <= 2
