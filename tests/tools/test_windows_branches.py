"""What tests and scripts do on Windows only, tested elsewhere: with a fake
kernel32, and by examining the code."""

import ast
import ctypes
import importlib.util
import os
import signal
import struct
import subprocess
import sys

import pytest

import parts
import support
from parts import clients, process_info, run_tests
from support import ROOT, WINDOWS, launch, windows_path

pytestmark = pytest.mark.skipif(WINDOWS, reason="there it is what is run")

SOURCES = sorted([*(ROOT / "tests").rglob("*.py"),
                  *(ROOT / "scripts").rglob("*.py")])
TREES = {path: ast.parse(path.read_text(encoding="utf-8"))
         for path in SOURCES}
BOOL = ctypes.c_int
DWORD = ctypes.c_uint32
HANDLE = POINTER = ctypes.c_void_p

# ------------------------------- process_info ------------------------------

PID = 4321
A_HANDLE = 0x7FFF_1234_5678  # more than an int holds


class Kernel32:
    """Its functions have the parameters of Microsoft's reference and are
    called through C: an argument that the caller declares wrongly is cut."""

    def __init__(self):
        self.open = []
        self.works = True
        self.access = None
        self._functions = {
            # The types of result and arguments; the function.
            "OpenProcess": (HANDLE, [DWORD, BOOL, DWORD], self.open_process),
            "CloseHandle": (BOOL, [HANDLE], self.close_handle),
            "K32GetProcessMemoryInfo": (
                BOOL, [HANDLE, POINTER, DWORD], self.memory_info),
            "GetProcessHandleCount": (
                BOOL, [HANDLE, POINTER], self.handle_count),
            "GetProcessTimes": (BOOL, [HANDLE] + 4 * [POINTER], self.times),
            "CreateToolhelp32Snapshot": (HANDLE, [DWORD, DWORD],
                                         self.snapshot),
            "Thread32First": (BOOL, [HANDLE, POINTER], self.first_thread),
            "Thread32Next": (BOOL, [HANDLE, POINTER], self.next_thread)}
        self._alive = []

    def __getattr__(self, name):
        result, arguments, does = self._functions[name]
        if name not in ("OpenProcess", "CreateToolhelp32Snapshot"):
            def checked(handle, *rest, does=does):
                return int(self.open == [handle] and bool(self.works)
                           and does(handle, *rest))
        else:
            checked = does
        made = ctypes.CFUNCTYPE(result, *arguments)(checked)
        self._alive.append(made)
        # ctypes' default: an int result, and no types of arguments.
        address = ctypes.cast(made, ctypes.c_void_p).value
        function = ctypes.CFUNCTYPE(ctypes.c_int)(address)
        setattr(self, name, function)
        return function

    def open_process(self, access, inherit, pid):
        self.access = access
        assert (inherit, pid) == (0, PID)
        self.open.append(A_HANDLE)
        return A_HANDLE

    def close_handle(self, handle):
        self.open.remove(handle)
        return True

    def memory_info(self, _, counters, size):
        if size != 80 or ctypes.c_uint32.from_address(counters).value != 80:
            return False
        # The last of PROCESS_MEMORY_COUNTERS_EX: PrivateUsage.
        ctypes.c_uint64.from_address(counters + 72).value = 5_000_000_000
        return True

    def handle_count(self, _, count):
        ctypes.c_uint32.from_address(count).value = 77
        return True

    def snapshot(self, what, pid):
        assert (what, pid) == (4, 0)
        if not self.works:
            return 2 ** 64 - 1  # INVALID_HANDLE_VALUE
        self.open.append(A_HANDLE)
        self.owners = [8, PID, 9, PID, PID]
        return A_HANDLE

    def first_thread(self, _, entry):
        size, _, _, owner = (ctypes.c_uint32 * 4).from_address(entry)
        assert size == 28 and owner == 0
        return self.next_thread(_, entry)

    def next_thread(self, _, entry):
        if not self.owners:
            return False
        ctypes.c_uint32.from_address(entry + 12).value = self.owners.pop()
        return True

    def times(self, _, *times):
        for place, value in zip(times, (1, 2, 30_000_000, 12_500_000)):
            ctypes.c_uint64.from_address(place).value = value
        return True


