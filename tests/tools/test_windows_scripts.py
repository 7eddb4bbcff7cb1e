"""scripts\\*.cmd, run by cmd.exe (here Wine's) with stand-ins for all tools.

The stand-ins are one small program under many names. It records how it was
called and ends with the status that the test wants. All paths contain spaces
and other characters that are special to cmd.exe.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import pytest

import launch
from support import (IO_TIMEOUT, PROGRAM, ROOT, START_TIMEOUT, STOP_SIGNAL,
                     STOP_TIMEOUT, WINDOWS, connect, echo, fields,
                     start_process, windows_path)

SCRIPTS = sorted((ROOT / "scripts").glob("*.cmd"))
COMPILER = shutil.which("gcc" if WINDOWS else "x86_64-w64-mingw32-gcc")

pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a gcc")

# The cmd of Wine 8 drops the rest of the line after such a goto, so the tests
# remove it there. Its effect could only be seen on a console anyway.
GOTO = "goto #none# 2>nul || title %ComSpec% & "

# The environment tells the stand-in what to do: it writes its name, directory
# and arguments to FAKE_LOG.
FAKE = r"""
#include <windows.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int status_of(const char *name, int otherwise)
{
    char variable[64], *dash;

    snprintf(variable, sizeof variable, "FAKE_%s", name);
    if ((dash = strchr(variable, '-')) != NULL)
        *dash = '_';  /* a shell drops variables that it could not name */
    return getenv(variable) != NULL ? atoi(getenv(variable)) : otherwise;
}

static char *utf8(const wchar_t *text)
{
    char *result = malloc(4 * MAX_PATH);

    WideCharToMultiByte(CP_UTF8, 0, text, -1, result, 4 * MAX_PATH, NULL,
                        NULL);
    return result;
}

