"""`make analyze` finds what it is for: one mistake for each of its tools.

In a copy with one small source, as the tools take half a minute for all.
"""

import shutil
import subprocess

import pytest

from support import ROOT, WINDOWS

pytestmark = pytest.mark.skipif(
    WINDOWS or not all(map(shutil.which, ("clang-format", "clang-tidy",
                                          "cppcheck"))),
    reason="needs Linux' tools: sh scripts/setup.sh analysis")

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

PLANTED = {
    # the tool, what is changed into what, what it says
    "format": ("while (i < 16)", "while( i<16 )", "+    while (i < 16)"),
    "cppcheck": ("return 1;", "{ i = 2; return 1; }", "[unreadVariable]"),
    "gcc": ("    i = block[0];\n    free(block);\n",
            "    free(block);\n    i = block[0];\n",
            "[-Werror=analyzer-use-after-free]"),
    "tidy": ("return i;", "return i == atoi(\"1\");", "[cert-err34-c"),
}


@pytest.fixture
def analyze(tmp_path):
    """analyze(text, tool): its status and output for a source like that."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    for name in ("Makefile", ".clang-format", ".clang-tidy"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "src").mkdir()

    def run(text, *tools):
        (tmp_path / "src" / "main.c").write_text(text, encoding="ascii")
        done = subprocess.run(
            ["make", "--no-print-directory", "analyze",
             "TOOLS=" + " ".join(tools)], cwd=tmp_path,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, encoding="utf-8", timeout=60)
        return done.returncode, done.stdout
    return run


def test_a_clean_source_passes(analyze):
    status, output = analyze(CLEAN)
    assert status == 0, output
    assert [line.split(":")[0] for line in output.splitlines()] == [
        "clang-format", "cppcheck", "x86_64-w64-mingw32-gcc", "clang-tidy"]


@pytest.mark.parametrize("tool", PLANTED)
def test_a_mistake_is_found(analyze, tool):
    old, new, said = PLANTED[tool]
    assert CLEAN.count(old) == 1
    status, output = analyze(CLEAN.replace(old, new), tool)
    assert status != 0
    assert said in output


def test_fixing_the_format_leaves_the_rest(analyze, tmp_path):
    analyze(CLEAN.replace("while (i < 16)", "while( i<16 )"), "--fix", "format")
    fixed = (tmp_path / "src" / "main.c").read_text(encoding="ascii")
    assert fixed == CLEAN
