"""NMakefile does what it should, as far as that can be seen without NMAKE.

nmake.py reads and runs it; `cl` and `link` are found on PATH, as they would be
on Windows, but lead to clang and lld. First nmake.py itself is tried on what
Microsoft's reference says of NMAKE, then it runs NMakefile, then NMakefiles
with mistakes in them, each of which has to be noticed.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import pytest

import nmake
import support
import test_executable

ROOT = support.ROOT
SCRIPT = pathlib.Path(nmake.__file__).resolve()
BUILD_TIMEOUT = 100  # seconds
SOURCES = {path.stem for path in (ROOT / "src").glob("*.c")}
STEPS = {path.stem for path in (ROOT / "src" / "steps").glob("*.c")}

on_linux = pytest.mark.skipif(support.WINDOWS, reason="NMAKE itself is there")


def write_commands(directory, commands):
    """Programs for a PATH: name -> body of a shell script."""
    directory.mkdir()
    for name, body in commands.items():
        path = directory / name
        path.write_text(f"#!/bin/sh\n{body}\n", encoding="ascii")
        path.chmod(0o755)
    return directory


def run_nmake(tree, commands, *arguments, makefile="NMakefile", **env):
    """Run it in `tree`. Returns status, commands shown, and all output."""
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "/f", makefile, *arguments], cwd=tree,
        env={"PATH": path, **env}, stdin=subprocess.DEVNULL,
        **support.TEXT,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=BUILD_TIMEOUT)
    shown = [line[1:] for line in done.stdout.split("\n")
             if line.startswith("\t")]
    return done.returncode, shown, done.stdout


# -------------------------------- nmake.py ---------------------------------

@pytest.fixture
def make(tmp_path):
    """make(text, *arguments, **environment) runs nmake.py on that text.

    make.status, make.shown and make.output are what came of it. The text's
    commands: `say` prints its arguments, `create` makes files, `fail` fails.
    """
    commands = write_commands(tmp_path / "bin", {
        "say": r"""printf '%s\n' "said: $*" """,
        "create": 'for f; do : >"$f"; done', "fail": "exit 3",
        "show_x": 'echo "X is $X"'})

    def run(text, *arguments, **env):
        (tmp_path / "test.mak").write_text(text, encoding="ascii")
        run.status, run.shown, run.output = run_nmake(
            tmp_path, commands, *arguments, makefile="test.mak", **env)
        return [x[6:] for x in run.output.split("\n")
                if x.startswith("said: ")]
    run.path = tmp_path
    return run


def age(path, seconds):
    """Make a file, last written so long ago."""
    path.touch()
    then = time.time() - seconds
    os.utime(path, (then, then))


@on_linux
def test_macro_precedence(make):
    text = "X = makefile\nall:\n say $(X)\n"
    assert make(text) == ["makefile"]
    assert make(text, X="environment") == ["makefile"]
    assert make(text, "X=command line", X="environment") == ["command line"]
    assert make("all:\n say $(X)\n", X="environment") == ["environment"]


@on_linux
def test_macros_are_expanded_when_used(make):
    assert make("A = $(B)c\nall:\n say $(A) $$ $B\nB = b\n") == ["bc $ b"]


@on_linux
def test_undefined_macros_are_errors(make):
    make("all:\n say $(X)\n")
    assert make.status == 2 and "test.mak(2): X has no def" in make.output


@on_linux
def test_environment_variables(make):
    # A macro of the same name changes the variable, if there is one.
    text = "X = macro\nall:\n show_x\n"
    make(text, X="before")
    assert "X is macro" in make.output
    make(text)
    assert "X is \n" in make.output


@on_linux
def test_set_lasts_and_leaves_the_macro_alone(make):
    assert make("X = 1\nall:\n set X=2\n show_x\n say $(X)\n") == ["1"]
    assert "X is 2" in make.output


@on_linux
def test_conditions(make):
    text = ("!IFDEF A\nX = a\n!ELSE\n! ifndef B\nX = neither\n!else\nX = b\n"
            "!ENDIF\n!ENDIF\nall:\n say $(X)\n")
    assert make(text) == ["neither"]
    assert make(text, "B=1") == ["b"]
    assert make(text, "A=") == ["a"]  # a null macro is a defined one
    assert make(text, "A=1", "B=1") == ["a"]


@on_linux
def test_lines(make):
    assert make("# a comment\nX = a \\\n    b  # and one\nall: # here too\n"
                "# and here\n say $(X) \\\n    c\n\n say d\n"
                ) == ["a b c", "d"]


@on_linux
def test_command_modifiers(make):
    assert make("all:\n @say a\n -fail\n - @ say b\n say c\n") == [
        "a", "b", "c"]
    assert make.shown == ["fail", "say c"] and make.status == 0


@on_linux
def test_a_failed_command_ends_it(make):
    assert make("all:\n say a\n fail\n say b\n") == ["a"]
    assert make.status == 2 and "return code '0x3'" in make.output
    make("all:\n nosuchcommand\n")
    assert make.status == 2 and "no program" in make.output


@on_linux
def test_the_first_target_is_the_default(make):
    text = ".SUFFIXES: .x\nA = 1\na1 a2:\n say $@\na3:\n say $@\n"
    assert make(text) == ["a1"]
    assert make(text, "a3", "a2") == ["a3", "a2"]
    make(text, "a4")
    assert make.status == 2 and "don't know how to make 'a4'" in make.output


@on_linux
def test_timestamps(make):
    text = "x.out: x.in\n create x.out\n"
    source, result = make.path / "x.in", make.path / "x.out"
    age(source, 60)
    make(text)
    assert make.shown == ["create x.out"]
    make(text)
    assert make.shown == []
    os.utime(source, ns=(0, result.stat().st_mtime_ns))
    make(text)
    assert make.shown == []  # as old is not out of date
    os.utime(source, ns=(0, result.stat().st_mtime_ns + 100))
    make(text)
    assert make.shown == ["create x.out"]


@on_linux
def test_pseudotargets_always_run(make):
    text = ("all: x.out say_it\nsay_it:\n say it\n"
            "x.out: new\n create x.out\nnew:\n")
    for _ in range(2):
        assert make(text) == ["it"]
        assert make.shown == ["create x.out", "say it"]


@on_linux
def test_dependencies_are_cumulative(make):
    # The reference's example, with commands that can be seen.
    text = ("all: leap.exe bounce.exe climb.exe\n"
            "{in}.obj{}.exe:\n create $@\n"
            "leap.exe bounce.exe : jump.obj\n"
            "bounce.exe climb.exe : up.obj\n create $@\n say $**\n")
    (make.path / "in").mkdir()
    for name in ("in/leap.obj", "jump.obj", "up.obj"):
        age(make.path / name, 60)
    assert make(text) == ["jump.obj up.obj", "up.obj"]
    assert [x for x in make.shown if x.startswith("create")] == [
        "create leap.exe", "create bounce.exe", "create climb.exe"]


@on_linux
def test_filename_macros(make):
    for name, seconds in (("a.in", 10), ("a.obj", 20), ("b.in", 30)):
        age(make.path / name, seconds)
    assert make("a.obj: a.in b.in\n say $@ $* $? $(@B) $(@F) $(@D) $(**R)\n"
                ) == ["a.obj a a.in a a.obj . a b"]
    (make.path / "out").mkdir()
    assert make("out\\x.obj: a.in\n say $* $(@D) $(@B) $(@F) $(@R)\n") == [
        "out\\x out x x.obj out\\x"]


@on_linux
def test_inference_rules(make):
    (make.path / "src").mkdir()
    age(make.path / "src" / "a.c", 60)
    age(make.path / "h.h", 60)
    rule = "{src}.c{.}.obj:\n create $@\n say $< $@ $(<B) $**\n"
    assert make(f"all: a.obj\n{rule}") == ["src\\a.c a.obj a src\\a.c"]
    # Explicit dependents are a reason too, and never what $< is.
    os.utime(make.path / "h.h")
    assert make(f"all: a.obj\n{rule}a.obj: *.h\n") == [
        "src\\a.c a.obj a src\\a.c h.h"]
    # A block's own commands go before the rule's.
    text = f"all: b.obj a.obj\n{rule}b.obj: h.h\n create b.obj own\n"
    os.utime(make.path / "src" / "a.c")
    age(make.path / "src" / "b.c", 60)
    make(text)
    assert [x for x in make.shown if x.startswith("create")] == [
        "create b.obj own", "create a.obj"]


@on_linux
def test_suffixes_decide_between_rules(make):
    for name in ("a.c", "a.asm"):
        age(make.path / name, 60)
    text = "all: a.obj\n.c.obj:\n create $@\n.asm.obj:\n create $@ $<\n"
    # Here one of the rules applies to nothing, which nmake.py does not like.
    make(text)
    assert "test.mak(2): this rule applies to nothing" in make.output
    age(make.path / "b.c", 60)
    make(text.replace("all: a.obj", "all: b.obj a.obj"))
    assert make.shown == ["create b.obj", "create a.obj a.asm"]
    # With an explicit dependent of higher priority no rule applies.
    make("all: a.obj\n.c.obj:\n create $@\na.obj: a.asm\n")
    assert "test.mak(4): 'a.obj' has no commands" in make.output


WRONG = [
    # Preprocessing
    ("!IFDEF X\nall:\n say\n", "(1): no !ENDIF"),
    ("!ENDIF\nall:\n say\n", "(1): no !IF"),
    ("!IFDEF X\n!ELSE\n!ELSE\n!ENDIF\nall:\n say\n", "(3): no !IF"),
    ("!IFDEF\n!ENDIF\nall:\n say\n", "(1): !IFDEF takes one"),
    ("!IF 1\n!ENDIF\nall:\n say\n", "(1): directive not known"),
    ("!DEFINE X\nall:\n say\n", "(1): directive not known"),
    # GNU make's language
    ("X := 1\nall:\n say\n", "(1): not a name"),
    ("X ?= 1\nall:\n say\n", "(1): not a line"),
    ("X += 1\nall:\n say\n", "(1): not a line"),
    ("X = $(wildcard *.c)\nall:\n say $(X)\n", "(1): not a macro"),
    ("X = $(A:.c=.obj)\nA = a.c\nall:\n say\n", "(1): not a macro"),
    ("X = ${A}\nA = a.c\nall:\n say\n", "(1): not a macro"),
    ("all: test.mak\n say $^\n", "(2): '^' is not known"),
    ("all: test.mak\n say $+\n", "(2): not a macro"),
    ("%.obj: %.c\n say\n", "(1): not a name"),
    (".PHONY: all\nall:\n say\n", "(1): not known"),
    ("ifdef X\nendif\nall:\n say\n", "(1): not a line"),
    ("include x.mak\nall:\n say\n", "(1): not a line"),
    ("all: a | b\n say\n", "(1): not a name"),
    ("all: ; say\n", "(1): '::' and ';'"),
    # Names and macros
    ("all: src/a.c\n say\n", "(1): not a name"),
    ("all: *.nothing\n say\n", "(1): no file is like"),
    ("all: nothing.c\n say\n", "(1): don't know how to make"),
    ("all: nothing\n say\n", "(1): don't know how to make"),
    ("x1: test.mak\n say\nx1: test.mak\n say\n", "(4): this target has comm"),
    ("all:\n say\nX = a\nX = b\n", "(4): X is defined twice"),
    ("X = $(Y)\nY = $(X)\nall:\n say\n", "X is defined by itself"),
    ("X = $(Y)\nall:\n say\n", "(1): Y has no definition"),
    (" \nX = 1\n: test.mak\n say\n", "(1): indented, but no command"),
    ("X =\n$(X): test.mak\n say\n", "(2): no target"),
    ("X = 1\n", "no target"),
    ("a:\n say\n", "(1): 'a:' is a drive"),
    ("all: b1\nb1: c.d\nc.d: b1\n say\n", "depends on itself"),
    # Lines
    ("all:\n\n say\n", "(3): indented, but no command"),
    ("X = 1\n Y = 2\nall:\n say\n", "(2): indented, but no command"),
    ("all:\n \n say\n", "(2): blanks alone"),
    ("all:\n # not one\n say\n", "(2): an indented comment"),
    ("X = a \\ \n b\nall:\n say\n", "(1): blanks after the backslash"),
    ("X = a \\\n\nall:\n say\n", "(2): the line before goes on"),
    ("# comment \\\nall:\n say\n", "(1): a comment that goes on"),
    ("all:\n say \\", "(2): the end is in the middle"),
    # Inference rules
    ("all: a.obj\na.obj: test.mak\n", "(2): 'a.obj' has no commands"),
    ("all:\n say\n.c.obj:\n say\n", "(3): this rule applies to nothing"),
    ("all:\n say\n{a}.c.obj:\n say\n", "(3): a rule has two paths"),
    ("all:\n say\n{a/b}.c{}.obj:\n say\n", "(3): not a path"),
    ("all:\n say\n.c.obj::\n say\n", "(3): '::' and ';'"),
    ("all:\n say\n.mak.obj:\n say\n", "(3): .mak is not in .SUFFIXES"),
    (".SUFFIXES:\nall:\n say\n.c.obj:\n say\n", "(4): .c is not in .SUFF"),
    (".SUFFIXES: .mak\nall: test.obj\n.mak.obj:\n", "this rule has no comm"),
    ("all: test.mak\n say $<\n", "(2): $< has no meaning"),
    ("all: $@\n say\n", "(1): $@ has no meaning"),
    # Commands
    ("all:\n say a && say b\n", "(2): not known here"),
    ("all:\n say %PATH%\n", "(2): not known here"),
    ("all:\n say \"a\n", "(2): not known here"),
    ("all:\n cd src\n", "(2): not known here"),
    ("all:\n rm -f x\n", "(2): not known here"),
    ("all:\n mkdir a/b\n", "(2): not known here"),
    ("all:\n mkdir -p a\n", "(2): not known here"),
    ("all:\n rmdir /s a\n", "(2): not known here"),
    ("all:\n del a/b\n", "(2): not known here"),
    ("all:\n if exist a/b del a\n", "(2): not known here"),
    ("all:\n if exist a rm a\n", "(2): not known here"),
    ("all:\n set X = 1\n", "(2): not known here"),
    ("all:\n X=1 say\n", "(2): not known here"),
    # Never run, and wrong all the same
    ("all:\n say\nother:\n say $(X)\n", "(4): X has no definition"),
    ("x.y: test.mak\n say\n", "'x.y' was not made"),
]


@on_linux
@pytest.mark.parametrize("text, message", WRONG)
def test_what_is_wrong_is_an_error(make, text, message):
    make(text)
    assert make.status == 2, make.output
    assert message in make.output


@on_linux
def test_commands_of_the_shell(make):
    make("all:\n if not exist a\\b mkdir a\\b\n if exist a\\b say there\n"
         " if not exist a\\b fail\n")
    assert make.status == 0 and "said: there" in make.output
    (make.path / "a" / "b" / "file").touch()
    make("all:\n del a\\b\\file\n rmdir /s /q a\n")
    assert make.status == 0 and not (make.path / "a").exists()


# -------------------------------- NMakefile --------------------------------

COMPILE_FLAGS = {"/nologo", "/W4", "/WX", "/std:c11", "/guard:cf", "/c"}
LINK_FLAGS = {"/nologo", "/guard:cf", "/dynamicbase", "/nxcompat",
              "/largeaddressaware", "/manifest:no", "ws2_32.lib"}


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """cl, rc and link for PATH; and a python that tells what it was asked."""
    script = ROOT / "scripts" / "parts" / "msvc.py"
    return write_commands(tmp_path_factory.mktemp("tools") / "bin", {
        "cl": f'exec "{sys.executable}" "{script}" cl "$@"',
        "rc": f'exec "{sys.executable}" "{script}" rc "$@"',
        "link": f'exec "{sys.executable}" "{script}" link "$@"',
        "python": r"""printf '%s\n' """
                  '"python $* SERVER=$SERVER STEPS=$STEPS"'})


@pytest.fixture(scope="module")
def quick_tools(tmp_path_factory):
    """The same, but what they make are empty files."""
    output = r"""for x; do
        case $x in
            /[Ff]o*) x=${x#/?o} ;;
            /out:*) x=${x#/out:} ;;
            *) continue ;;
        esac
        : >"$(printf '%s' "$x" | tr '\\' /)"
    done"""
    return write_commands(tmp_path_factory.mktemp("quick") / "bin",
                          {"cl": output, "rc": output, "link": output})


def copy_sources(tree, text=None):
    """What NMakefile needs, with that text in place of its own."""
    shutil.copytree(ROOT / "src", tree / "src")
    shutil.copy2(ROOT / "NMakefile", tree / "NMakefile")
    if text is not None:
        (tree / "NMakefile").write_text(text, encoding="ascii")
    return tree


def compiled(shown):
    """The sources of the compile commands, sorted."""
    return sorted(re.search(r"src\\(?:steps\\)?(\w+)\.c$", line)[1]
                  for line in shown if line.startswith("cl "))


def check_build(tree, tools, *macros, program="build/iocp_echo_server.exe",
                mode="/O2"):
    """It builds all, with the flags it should have."""
    status, shown, output = run_nmake(tree, tools, *macros)
    assert status == 0, output
    assert compiled(shown) == sorted(SOURCES)
    for line in shown[:-2]:
        assert COMPILE_FLAGS | {mode} <= set(line.split()), line
    assert shown[-2].startswith("rc ")
    assert shown[-1].startswith("link ")
    assert LINK_FLAGS <= set(shown[-1].split()), shown[-1]
    assert (tree / program).exists()


def check_steps(tree, tools, *macros, directory="build/steps", mode="/O2"):
    """It builds every step, each from its one file."""
    status, shown, output = run_nmake(tree, tools, "steps", *macros)
    assert status == 0, output
    assert compiled(shown) == sorted(STEPS)
    for line in shown:
        flags = (COMPILE_FLAGS | {mode} if line.startswith("cl ")
                 else LINK_FLAGS)
        assert flags <= set(line.split()), line
    assert len(shown) == 2 * len(STEPS)
    assert {x.stem for x in (tree / directory).glob("*.exe")} == STEPS


def check_header_counts(tree, tools):
    """A header that was changed is a reason to compile everything again."""
    os.utime(tree / "src" / "log.h")
    status, shown, output = run_nmake(tree, tools)
    assert status == 0, output
    assert compiled(shown) == sorted(SOURCES)
    assert shown[-1].startswith("link ")


def check_resource_counts(tree, tools):
    """What the resource is made of is a reason to make that again."""
    for name in ("iocp_echo_server.rc", "iocp_echo_server.manifest"):
        os.utime(tree / "src" / name)
        status, shown, output = run_nmake(tree, tools)
        assert status == 0, output
        assert [line.split()[0] for line in shown] == ["rc", "link"], name
    os.utime(tree / "src" / "version.h")
    _, shown, _ = run_nmake(tree, tools)
    assert [line.split()[0] for line in shown[-2:]] == ["rc", "link"]


@pytest.fixture(scope="module")
def release(tmp_path_factory, tools):
    """A tree in which NMakefile was run. Not to be changed."""
    tree = copy_sources(tmp_path_factory.mktemp("release"))
    check_build(tree, tools)
    return tree


@pytest.fixture
def built(release, tmp_path):
    """A copy of it, of the same age."""
    return shutil.copytree(release, tmp_path / "built")


def test_sources_are_the_same_everywhere(monkeypatch):
    monkeypatch.chdir(ROOT)
    for macros in ({}, {"DEBUG": "1"}):
        makefile = nmake.Makefile("NMakefile", macros, {})
        objects = makefile.expand(("", 0), "$(OBJECTS)").split()
        directory = makefile.expand(("", 0), "$(OBJDIR)")
        assert sorted(objects) == sorted(f"{directory}\\{x}.obj"
                                         for x in SOURCES)
    text = (ROOT / "Makefile").read_text(encoding="ascii")
    names = re.search(r"^SOURCES *=((?:.*\\\n)*.*)$", text, re.M)[1]
    assert sorted(names.replace("\\\n", " ").split()) == sorted(SOURCES)


def test_steps_are_the_same_everywhere(monkeypatch):
    monkeypatch.chdir(ROOT)
    for macros in ({}, {"DEBUG": "1"}):
        makefile = nmake.Makefile("NMakefile", macros, {})
        directory = makefile.expand(("", 0), "$(STEPDIR)")
        assert sorted(makefile.targets["steps"].dependents) == sorted(
            f"{directory}\\{x}.exe" for x in STEPS)
    text = (ROOT / "Makefile").read_text(encoding="ascii")
    names = re.search(r"^STEPS *= (.*)$", text, re.M)[1]
    assert sorted(names.split()) == sorted(STEPS)


def test_flags_are_the_same_in_both():
    text = (ROOT / "Makefile").read_text(encoding="ascii")

    def flags(name):
        value = re.search(rf"^{name} *= ((?:.*\\\n)*.*)$", text, re.M)[1]
        return set(value.replace("\\\n", " ").split())
    assert (COMPILE_FLAGS - {"/c"} | {"/O2"}
            <= flags("MSVC_WARNINGS") | flags("MSVC_CFLAGS"))
    assert LINK_FLAGS <= flags("MSVC_LDFLAGS") | flags("MSVC_LIBS")


def test_no_macro_is_a_variable_of_the_tools(monkeypatch):
    # NMAKE would change the variable, and cl or link obey it.
    monkeypatch.chdir(ROOT)
    macros = nmake.Makefile("NMakefile", {}, {}).macros
    assert not set(macros) & {"CL", "_CL_", "LINK", "_LINK_", "LIB",
                              "LIBPATH", "INCLUDE", "PATH", "TMP", "TEMP"}


@on_linux
@pytest.mark.limit(300)
def test_release(release):
    program = release / "build/iocp_echo_server.exe"
    test_executable.check(program.read_bytes(), test_executable.X64)
    server = support.Server(program=program)
    server.check_serves()
    server.stop()


@on_linux
def test_steps(built, tools):
    check_steps(built, tools)
    assert run_nmake(built, tools, "steps") == (0, [], "")
    for name in STEPS:
        server = support.Server(program=built / f"build/steps/{name}.exe")
        server.check_serves()
        server.kill()
    os.utime(built / "src" / "log.h")
    assert run_nmake(built, tools, "steps")[:2] == (0, [])  # no header's
    first = min(STEPS)
    os.utime(built / "src" / "steps" / f"{first}.c")
    status, shown, output = run_nmake(built, tools, "steps")
    assert status == 0, output
    assert compiled(shown) == [first]
    assert len(shown) == 2 and shown[1].startswith("link ")
    assert run_nmake(built, tools, "clean")[0] == 0
    assert not (built / "build" / "steps").exists()


@on_linux
def test_second_run_does_nothing(built, tools):
    before = {x: x.stat().st_mtime_ns for x in built.rglob("*")}
    assert run_nmake(built, tools) == (0, [], "")
    assert before == {x: x.stat().st_mtime_ns for x in built.rglob("*")}


@on_linux
def test_header_rebuilds_all(built, tools):
    check_header_counts(built, tools)


@on_linux
def test_resource_is_made_again(built, quick_tools):
    check_resource_counts(built, quick_tools)


@on_linux
def test_nmakefile_rebuilds_all(built, quick_tools):
    os.utime(built / "NMakefile")
    check_build(built, quick_tools)


@on_linux
@pytest.mark.parametrize("source", ["main", "worker"])
def test_source_rebuilds_one_object(built, tools, source):
    os.utime(built / "src" / f"{source}.c")
    status, shown, output = run_nmake(built, tools)
    assert status == 0, output
    assert compiled(shown) == [source]
    assert len(shown) == 2 and shown[1].startswith("link ")


@on_linux
@pytest.mark.limit(300)
@pytest.mark.thorough
def test_debug_and_clean(built, tools):
    keep = built / "build" / "keep"
    keep.touch()
    check_build(built, tools, "DEBUG=1", mode="/Od",
                program="build/msvc-debug/iocp_echo_server.exe")
    assert (built / "build/msvc-debug/iocp_echo_server.pdb").exists()
    check_steps(built, tools, "DEBUG=1", mode="/Od",
                directory="build/msvc-debug/steps")
    program = built / "build/msvc-debug/iocp_echo_server.exe"
    test_executable.check(program.read_bytes(), test_executable.X64)
    assert run_nmake(built, tools)[:2] == (0, [])  # the other is still there
    assert run_nmake(built, tools, "clean")[0] == 0
    assert list((built / "build").iterdir()) == [keep]
    assert run_nmake(built, tools, "clean")[0] == 0  # nothing to remove


@on_linux
def test_run_and_test(built, tools):
    status, _, output = run_nmake(built, tools, "run", "PORT=7", "ARGS=-v -q")
    assert status == 0
    assert ("python -E scripts\\launch.py build\\iocp_echo_server.exe 7 -v -q "
            "SERVER= STEPS=\n") in output
    status, _, output = run_nmake(built, tools, "bench", "BENCH=--quick")
    assert status == 0
    assert ("python -E scripts\\bench.py --server build\\iocp_echo_server.exe "
            "--steps build\\steps --quick SERVER= STEPS=\n") in output
    status, _, output = run_nmake(built, tools, "test", "TESTS=-k stop")
    assert status == 0
    assert ("python -E scripts\\parts\\run_tests.py -k stop SERVER=build\\"
            "iocp_echo_server.exe STEPS=build\\steps\n") in output
    status, _, output = run_nmake(built, tools, "soak", "SECONDS=5",
                                  "PARTS=mixed cycles", "ARGS=-w 4")
    assert status == 0
    assert ("python -E tests\\soak.py --seconds 5 --seed 1 --parts mixed "
            "cycles -- -w 4 SERVER=build\\iocp_echo_server.exe STEPS=\n"
            ) in output
    assert {x.stem for x in (built / "build/steps").glob("*.exe")} == STEPS


@on_linux
def test_other_flags_leave_the_warnings(tmp_path, quick_tools):
    tree = copy_sources(tmp_path)
    check_build(tree, quick_tools, "CFLAGS=/Od /Z7", mode="/Od")
    check_steps(tree, quick_tools, "CFLAGS=/Od /Z7", mode="/Od")


@on_linux
def test_variables_of_the_linker_are_left_alone(built, tools):
    # lld-link too takes options from LINK: this one makes a map.
    (built / "build" / "iocp_echo_server.exe").unlink()
    status, _, output = run_nmake(built, tools, LINK="/map:build/map.txt")
    assert status == 0, output
    assert (built / "build" / "map.txt").exists()


# ------------------------- NMakefiles with mistakes ------------------------

MISTAKES = [
    # old, new, what is said. First what nmake.py finds before any command.
    ("$(LD) /nologo", "$(LNK) /nologo", "LNK has no definition"),
    ("OBJDIR  = build\\msvc\n", "OBJDIRS = build\\msvc\n",
     "OBJDIR has no definition"),
    ("!ENDIF", "", "no !ENDIF"),
    ("!ELSE", "!OTHERWISE", "directive not known"),
    ("{src}.c{", "{source}.c{", "no rule applies"),
    ("{src}.c{$(OBJDIR)}", "{src}.c{build}", "no rule applies"),
    ("{src}.c{$(OBJDIR)}", "{src}.cpp{$(OBJDIR)}", "no rule applies"),
    ("{src}.c{$(OBJDIR)}", "{src}.c{$(OBJDIR)/}", "not a path"),
    ("{src}.c{$(OBJDIR)}.obj:\n", "{src}.c{$(OBJDIR)}.obj:\n\n",
     "indented, but no command"),
    ("$(OBJDIR)\\worker.obj", "$(OBJDIR)\\worker.obj $(OBJDIR)\\nobody.obj",
     "'build\\\\msvc\\\\nobody.obj' has no commands"),
    ("src\\*.h", "include\\*.h", "no file is like"),
    ("src\\*.h", "src/*.h", "not a name"),
    ("src\\*.h", "$(wildcard src\\*.h)", "not a macro"),
    ("/Fo$@ $<", "/Fo$@ $^", "'\\^' is not known"),
    ("PYTHON  = python", "PYTHON := python", "not a name"),
    ("mkdir $(OBJDIR)", "mkdir build/msvc", "not known here: mkdir"),
    ("log.obj \\", "log.obj \\ ", "blanks after the backslash"),
    ("trace_file.obj\n", "trace_file.obj \\\n", "the line before goes on"),
    # What the build then shows.
    ("all: $(PROGRAM)", "all:", r"assert \[\] =="),
    ("    $(OBJDIR)\\log.obj \\\n", "", "undefined symbol"),
    ("/Fo$@ ", "", "was not made"),
    ("/fo$@ ", "", "was not made"),
    ("{src}.c{$(OBJDIR)}.obj:\n    @if not exist $(OBJDIR) mkdir $(OBJDIR)\n",
     "{src}.c{$(OBJDIR)}.obj:\n", "return code"),
    ("/out:$@", "/out:build\\server.exe", "was not made"),
    ("ws2_32.lib", "", "undefined symbol"),
    # What only the flags show.
    (" /std:c11", "", "/nologo"),
    ("/WX ", "", "/nologo"),
    (" /manifest:no", "", "/nologo"),
    ("$(CFLAGS) /guard:cf", "$(CFLAGS)", "/nologo"),
    ("HARDEN   = /guard:cf", "HARDEN   =", "/nologo"),
    ("CFLAGS  = /O2", "CFLAGS  = /Od", "/nologo"),
    ("/nxcompat", "", "/nologo"),
]


@on_linux
@pytest.mark.parametrize("old, new, message", MISTAKES)
def test_a_mistake_is_noticed(tmp_path, tools, quick_tools, old, new, message):
    text = (ROOT / "NMakefile").read_text(encoding="ascii")
    assert old in text
    tree = copy_sources(tmp_path, text.replace(old, new))
    real = message in ("undefined symbol", "return code")
    with pytest.raises(AssertionError, match=message):
        check_build(tree, tools if real else quick_tools)


STEP_MISTAKES = [
    ("steps: $(STEPDIR)\\step1_completion_routine.exe ", "steps: ",
     "assert \\["),
    (" $(STEPDIR)\\step2_iocp.exe\n", "\n", "assert \\["),
    ("{src\\steps}.c{", "{src}.c{", "no rule applies|is there already"),
    ("    @if not exist $(STEPDIR) mkdir $(STEPDIR)\n", "", "return code"),
    ("$(LINK_EXE) /out:$@ $**", "$(LD) /out:$@ $**", "/nologo"),
    ("$(LINK_EXE) /out:$@ $**", "$(LINK_EXE) /out:$@",
     "undefined symbol|no input|return code"),
]


@on_linux
@pytest.mark.parametrize("old, new, message", STEP_MISTAKES)
def test_a_mistake_about_the_steps_is_noticed(tmp_path, tools, quick_tools,
                                              old, new, message):
    text = (ROOT / "NMakefile").read_text(encoding="ascii")
    assert old in text
    tree = copy_sources(tmp_path, text.replace(old, new))
    real = "return code" in message
    with pytest.raises(AssertionError, match=message):
        check_steps(tree, tools if real else quick_tools)


@on_linux
def test_no_mistake_is_none(tmp_path, quick_tools):
    # Or the tests above could do without their mistakes.
    check_build(copy_sources(tmp_path), quick_tools)
    check_steps(tmp_path, quick_tools)


@on_linux
@pytest.mark.parametrize("old, new", [
    ("src\\*.h", ""), ("src\\*.h", "src\\platform.h")])
def test_a_forgotten_header_is_noticed(tmp_path, quick_tools, old, new):
    text = (ROOT / "NMakefile").read_text(encoding="ascii")
    assert old in text
    tree = copy_sources(tmp_path, text.replace(old, new))
    check_build(tree, quick_tools)
    with pytest.raises(AssertionError):
        check_header_counts(tree, quick_tools)


@on_linux
@pytest.mark.parametrize("old", [
    " src\\iocp_echo_server.rc src\\iocp_echo_server.manifest \\\n",
    "src\\iocp_echo_server.manifest ", "src\\version.h "])
def test_a_forgotten_part_of_the_resource_is_noticed(tmp_path, quick_tools,
                                                     old):
    text = (ROOT / "NMakefile").read_text(encoding="ascii")
    assert old in text
    tree = copy_sources(tmp_path, text.replace(
        old, " \\\n" if old.endswith("\n") else ""))
    check_build(tree, quick_tools)
    with pytest.raises(AssertionError):
        check_resource_counts(tree, quick_tools)
