"""Each tool of `make analyze` finds a mistake made on purpose.

They run on a copy with two small sources, as all sources take half a minute.
"""

import re
import shutil
import subprocess

import pytest

from support import ROOT, WINDOWS

pytestmark = pytest.mark.skipif(
    WINDOWS or not all(map(shutil.which, ("clang-format", "clang-tidy",
                                          "cppcheck", "flake8"))),
    reason="needs Linux' tools: sh scripts/setup.sh analysis")

COMPILER = "x86_64-w64-mingw32-gcc"

CLEAN = """\
#include <stdlib.h>

int main(void)
{
    int *block = malloc(16 * sizeof *block);  /* two spaces: the style */
    int i = 0;

    if (block == NULL)
        return 1;
    while (i < 16)
        block[i++] = 1;
    i = block[0];
    free(block);
    return i;
}
"""

CLEAN_PYTHON = """\
import sys

print(sys.argv)
"""

PLANTED = {
    # the tool, the old text, the new text, what the tool says
    "format": ("while (i < 16)", "while( i<16 )", "+    while (i < 16)"),
    "cppcheck": ("return 1;", "{ i = 2; return 1; }", "[unreadVariable]"),
    "gcc": ("    i = block[0];\n    free(block);\n",
            "    free(block);\n    i = block[0];\n",
            "[-Werror=analyzer-use-after-free]"),
    "tidy": ("return i;", "return i == atoi(\"1\");", "[cert-err34-c"),
    "flake8": ("print(sys.argv)", "print()", "F401 'sys' imported but unused"),
    "count": ("int i = 0;", "int i = 0;" + "\n" * 28,
              "main.c: main has 41\ncount.py: a limit is passed"),
}


@pytest.fixture
def analyze(tmp_path):
    """analyze(change, tools): applies `change` to each source and returns
    status and output."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts",
                    ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", ".clang-format", ".clang-tidy", ".flake8"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "src").mkdir()
    counts = tmp_path / "tests" / "sources"
    counts.mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "sources" / "count.py", counts)

    def run(change, *tools):
        for path, text in (("src/main.c", CLEAN),
                           ("tests/print_all.py", CLEAN_PYTHON)):
            (tmp_path / path).write_text(change(text), encoding="ascii")
        done = subprocess.run(
            ["make", "--no-print-directory", "analyze",
             "TOOLS=" + " ".join(tools)], cwd=tmp_path,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, encoding="utf-8", timeout=60)
        return done.returncode, done.stdout
    return run


def test_a_clean_source_passes(analyze):
    status, output = analyze(str)
    assert status == 0, output
    *tools, figures = re.split(r"^(\S+): .*\n", output, flags=re.MULTILINE)
    assert tools == ["", "clang-format", "", "cppcheck", "", COMPILER, "",
                     "clang-tidy", "", "flake8", "", COMPILER]
    assert re.search(r"^lines of the longest function +13 of ", figures,
                     re.MULTILINE)


@pytest.mark.parametrize("tool", PLANTED)
def test_a_mistake_is_found(analyze, tool):
    old, new, said = PLANTED[tool]
    assert (CLEAN + CLEAN_PYTHON).count(old) == 1
    status, output = analyze(lambda text: text.replace(old, new), tool)
    assert status != 0
    assert said in output


def test_fixing_the_format_leaves_the_rest(analyze, tmp_path):
    analyze(lambda text: text.replace("while (i < 16)", "while( i<16 )"),
            "--fix", "format")
    fixed = (tmp_path / "src" / "main.c").read_text(encoding="ascii")
    assert fixed == CLEAN