@pytest.fixture
def kernel32(monkeypatch):
    """Makes process_info believe that this is Windows."""
    fake = Kernel32()

    def win_dll(name, use_last_error):
        assert (name, use_last_error) == ("kernel32", True)
        return fake
    monkeypatch.setattr(process_info, "WINDOWS", True)
    monkeypatch.setattr(ctypes, "WinDLL", win_dll, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: 5, raising=False)
    monkeypatch.setattr(ctypes, "WinError", lambda code: OSError(code, "no"),
                        raising=False)
    return fake


def test_measurements(kernel32):
    assert process_info.memory(PID) == 5_000_000_000
    assert process_info.handles(PID) == 77
    assert process_info.cpu_time(PID) == 4.25
    assert process_info.threads(PID) == 3
    assert kernel32.open == []
    # PROCESS_QUERY_INFORMATION and, for memory, PROCESS_VM_READ
    assert kernel32.access == 0x0410


@pytest.mark.parametrize("measure", ["memory", "handles", "cpu_time",
                                     "threads"])
def test_a_failed_measurement_is_an_error(kernel32, measure):
    kernel32.works = False

    def close_handle(handle):
        kernel32.open.remove(handle)
        return True
    kernel32.CloseHandle = close_handle
    with pytest.raises(OSError):
        getattr(process_info, measure)(PID)
    assert kernel32.open == []


LAYOUT = r"""
#include <winsock2.h>
#include <windows.h>
#include <psapi.h>
#include <tlhelp32.h>
#include <stddef.h>
#include <stdio.h>

#define AT(member) offsetof(PROCESS_MEMORY_COUNTERS_EX, member)
#define SHOW(what) printf("%s=%d\n", #what, (int)(what))

int main(void)
{
    SHOW(sizeof(PROCESS_MEMORY_COUNTERS_EX));
    SHOW(AT(cb));
    SHOW(AT(PageFaultCount));
    SHOW(AT(WorkingSetSize));
    SHOW(AT(PagefileUsage));
    SHOW(AT(PrivateUsage));
    SHOW(sizeof(THREADENTRY32));
    SHOW(offsetof(THREADENTRY32, th32OwnerProcessID));
    SHOW(TH32CS_SNAPTHREAD);
    SHOW(sizeof(FILETIME));
    SHOW(offsetof(FILETIME, dwHighDateTime));
    SHOW(sizeof(struct linger));
    SHOW(offsetof(struct linger, l_linger));
    SHOW(PROCESS_QUERY_INFORMATION | PROCESS_VM_READ);
    SHOW(CREATE_NEW_PROCESS_GROUP);
    SHOW(CTRL_BREAK_EVENT);
    return 0;
}
"""


def test_layouts_and_constants(tmp_path):
    """They are what the C compiler makes of the Windows headers."""
    (tmp_path / "layout.c").write_text(LAYOUT, encoding="ascii")
    program = tmp_path / "layout.exe"
    subprocess.run(["x86_64-w64-mingw32-gcc", "-o", str(program),
                    str(tmp_path / "layout.c")], check=True, timeout=60)
    shown = subprocess.run(launch.command(program), check=True, timeout=60,
                           env=launch.environment(), stdout=subprocess.PIPE,
                           **support.TEXT).stdout
    layout = dict(line.rsplit("=", 1) for line in shown.splitlines())
    layout = {name: int(value) for name, value in layout.items()}
    counters = process_info._MemoryCounters
    assert layout.pop("sizeof(PROCESS_MEMORY_COUNTERS_EX)") == ctypes.sizeof(
        counters)
    for name in ("cb", "PageFaultCount", "WorkingSetSize", "PagefileUsage",
                 "PrivateUsage"):
        assert layout.pop(f"AT({name})") == getattr(counters, name).offset
    entry = process_info._ThreadEntry
    assert layout == {
        "sizeof(THREADENTRY32)": ctypes.sizeof(entry),
        "offsetof(THREADENTRY32, th32OwnerProcessID)":
            entry.th32OwnerProcessID.offset,
        "TH32CS_SNAPTHREAD": 4,
        "sizeof(FILETIME)": 8, "offsetof(FILETIME, dwHighDateTime)": 4,
        "sizeof(struct linger)": struct.calcsize("hh"),
        "offsetof(struct linger, l_linger)": 2,
        "PROCESS_QUERY_INFORMATION | PROCESS_VM_READ": 0x0410,
        "CREATE_NEW_PROCESS_GROUP": NEW_GROUP,
        "CTRL_BREAK_EVENT": CTRL_BREAK}


