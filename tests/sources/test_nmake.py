"""NMakefile does what it should, as far as that shows without NMAKE.

nmake.py reads and runs it. It finds `cl`, `rc` and `link` on PATH, as NMAKE
does; here they start clang and lld, or make empty files. First, nmake.py must
refuse what NMAKE refuses. Then it runs NMakefile, and then NMakefiles with one
mistake each, which the tests must notice.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

import nmake
import support
import test_executable

ROOT = support.ROOT
SCRIPT = pathlib.Path(nmake.__file__).resolve()
BUILD_TIMEOUT = 100  # seconds
SOURCES = {path.stem for path in (ROOT / "src").glob("*.c")}
CLIENT = "stable_echo_client"
STEPS = {path.stem for path in (ROOT / "src" / "steps").glob("*.c")}

on_linux = pytest.mark.skipif(support.WINDOWS, reason="NMAKE itself is there")


def write_commands(directory, commands):
    """Writes shell scripts, name -> body, into a directory for PATH."""
    directory.mkdir()
    for name, body in commands.items():
        path = directory / name
        path.write_text(f"#!/bin/sh\n{body}\n", encoding="ascii")
        path.chmod(0o755)
    return directory


def run_nmake(tree, commands, *arguments):
    """Runs it in `tree`. Returns its status, the commands it showed, and all
    of its output."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "NMakefile", *arguments],
        cwd=tree, env={"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=BUILD_TIMEOUT, **support.TEXT)
    shown = [line[1:] for line in done.stdout.split("\n")
             if line.startswith("\t")]
    return done.returncode, shown, done.stdout


# -------------------------------- nmake.py ---------------------------------

REFUSED = [
    # Preprocessing
    ("!ENDIF\nall:\n say\n", "(1): directive not known"),
    ("!IFDEF X\n!ELSE\n!ELSE\n!ENDIF\nall:\n say\n", "(3): directive not"),
    ("!IF 1\n!ENDIF\nall:\n say\n", "(1): directive not known"),
    # GNU make's language
    ("X += 1\nall:\n say\n", "(1): not a line"),
    ("X = $(A:.c=.obj)\nA = a.c\nall:\n say\n", "(1): $( has no meaning"),
    ("%.obj: %.c\n say\n", "(1): not a name"),
    (".PHONY: all\nall:\n say\n", "(1): no commands for '.PHONY'"),
    ("include x.mak\nall:\n say\n", "(1): not a line"),
    # Names and macros
    ("all: nothing\n say\n", "(1): don't know how to make"),
    ("x1: test.mak\n say\nx1: test.mak\n say\n", "(4): this target has comm"),
    ("all:\n say\nX = a\nX = b\n", "(4): X is defined twice"),
    ("X = $(Y)\nY = $(X)\nall:\n say\n", "X has no definition"),
    ("X = 1\n", "no target"),
    ("a:\n say\n", "(1): not a line"),
    # Lines
    ("X = 1\n Y = 2\nall:\n say\n", "(2): indented, but no command"),
    ("all:\n # not one\n say\n", "(2): not known here"),
    ("# comment \\\nall:\n say\n", "(1): a comment that goes on"),
    ("all:\n say \\\n", "(2): the line goes on"),
    # Inference rules
    ("all:\n say\n{a}.c{b}.obj:\n say\n", "(3): this rule applies to nothing"),
    ("all: test.mak\n say $<\n", "(2): $< has no meaning"),
    # Commands
    ("all:\n say a && say b\n", "(2): not known here"),
    ("all:\n say %PATH%\n", "(2): not known here"),
    ("all:\n say \"a\n", "(2): not known here"),
    ("all:\n -say a\n", "(2): not known here"),
    ("all:\n cd src\n", "(2): not known here"),
    ("all:\n mkdir -p a\n", "(2): not known here"),
    ("all:\n rmdir /s a\n", "(2): not known here"),
    ("all:\n if exist a/b del a\n", "(2): not known here"),
    ("all:\n if exist a rm a\n", "(2): not known here"),
    ("all:\n set X = 1\n", "(2): not known here"),
]


@pytest.mark.parametrize("text, message", REFUSED)
def test_what_it_does_not_know_is_refused(tmp_path, monkeypatch, text,
                                          message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test.mak").write_text(text, encoding="ascii")
    with pytest.raises(nmake.MakefileError, match=re.escape(message)):
        nmake.Makefile("test.mak", {})


@on_linux
def test_a_failed_command_ends_it(tmp_path):
    failing = write_commands(tmp_path / "bin", {"cl": "exit 3"})
    status, shown, output = run_nmake(copy_sources(tmp_path), failing)
    assert status == 2 and len(shown) == 1
    assert "return code '0x3'" in output
    status, _, output = run_nmake(tmp_path, failing, "nothing")
    assert status == 2 and "target(nothing): don't know" in output


# -------------------------------- NMakefile --------------------------------

COMPILE_FLAGS = {"/nologo", "/W4", "/WX", "/std:c11", "/guard:cf", "/c"}
LINK_FLAGS = {"/nologo", "/guard:cf", "/dynamicbase", "/nxcompat",
              "/largeaddressaware", "/manifest:no", "ws2_32.lib"}
PROGRAM = "build/iocp_echo_server.exe"
DEBUG_PROGRAM = "build/msvc-debug/iocp_echo_server.exe"


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """cl, rc and link for PATH."""
    script = ROOT / "scripts" / "parts" / "msvc.py"
    return write_commands(tmp_path_factory.mktemp("tools") / "bin", {
        name: f'exec "{sys.executable}" "{script}" {name} "$@"'
        for name in ("cl", "rc", "link")})


@pytest.fixture(scope="module")
def quick_tools(tmp_path_factory):
    """cl, rc and link that make empty files, and a python that prints its
    arguments."""
    output = r"""for x; do
        case $x in
            /[Ff]o*) x=${x#/?o} ;;
            /out:*) x=${x#/out:} ;;
            *) continue ;;
        esac
        : >"$(printf '%s' "$x" | tr '\\' /)"
    done"""
    return write_commands(
        tmp_path_factory.mktemp("quick") / "bin",
        {"cl": output, "rc": output, "link": output, "python":
         r"""printf '%s\n' "python $* SERVER=$SERVER STEPS=$STEPS" """})


def copy_sources(tree, old="", new=""):
    """Copies the sources and NMakefile, the latter with a change."""
    shutil.copytree(ROOT / "src", tree / "src")
    text = (ROOT / "NMakefile").read_text(encoding="ascii")
    assert old in text
    (tree / "NMakefile").write_text(text.replace(old, new) if old else text,
                                    encoding="ascii")
    return tree


def make(tree, tools, *arguments):
    """Runs NMakefile. Returns the commands that it showed."""
    status, shown, output = run_nmake(tree, tools, *arguments)
    assert status == 0, output
    return shown


def compiled(shown):
    """Returns the sources that these commands compile."""
    return {re.search(r"src\\(?:steps\\)?(\w+)\.c$", line)[1]
            for line in shown if line.startswith("cl ")}


def tools_of(shown):
    """Returns the commands' first words."""
    return [line.split()[0] for line in shown]


def check_flags(shown, mode):
    """Each command has the flags it should have."""
    for line in shown:
        flags = {"cl": COMPILE_FLAGS | {mode}, "link": LINK_FLAGS,
                 "rc": {"/nologo"}}[line.split()[0]]
        assert flags <= set(line.split()), line


def check_build(tree, tools, *macros, program=PROGRAM, mode="/O2"):
    """Builds the program, from every source."""
    shown = make(tree, tools, *macros)
    assert compiled(shown) == SOURCES
    assert tools_of(shown) == ["cl"] * len(SOURCES) + ["rc", "link"]
    check_flags(shown, mode)
    assert set(re.findall(r"(\w+)\.obj", shown[-1])) == SOURCES
    assert ".res " in shown[-1]
    assert (tree / program).exists()


def check_steps(tree, tools, *macros, directory="build/steps", mode="/O2"):
    """Builds every step, each from its one file."""
    shown = make(tree, tools, "steps", *macros)
    assert compiled(shown) == STEPS
    assert tools_of(shown) == ["cl", "link"] * len(STEPS)
    check_flags(shown, mode)
    for compiling, linking in zip(shown[::2], shown[1::2]):
        name = re.search(r"\\(\w+)\.c$", compiling)[1]
        assert re.findall(r"\w+\.(?:obj|exe)", linking) == [
            f"{name}.exe", f"{name}.obj"]
    assert {x.stem for x in (tree / directory).glob("*.exe")} == STEPS


def check_changes(tree, tools):
    """Makes again what depends on a changed file, and nothing else."""
    assert make(tree, tools) == make(tree, tools, "steps") == []
    for name, sources, kinds in [
            ("src/main.c", {"main"}, ["cl", "link"]),
            ("src/worker.c", {"worker"}, ["cl", "link"]),
            ("src/log.h", SOURCES, ["cl"] * len(SOURCES) + ["link"]),
            ("src/version.h", SOURCES, ["cl"] * len(SOURCES) + ["rc", "link"]),
            ("src/iocp_echo_server.rc", set(), ["rc", "link"]),
            ("src/iocp_echo_server.manifest", set(), ["rc", "link"])]:
        os.utime(tree / name)
        shown = make(tree, tools)
        assert (compiled(shown), tools_of(shown)) == (sources, kinds), name
    assert make(tree, tools, "steps") == []
    first = min(STEPS)
    os.utime(tree / "src" / "steps" / f"{first}.c")
    shown = make(tree, tools, "steps")
    assert compiled(shown) == {first} and tools_of(shown) == ["cl", "link"]
    os.utime(tree / "NMakefile")
    check_build(tree, tools)
    check_steps(tree, tools)


def check_debug(tree, tools):
    """DEBUG=1 builds everything into a directory of its own."""
    check_build(tree, tools, "DEBUG=1", mode="/Od", program=DEBUG_PROGRAM)
    check_steps(tree, tools, "DEBUG=1", mode="/Od",
                directory="build/msvc-debug/steps")
    assert make(tree, tools) == []  # the release build is untouched


def check_scripts(tree, tools):
    """Starts the scripts with the right arguments, in both modes."""
    for macros, server, steps in [
            ([], "build\\iocp_echo_server.exe", "build\\steps"),
            (["DEBUG=1"], "build\\msvc-debug\\iocp_echo_server.exe",
             "build\\msvc-debug\\steps")]:
        for arguments, asked in [
                (["run", "PORT=7", "ARGS=-v -q"],
                 f"scripts\\launch.py {server} 7 -v -q SERVER= STEPS="),
                (["live", "PORT=7", "ARGS=-v -q"],
                 f"scripts\\live.py 7 -v -q --server {server} SERVER= STEPS="),
                (["demo", "LESSON=cycle"],
                 f"scripts\\demo.py --server {server} cycle SERVER= STEPS="),
                (["puzzle", "N=3"], "scripts\\puzzle.py 3 SERVER= STEPS="),
                (["bench", "BENCH=--quick"],
                 f"scripts\\bench.py --server {server} --steps {steps} --quick"
                 " SERVER= STEPS="),
                (["steps-diff", "FROM=4"],
                 "scripts\\parts\\steps_diff.py 4 SERVER= STEPS="),
                (["test", "TESTS=-k stop"], "scripts\\parts\\run_tests.py "
                 f"-k stop SERVER={server} STEPS={steps}"),
                (["test-all"], "scripts\\parts\\run_tests.py -q --durations=10"
                 f" SERVER={server} STEPS={steps}"),
                (["soak", "SECONDS=5", "PARTS=mixed cycles", "ARGS=-w 4"],
                 "tests\\soak.py --seconds 5 --seed 1 --parts mixed cycles "
                 f"-- -w 4 SERVER={server} STEPS=")]:
            output = run_nmake(tree, tools, *arguments, *macros)[2]
            assert f"python -E {asked}\n" in output


def check_clean(tree, tools):
    """Removes all that was built, and nothing else."""
    (tree / "build" / "keep").touch()
    for _ in range(2):
        make(tree, tools, "clean")
        assert [x.name for x in (tree / "build").iterdir()] == ["keep"]


def check_all(tree, tools):
    """Checks all that empty files can show."""
    for check in (check_build, check_steps, check_changes, check_debug,
                  check_scripts, check_clean):
        check(tree, tools)


def makefile_list(name):
    """Returns the words of one of Makefile's macros."""
    text = (ROOT / "Makefile").read_text(encoding="ascii")
    value = re.search(rf"^{name} *= *((?:.*\\\n)*.*)$", text, re.M)[1]
    return set(value.replace("\\\n", " ").split())


def test_makefile_has_the_same():
    assert makefile_list("SOURCES") == SOURCES
    assert makefile_list("STEPS") == STEPS
    assert (COMPILE_FLAGS - {"/c"} | {"/O2"}
            <= makefile_list("MSVC_WARNINGS") | makefile_list("MSVC_CFLAGS"))
    assert LINK_FLAGS <= (makefile_list("MSVC_LDFLAGS")
                          | makefile_list("MSVC_LIBS"))


def test_no_macro_is_a_variable_of_the_tools(monkeypatch):
    # NMAKE would set the variable, and cl or link would obey it.
    monkeypatch.chdir(ROOT)
    macros = nmake.Makefile("NMakefile", {}).macros
    assert not set(macros) & {"CL", "_CL_", "LINK", "_LINK_", "LIB",
                              "LIBPATH", "INCLUDE", "PATH", "TMP", "TEMP"}


@on_linux
def test_commands(tmp_path, quick_tools):
    check_all(copy_sources(tmp_path), quick_tools)


@on_linux
def test_other_flags_leave_the_warnings(tmp_path, quick_tools):
    tree = copy_sources(tmp_path)
    check_build(tree, quick_tools, "CFLAGS=/Od /Z7", mode="/Od")


def check_programs(tree, tools, program, steps, *macros):
    """The executable is as it should be, and it and the steps serve."""
    make(tree, tools, "all", "steps", *macros)
    test_executable.check((tree / program).read_bytes(), test_executable.X64)
    for path in [program, *(f"{steps}/{x}.exe" for x in STEPS - {CLIENT})]:
        server = support.Server(program=tree / path)
        server.check_serves()
        server.kill()


@on_linux
@pytest.mark.limit(300)
def test_release(tmp_path, tools):
    check_programs(copy_sources(tmp_path), tools, PROGRAM, "build/steps")


@on_linux
@pytest.mark.limit(300)
@pytest.mark.thorough
def test_debug(tmp_path, tools):
    tree = copy_sources(tmp_path)
    check_programs(tree, tools, DEBUG_PROGRAM, "build/msvc-debug/steps",
                   "DEBUG=1")
    assert (tree / DEBUG_PROGRAM).with_suffix(".pdb").exists()


# ------------------------- NMakefiles with mistakes ------------------------

MISTAKES = [
    # Old, new, what is reported. First what nmake.py finds before any command.
    ("$(LD) /nologo", "$(LNK) /nologo", "LNK has no definition"),
    ("OBJDIR  = build\\msvc\n", "OBJDIRS = build\\msvc\n",
     "OBJDIR has no definition"),
    ("!ENDIF", "", "no !ENDIF"),
    ("!ELSE", "!OTHERWISE", "directive not known"),
    ("{src}.c{", "{source}.c{", "no rule applies"),
    ("{src}.c{$(OBJDIR)}", "{src}.c{build}", "no rule applies"),
    ("{src}.c{$(OBJDIR)}", "{src}.cpp{$(OBJDIR)}", "not a name"),
    ("{src}.c{$(OBJDIR)}.obj:\n", "{src}.c{$(OBJDIR)}.obj:\n\n",
     "indented, but no command"),
    ("$(OBJDIR)\\worker.obj", "$(OBJDIR)\\worker.obj $(OBJDIR)\\nobody.obj",
     "no commands for .*nobody.obj"),
    ("src\\*.h", "include\\*.h", "no file is like"),
    ("src\\*.h", "src/*.h", "not a name"),
    ("src\\*.h", "$(wildcard src\\*.h)", "has no meaning"),
    ("/Fo$@ $<", "/Fo$@ $^", "'\\^' is not known"),
    ("PYTHON  = python", "PYTHON := python", "not a name"),
    ("mkdir $(OBJDIR)", "mkdir build/msvc", "not known here: @if"),
    ("log.obj \\", "log.obj \\ ", "blanks at the end"),
    ("trace_file.obj\n", "trace_file.obj \\\n", "the line goes on"),
    ("{src\\steps}.c{", "{src}.c{", "no rule applies"),
    # What the build shows.
    ("all: $(PROGRAM)", "all:", "set"),
    ("    $(OBJDIR)\\log.obj \\\n", "", "set"),
    ("/Fo$@ ", "", "was not made"),
    ("/fo$@ ", "", "was not made"),
    ("    @if not exist $(OBJDIR) mkdir $(OBJDIR)\n", "", "return code"),
    ("    @if not exist $(STEPDIR) mkdir $(STEPDIR)\n", "", "return code"),
    ("/out:$@", "/out:build\\server.exe", "was not made"),
    ("    $(STEPDIR)\\step3_completion_routine.exe \\\n", "", "set"),
    (" \\\n    $(STEPDIR)\\stable_echo_client.exe\n", "\n", "set"),
    ("/out:$@ $*.obj", "/out:$*.exe $@", "exe"),
    ("$(STEP_PROGRAMS): NMakefile\n", "", "applies to nothing"),
    ("$@ $** $(LIBS)", "$@ $(LIBS)", "set|NoneType"),
    ("build\\msvc-debug\n", "build\\msvc\n", "set"),
    ("--server $(PROGRAM)", "--server build\\iocp_echo_server.exe", "python"),
    # What only the flags show.
    ("$(LINK_EXE) /out:$@ $**", "$(LD) /out:$@ $**", "link"),
    (" /std:c11", "", "/nologo"), ("/WX ", "", "/nologo"),
    (" /manifest:no", "", "/nologo"), ("/nxcompat", "", "/nologo"),
    ("$(CFLAGS) /guard:cf", "$(CFLAGS)", "/nologo"),
    ("HARDEN   = /guard:cf", "HARDEN   =", "/nologo"),
    ("CFLAGS  = /O2", "CFLAGS  = /Od", "/nologo"), (" ws2_32.lib", "", "link"),
    # What only a second run shows.
    ("src\\*.h", "", "log.h"), ("src\\*.h", "src\\platform.h", "log.h"),
    ("src\\iocp_echo_server.manifest", "", "manifest"),
    ("src\\version.h ", "", "version.h"), ("version.h NM", "version.h #", "#"),
    ("set STEPS=$(STEPDIR)\n", "set STEP=$(STEPDIR)\n", "python"),
    ("    @if exist build\\steps rmdir /s /q build\\steps\n", "", "keep"),
]


@on_linux
@pytest.mark.parametrize("old, new, message", MISTAKES)
def test_a_mistake_is_noticed(tmp_path, quick_tools, old, new, message):
    tree = copy_sources(tmp_path, old, new)
    with pytest.raises((AssertionError, TypeError), match=message):
        check_all(tree, quick_tools)
