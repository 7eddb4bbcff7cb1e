"""GNU make's Makefile: what it promises about flags, sources and failures."""

import re
import shutil
import subprocess

import pytest

from parts import analyze
from support import ROOT, TEXT, WINDOWS

pytestmark = pytest.mark.skipif(WINDOWS, reason="make may have another name")

WARNINGS = {"-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion",
            "-Werror"}


def make(tree, *arguments):
    """Runs make without installing anything. Returns status and output."""
    done = subprocess.run(
        ["make", "--no-print-directory", "SETUP=", *arguments], cwd=tree,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=60, **TEXT)
    return done.returncode, done.stdout


@pytest.fixture
def tree(tmp_path):
    """A tree with all that make needs, and nothing built yet."""
    for name in ("src", "tests/checked"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts",
                    ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def compiling(output):
    """Returns the commands that compile C, each as a list of words."""
    return [line.split() for line in output.splitlines()
            if re.search(r"\w\.c( |$)", line)]


def test_other_flags_leave_the_warnings(tree):
    status, output = make(tree, "-n", "CFLAGS=-O0", "MSVC_CFLAGS=/Od", "all",
                          "steps", "checked", "msvc")
    assert status == 0, output
    gcc = [x for x in compiling(output) if "scripts/parts/msvc.py" not in x]
    clang = [x for x in compiling(output) if "scripts/parts/msvc.py" in x]
    assert gcc and clang
    for words in gcc:
        assert WARNINGS | {"-O0"} <= set(words), words
    for words in clang:
        assert {"/W4", "/WX", "/Od"} <= set(words), words


def test_the_analysis_warns_of_the_same():
    assert WARNINGS == {analyze.LANGUAGE, *analyze.WARNINGS, "-Werror"}


def test_a_new_source_is_a_word(tree):
    """It is added to SOURCES, from where all builds take it."""
    (tree / "src" / "novel.c").touch()
    makefile = tree / "Makefile"
    text = makefile.read_text(encoding="ascii")
    makefile.write_text(text.replace("SOURCES = ", "SOURCES = novel ", 1),
                        encoding="ascii")
    status, output = make(tree, "-n", "all", "checked", "msvc")
    assert status == 0, output
    assert sum("src/novel.c" in x for x in compiling(output)) == 3
    assert len(re.findall(r"/novel\.o(?:bj)? .* -lws2_32|"
                          r" link .*/novel\.obj ", output)) == 3


def test_what_failed_is_not_left(tree):
    """make deletes the output that a dying compiler has begun."""
    compiler = tree / "compiler"
    compiler.write_text('#!/bin/sh\nfor x; do case $x in *.o) : >"$x"; esac\n'
                        "done\nexit 1\n", encoding="ascii")
    compiler.chmod(0o755)
    status, output = make(tree, f"CC={compiler}", "build/x86_64/log.o")
    assert status != 0 and "compiler" in output
    assert (tree / "build" / "x86_64").exists()
    assert not (tree / "build" / "x86_64" / "log.o").exists()


def test_help_names_every_target():
    text = (ROOT / "Makefile").read_text(encoding="ascii")
    phony = set(" ".join(re.findall(r"^\.PHONY: (.*)$", text, re.M)).split())
    status, output = make(ROOT, "help")
    assert status == 0 and "Nothing to be done" not in output
    named = set(re.findall(r"^make ([a-z][\w-]*)", output, re.M))
    # `all` is the default; the others belong to ARCH or to make itself.
    assert named == phony - {"all", "help", "setup", "setup-msvc", "x86_64",
                             "i686"}