# ---------------------------------- support --------------------------------

CTRL_BREAK = 1
NEW_GROUP = 0x200


@pytest.fixture
def windows(monkeypatch):
    """support.py and launch.py as they are on Windows."""
    monkeypatch.setattr(launch, "WINDOWS", True)
    monkeypatch.delitem(sys.modules, "parts.server")
    monkeypatch.delattr(parts, "server")
    monkeypatch.setattr(clients, "WINDOWS", True)
    monkeypatch.setattr(signal, "CTRL_BREAK_EVENT", CTRL_BREAK, raising=False)
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", NEW_GROUP,
                        raising=False)
    spec = importlib.util.spec_from_file_location("support_on_windows",
                                                  support.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_server_is_started_in_a_group_of_its_own(windows, monkeypatch):
    """Otherwise Ctrl+Break would reach the tests too."""
    calls = []

    class Process:
        def __init__(self, line, **options):
            calls.append((line, options))

        def poll(self):
            return 0
    monkeypatch.setattr(subprocess, "Popen", Process)
    windows.start_process(launch.command("server.exe", 7, "-v"), stdin=None)
    assert calls == [(["server.exe", "7", "-v"],
                      {"creationflags": NEW_GROUP, "stdin": None})]
    assert (windows.STOP_SIGNAL, windows.STOP_REASON) == (CTRL_BREAK,
                                                          "ctrl-break")


def test_no_wine_on_windows(windows, monkeypatch):
    def nothing(*_, **__):
        raise AssertionError("a process was started")
    monkeypatch.setattr(subprocess, "Popen", nothing)
    monkeypatch.setattr(subprocess, "run", nothing)
    monkeypatch.delenv("WINEPREFIX", raising=False)
    with launch.wine_session():
        launch.prepare()
    assert "WINEPREFIX" not in launch.environment()
    assert windows.windows_path("C:\\x") == "C:\\x"


def test_reset(windows):
    """There struct linger is two shorts: four bytes."""
    class Client:
        closed = False

        def setsockopt(self, level, option, value):
            self.linger = value

        def close(self):
            self.closed = True
    client = Client()
    windows.reset(client)
    assert client.linger == b"\1\0\0\0" and client.closed


# ---------------------------------- scripts --------------------------------

def test_launch_waits_for_the_server_that_stops(monkeypatch):
    """Both get Ctrl+C. The parent ends after its child, with its status."""
    waits = [KeyboardInterrupt, KeyboardInterrupt, 3]

    class Process:
        def __init__(self, line):
            assert line == ["server.exe", "7"]

        def wait(self):
            result = waits.pop(0)
            if result == 3:
                return result
            raise result
    monkeypatch.setattr(launch, "WINDOWS", True)
    monkeypatch.setattr(launch, "check", lambda program: None)
    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.setattr(sys, "argv", ["launch.py", "server.exe", "7"])
    assert launch.main() == 3 and waits == []


@pytest.fixture
def tests_run(monkeypatch):
    """tests_run(*arguments): the arguments that run_tests.py gives pytest."""
    lines = []

    class Process:
        def __init__(self, line, **_):
            lines.append(line)

        def wait(self):
            return 0

    def main(*arguments):
        monkeypatch.setattr(sys, "argv", ["run_tests.py", *arguments])
        assert run_tests.main() == 0
        return lines[-1][lines[-1].index("pytest") + 1:]
    monkeypatch.setattr(launch, "WINDOWS", True)
    monkeypatch.setattr(run_tests, "has",
                        lambda python, modules: modules == "pytest")
    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.chdir(ROOT)
    return main


def test_tests_on_another_drive(tests_run, monkeypatch):
    """No relative path leads from C: to D:."""
    def relpath(*_):
        raise ValueError("path is on mount 'D:', start on mount 'C:'")
    monkeypatch.setattr(os.path, "relpath", relpath)
    assert tests_run() == ["-q", "--brief", str(ROOT / "tests")]


@pytest.mark.parametrize("arguments", [
    ["tests"], ["-x", "tests/server"],
    ["tests/server/test_echo.py::test_size"],
    [str(ROOT / "tests" / "tools"), "-k", "page"]], ids=" ".join)
def test_tests_that_are_named_are_run_alone(tests_run, arguments):
    assert tests_run(*arguments) == arguments


@pytest.mark.parametrize("arguments", [
    ["-k", "server"], ["-k", "src"], ["tests/none.py"]], ids=" ".join)
def test_all_tests_are_run_otherwise(tests_run, arguments):
    assert tests_run(*arguments) == [*arguments, "tests"]


def test_several_at_once(tests_run, monkeypatch, capsys):
    """With xdist several tests run at once; without it a line says so. Options
    that need a single pytest get one."""
    assert tests_run("tests") == ["tests"]
    assert "one test after the other" in capsys.readouterr().err
    monkeypatch.setattr(run_tests, "has", lambda *_: True)
    first, number, *others = tests_run("tests")
    assert (first, others) == ("-n", ["tests"]) and int(number) > 1
    assert tests_run("-s", "tests") == ["-s", "tests"]
    assert capsys.readouterr().err == ""


# ------------------------------- all the files -----------------------------

NOT_ON_WINDOWS = ["fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"]

IMPORT_ALL = f"""
import asyncio, importlib, os, pathlib, signal, subprocess, sys, tempfile
import pytest
for name in {NOT_ON_WINDOWS}:
    sys.modules[name] = None
for name in ("fork", "killpg", "setsid", "getuid", "getpgid", "sysconf"):
    delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGALRM"):
    delattr(signal, name)
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_no_module_needs_posix():
    names = [f"parts.{path.stem}" if path.parent.name == "parts" else path.stem
             for path in SOURCES]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *names], stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(
            [*sorted({str(path.parent) for path in SOURCES
                      if path.parent.name != "parts"}),
             os.environ.get("PYTHONPATH", "")])},
        timeout=60, **support.TEXT)
    assert done.returncode == 0, done.stderr


def calls(tree):
    """Yields (name, call) of every call; a method has its last name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            yield name, node


@pytest.mark.parametrize("path", SOURCES, ids=lambda x: x.name)
def test_no_encoding_is_left_to_the_system(path):
    """Otherwise a Korean Windows uses code page 949."""
    for name, call in calls(TREES[path]):
        given = {keyword.arg for keyword in call.keywords}
        where = f"{path.name}:{call.lineno}"
        assert not given & {"text", "universal_newlines"} or name in (
            "say", "fill"), where  # parts/language.py: a text to fill in
        if name == "read_text" and call.args:
            continue  # the encoding is its first argument
        if name in ("read_text", "write_text"):
            assert "encoding" in given, where
        if name == "open" and isinstance(call.func, ast.Name):
            mode = call.args[1].value if len(call.args) > 1 else "r"
            assert "b" in mode or "encoding" in given, where


# Names that came after 3.9. In 3.9 neither socket.timeout nor asyncio's
# TimeoutError is the built-in TimeoutError.
NEWER_NAMES = {"TimeoutError", "ExceptionGroup", "aiter", "anext", "tomllib"}
NEWER_ATTRIBUTES = {"pairwise", "batched", "bit_count", "TaskGroup", "StrEnum",
                    "file_digest"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda x: x.name)
def test_python_3_9_is_enough(path):
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    newer = [ast.unparse(node) for node in ast.walk(TREES[path])
             if getattr(node, "id", "") in NEWER_NAMES
             or getattr(node, "attr", "") in NEWER_ATTRIBUTES]
    assert newer == []


def test_windows_paths():
    assert windows_path(ROOT / "x").startswith("Z:\\")