int wmain(int argc, wchar_t **argv)
{
    wchar_t path[MAX_PATH];
    char *name;
    int i, asked = 0, make, status;
    FILE *log = fopen(getenv("FAKE_LOG"), "ab");

    GetModuleFileNameW(NULL, path, MAX_PATH);
    name = strrchr(utf8(path), '\\') + 1;
    strrchr(name, '.')[0] = '\0';
    for (i = 1; i < argc; ++i)
        asked |= wcscmp(argv[i], L"-c") == 0;
    status = status_of(name, asked ? 42 : 0);
    if (!asked) {
        GetCurrentDirectoryW(MAX_PATH, path);
        fprintf(log, "%s|%s", name, utf8(path));
        for (i = 1; i < argc; ++i)
            fprintf(log, "|%s", utf8(argv[i]));
        if (strcmp(name, "nmake") == 0 && getenv("DEBUG") != NULL)
            fputs("|DEBUG", log);
        fputs("\n", log);
    }
    make = strstr(name, "make") != NULL;
    if (make && status == 0
        && !CopyFileA(getenv("FAKE_SERVER"), "build\\iocp_echo_server.exe",
                      FALSE))
        return 99;
    if (strcmp(name, "vswhere") == 0 && getenv("FAKE_STUDIO") != NULL)
        puts(getenv("FAKE_STUDIO"));
    if (strncmp(name, "py", 2) == 0 && !asked)
        return status_of("tests", 0);
    return status;
}
"""


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    """The program that stands in for all others."""
    directory = tmp_path_factory.mktemp("fake")
    source = directory / "fake.c"
    source.write_text(FAKE, encoding="ascii")
    subprocess.run([COMPILER, "-municode", "-o", str(directory / "fake.exe"),
                    str(source)], check=True, timeout=IO_TIMEOUT)
    return directory / "fake.exe"


class Desk:
    """A computer with some tools, and a user who types."""

    def __init__(self, path, fake):
        self.path, self.fake = path, fake
        self.tree = path / "\ud55c\uae00 (1) & ^more, it's"
        self.tools = path / "tools (x86) & more"
        self.elsewhere = path / "some where & else"
        self.programs = path / "Program Files (x86)"
        self.log = path / "log.txt"
        (self.tree / "build").mkdir(parents=True)
        (self.tree / "scripts").mkdir()
        (self.tree / "NMakefile").touch()
        self.tools.mkdir()
        self.elsewhere.mkdir()
        for script in SCRIPTS:
            text = script.read_text(encoding="ascii")
            if not WINDOWS:
                text = text.replace(GOTO, "")
            (self.tree / "scripts" / script.name).write_bytes(
                text.replace("\n", "\r\n").encode("ascii"))
        self.environment = {"TREE": windows_path(self.tree), "DEBUG": "1",
                            "FAKE_LOG": windows_path(self.log),
                            "FAKE_SERVER": windows_path(fake)}

    def has(self, *names, where=None):
        """Puts programs on PATH, or into another directory."""
        where = where or self.tools
        where.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copy(self.fake, where / f"{name}.exe")

    def has_studio(self, *names):
        """Installs Visual Studio, with these programs at its prompt."""
        studio = self.path / "Studio (2022) & more"
        tools = studio / "Common7" / "Tools"
        self.has(*names, where=studio / "bin")
        tools.mkdir(parents=True)
        (tools / "VsDevCmd.bat").write_bytes(
            b"@echo off\r\n"
            b'>>"%FAKE_LOG%" echo VsDevCmd^|%VSCMD_START_DIR:&=+%^|%*\r\n'
            b'set "PATH=%~dp0..\\..\\bin;%PATH%"\r\nexit /b 0\r\n')
        self.has("vswhere", where=self.programs / "Microsoft Visual Studio"
                 / "Installer")
        self.environment["FAKE_STUDIO"] = windows_path(studio)

    def start(self, script, arguments=""):
        """Types the script's path and the arguments in another directory."""
        (self.path / "typed.cmd").write_bytes("\r\n".join([
            "@echo off",
            f'set "PATH={windows_path(self.tools)};%SystemRoot%\\system32"',
            f'set "ProgramFiles(x86)={windows_path(self.programs)}"',
            f'cd /d "{windows_path(self.elsewhere)}"',
            # On the command line cmd.exe would decode it by a code page.
            f'"%TREE%\\scripts\\{script}.cmd" {arguments}',
            ""]).encode("ascii"))
        return start_process(
            launch.command("cmd.exe", "/d", "/c",
                           windows_path(self.path / "typed.cmd")),
            env={**launch.environment(), **self.environment},
            encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def read(self, script, arguments, read):
        """... and reads what it prints: read(process) returns that, and the
        complaints. Returns the process, and these."""
        before = self.logged()
        for _ in range(launch.START_TRIES):
            process = self.start(script, arguments)
            out, err = read(process)
            silent = self.logged() == before and launch.never_started(
                process.returncode, err)
            if WINDOWS or not (silent or NOT_STARTED.search(err)):
                break
            self.log.write_bytes(before)
        return process, out, err

    def logged(self):
        return self.log.read_bytes() if self.log.exists() else b""

    def type(self, script, arguments=""):
        """... and waits. Returns the exit status and the complaints; nothing
        else may be printed."""
        process, _, err = self.read(script, arguments, complaints)
        return process.returncode, err

    def calls(self):
        """Returns the tools' calls: [name, directory, arguments...]."""
        if not self.log.exists():
            return []
        return [line.split("|") for line in
                self.log.read_text(encoding="utf-8",
                                   errors="replace").splitlines()]


def complaints(process):
    """Waits for the end. Nothing else may be printed."""
    out, err = process.communicate(timeout=START_TIMEOUT)
    assert out == ""
    return out, err


def first_line(process):
    """Returns it; without one, all complaints."""
    line = process.stdout.readline()
    return (line, "") if line else process.communicate(timeout=START_TIMEOUT)


@pytest.fixture
def desk(tmp_path, fake):
    return Desk(tmp_path, fake)


# Wine's cmd could not start a tool, or did not find it just then: try again.
# So do, if nothing is logged, where launch.never_started is true of cmd.
NOT_STARTED = re.compile("ShellExecuteEx failed: Internal error"
                         "|^Can't recognize '", re.MULTILINE)
NMAKE = ["nmake", "/nologo", "/f", "NMakefile"]

# Each file that gives a Python script to script.cmd, and that script.
BY_PYTHON = {"demo": "demo.py", "live": "live.py", "puzzle": "puzzle.py",
             "test": "parts\\run_tests.py"}


def built_by(desk, *command):
    """Returns the expected call of a tool that builds."""
    return [command[0], windows_path(desk.tree), *command[1:]]


def started(desk, *arguments):
    """Returns the expected call of the server."""
    return ["iocp_echo_server", windows_path(desk.elsewhere), *arguments]


# --------------------------------- building --------------------------------

@pytest.mark.parametrize("tools, command", [
    (["cl", "nmake"], NMAKE),
    (["cl", "nmake", "gcc", "mingw32-make", "make", "py"], NMAKE),
    (["gcc", "mingw32-make"], ["mingw32-make"]),
    (["gcc", "make"], ["make"]),
    (["gcc", "mingw32-make", "make"], ["mingw32-make"]),
], ids=lambda x: " ".join(x))
def test_tools_on_path(desk, tools, command):
    desk.has(*tools)
    assert desk.type("run") == (0, "")
    assert desk.calls() == [built_by(desk, *command), started(desk, "9190")]


def test_visual_studio_is_asked_for(desk):
    """... and comes before a MinGW. It must not change the directory."""
    desk.has("gcc", "mingw32-make")
    desk.has_studio("cl", "nmake")
    assert desk.type("run", "7") == (0, "")
    vswhere, prompt, *rest = desk.calls()
    assert vswhere == built_by(
        desk, "vswhere", "-latest", "-products", "*", "-requires",
        "Microsoft.VisualStudio.Component.VC.Tools.x86.x64", "-property",
        "installationPath")
    # cmd.exe echoed this itself, without the ^ and in a code page.
    directory = windows_path(desk.tree).replace("&", "+").replace("^", "")
    assert [re.sub("[^ -~]|[?]", "", x.strip()) for x in prompt] == [
        "VsDevCmd", re.sub("[^ -~]", "", directory),
        "-no_logo -arch=amd64 -host_arch=amd64"]
    assert rest == [built_by(desk, *NMAKE), started(desk, "7")]


def test_visual_studio_is_not_asked_in_vain(desk):
    """A developer command prompt has everything already."""
    desk.has_studio("cl", "nmake")
    desk.has("cl", "nmake")
    assert desk.type("run") == (0, "")
    assert desk.calls()[0] == built_by(desk, *NMAKE)


@pytest.mark.parametrize("tools", [[], ["cl"]], ids=["none", "no C++"])
def test_visual_studio_without_a_compiler(desk, tools):
    desk.has("gcc", "mingw32-make")
    desk.has_studio()
    if not tools:
        del desk.environment["FAKE_STUDIO"]  # vswhere finds nothing
    assert desk.type("run") == (0, "")
    assert desk.calls()[-2:] == [built_by(desk, "mingw32-make"),
                                 started(desk, "9190")]


@pytest.mark.parametrize("script", ["run", *BY_PYTHON])
@pytest.mark.parametrize("tools", [[], ["gcc"], ["make"], ["nmake"]],
                         ids=lambda x: " ".join(x) or "nothing")
def test_no_compiler(desk, script, tools):
    desk.has(*tools, "py")
    status, said = desk.type(script)
    assert status == 1
    assert len(said.splitlines()) == 1
    assert said.startswith("build.cmd: no compiler found; 'winget install ")
    assert "Desktop development with C++" in said
    assert desk.calls() == []


@pytest.mark.skipif(WINDOWS, reason="Wine's fault")
def test_what_wine_did_not_start_is_started_again(desk, monkeypatch):
    start, starts = desk.start, []

    def fails_once(*what):
        starts.append(what)
        return start(*what) if len(starts) > 1 else start_process(
            [sys.executable, "-c", "exit(1)"], encoding="utf-8",
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    monkeypatch.setattr(desk, "start", fails_once)
    desk.has("cl", "nmake", "py")
    desk.environment["FAKE_nmake"] = "2"
    assert desk.type("test")[0] == 1
    assert (len(starts), len(desk.calls())) == (2, 1)


@pytest.mark.parametrize("script", ["run", *BY_PYTHON])
@pytest.mark.parametrize("tools", [["cl", "nmake"], ["gcc", "mingw32-make"],
                                   ["gcc", "make"]], ids=lambda x: x[1])
def test_a_failed_build_starts_nothing(desk, script, tools):
    """Not even the program of an earlier build."""
    shutil.copy(desk.fake, desk.tree / "build" / "iocp_echo_server.exe")
    desk.has(*tools, "py")
    desk.environment["FAKE_" + tools[1].replace("-", "_")] = "2"
    status, said = desk.type(script)
    assert status == 1
    assert [call[0] for call in desk.calls()] == [tools[1]], said


# --------------------------------- run.cmd ---------------------------------

@pytest.mark.parametrize("typed, arguments", [
    ("", ["9190"]),
    ("9191", ["9191"]),
    ("0 -v --workers=3", ["0", "-v", "--workers=3"]),
    ("--help", ["9190", "--help"]),
    ("-v --bind ::1", ["9190", "-v", "--bind", "::1"]),
    ('7 --trace "my & (file).txt"', ["7", "--trace", "my & (file).txt"]),
    ('"7" -q', ["7", "-q"]),
    ("abc", ["abc"]),
])
def test_arguments(desk, typed, arguments):
    desk.has("cl", "nmake")
    assert desk.type("run", typed) == (0, "")
    assert desk.calls()[-1] == started(desk, *arguments)


@pytest.mark.parametrize("status", [1, 2, 57])
def test_exit_status_of_the_server(desk, status):
    desk.has("gcc", "mingw32-make")
    desk.environment["FAKE_iocp_echo_server"] = str(status)
    assert desk.type("run") == (status, "")


def test_a_package_is_not_built(desk):
    """It has no makefile. A compiler is not needed, and not used."""
    (desk.tree / "NMakefile").unlink()
    server = desk.tree / "build" / "iocp_echo_server.exe"
    shutil.copy(desk.fake, server)
    assert desk.type("run", "7") == (0, "")
    desk.has("cl", "nmake", "py")
    assert desk.type("live", "8") == (0, "")
    assert desk.calls() == [started(desk, "7"),
                            python(desk, ["py", "-3", "-E"], "live.py", "8")]


def test_the_server_itself(desk):
    """The server starts, serves and stops with Ctrl+C. Its status is
    run.cmd's."""
    desk.has("gcc", "mingw32-make")
    desk.environment["FAKE_SERVER"] = windows_path(PROGRAM)
    status, said = desk.type("run", "0 --workers none")
    assert status == 2 and "'none'" in said
    try:
        process, ready, err = desk.read("run", "0 --bind 127.0.0.1",
                                        first_line)
        assert ready.startswith("ready "), err
        with connect("127.0.0.1", int(fields(ready)["port"])) as client:
            assert echo(client, b"hello") == b"hello"
        press_ctrl_c(desk, process)
        out, err = process.communicate(timeout=STOP_TIMEOUT)
    finally:
        kill_server(desk)
    # The server's last line is the last: cmd.exe has asked nothing.
    assert err == "" and out.splitlines()[-1].startswith("stopped ")
    # On Windows cmd.exe gets the Ctrl+Break too, and may change the status.
    assert WINDOWS or process.returncode == 0


def servers(desk):
    """Returns the process ids of the servers started from this desk."""
    wanted = windows_path(desk.tree).encode()
    found = []
    for each in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = each.read_bytes()
        except OSError:
            continue  # the process has just ended
        if wanted in line and b"iocp_echo_server.exe" in line:
            found.append(int(each.parent.name))
    return found


def press_ctrl_c(desk, process):
    """Does what a console does for all its processes. Wine has no console
    here, so only the server gets it."""
    if WINDOWS:
        process.send_signal(STOP_SIGNAL)
        return
    pids = servers(desk)
    assert len(pids) == 1, pids
    os.kill(pids[0], STOP_SIGNAL)


def kill_server(desk):
    """Kills the server, which is cmd.exe's child and would outlive the
    test."""
    if not WINDOWS:
        for pid in servers(desk):
            os.kill(pid, signal.SIGKILL)


# -------------------------- by way of script.cmd ---------------------------

@pytest.mark.parametrize("tools, statuses, expected", [
    (["py"], {}, ["py", "-3", "-E"]),
    (["python"], {}, ["python", "-E"]),
    (["py", "python"], {}, ["py", "-3", "-E"]),
    # No Python 3 for py, the Store's stub, one that is too old.
    (["py", "python"], {"py": 103}, ["python", "-E"]),
    (["py", "python"], {"python": 9009}, ["py", "-3", "-E"]),
    (["py", "python"], {"py": 1}, ["python", "-E"]),
])
def test_python_is_found(desk, tools, statuses, expected):
    desk.has("cl", "nmake", *tools)
    for name, status in statuses.items():
        desk.environment[f"FAKE_{name}"] = str(status)
    assert desk.type("test", '-q -k "stop and not idle" --x=y') == (0, "")
    assert desk.calls() == [
        built_by(desk, *NMAKE),
        python(desk, expected, "parts\\run_tests.py", "-q", "-k",
               "stop and not idle", "--x=y")]


def python(desk, command, script, *arguments):
    """Returns the expected call of Python."""
    return [command[0], windows_path(desk.elsewhere), *command[1:],
            windows_path(desk.tree) + f"\\scripts\\{script}", *arguments]


@pytest.mark.parametrize("script", BY_PYTHON)
@pytest.mark.parametrize("typed, arguments", [
    ("", []), ("0 -v --http 0.0.0.0:80", ["0", "-v", "--http", "0.0.0.0:80"])])
def test_script(desk, script, typed, arguments):
    desk.has("cl", "nmake", "py")
    assert desk.type(script, typed) == (0, "")
    assert desk.calls() == [
        built_by(desk, *NMAKE),
        python(desk, ["py", "-3", "-E"], BY_PYTHON[script], *arguments)]


def test_every_file_is_tried():
    """Those that call script.cmd are the ones above."""
    assert {path.stem for path in SCRIPTS if "script.cmd" in path.read_text(
        encoding="ascii") and path.stem != "script"} == set(BY_PYTHON)


@pytest.mark.parametrize("script", BY_PYTHON)
@pytest.mark.parametrize("statuses", [
    None, {"py": 103, "python": 9009}, {"py": 0, "python": 0},
    {"py": 1, "python": 1}], ids=["none", "stub", "silent stub", "too old"])
def test_no_python(desk, script, statuses):
    desk.has("cl", "nmake", *(statuses or ()))
    for name, status in (statuses or {}).items():
        desk.environment[f"FAKE_{name}"] = str(status)
    status, said = desk.type(script)
    assert status == 1
    assert said == (f"{script}.cmd: no Python 3.9 or later; "
                    "'winget install Python.Python.3.13'\n")
    assert desk.calls() == []


@pytest.mark.parametrize("script", BY_PYTHON)
@pytest.mark.parametrize("status", [1, 5])
def test_exit_status_of_the_script(desk, script, status):
    desk.has("gcc", "make", "py")
    desk.environment["FAKE_tests"] = str(status)
    assert desk.type(script) == (status, "")


# -------------------------------- the files --------------------------------

@pytest.mark.parametrize("path", SCRIPTS, ids=lambda x: x.name)
def test_text(path):
    data = path.read_bytes()
    assert data.isascii() and b"\t" not in data
    assert data.count(b"\n") == data.count(b"\r\n") == data.count(b"\r")
    assert data.endswith(b"\r\n")
    assert all(len(line) <= 80 for line in data.decode().splitlines())


def test_line_ends_are_right_in_every_copy():
    """They do not depend on core.autocrlf: without CR cmd.exe loses labels."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no repository here")
    names = [f"scripts/{path.name}" for path in SCRIPTS]
    out = subprocess.run(
        ["git", "check-attr", "text", "eol", "--", *names], cwd=ROOT,
        stdout=subprocess.PIPE, check=True, timeout=IO_TIMEOUT).stdout
    assert out.decode().splitlines() == [
        f"{name}: {what}" for name in names
        for what in ("text: set", "eol: crlf")]


@pytest.mark.skipif(WINDOWS, reason="Wine's cmd alone needs that")
def test_only_the_goto_is_taken_out():
    """Otherwise the tests run something else than Windows does."""
    texts = {x.name: x.read_text(encoding="ascii") for x in SCRIPTS}
    assert [name for name in texts if GOTO in texts[name]] == [
        "run.cmd", "script.cmd"]
    assert all(text.count("goto #") == text.count(GOTO)
               for text in texts.values())
