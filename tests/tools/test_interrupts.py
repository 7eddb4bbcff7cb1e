"""After Ctrl+C at any time, or when the system refuses something, a script
prints one line and no traceback. Its status says which it was."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading

import pytest

from support import (IO_TIMEOUT, PROGRAM, ROOT, START_TIMEOUT, TEXT, WINDOWS,
                     start_process, wait_until)
from parts import process_info  # where support finds the scripts
from parts.program import Interrupts

on_posix = pytest.mark.skipif(WINDOWS, reason="sends signals of POSIX")


@pytest.fixture
def copy(tmp_path):
    """A copy of all scripts and tests, with a fake server."""
    tree = tmp_path / "copy"
    for name in ("scripts", "tests"):
        shutil.copytree(ROOT / name, tree / name,
                        ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "build" / "checked").mkdir(parents=True)
    (tree / "build" / "steps").mkdir()
    (tree / "build" / PROGRAM.name).write_bytes(b"MZ")
    return tree


def start(line, **options):
    """Starts a process that ignores no signal. pytest may ignore some, if it
    runs in the background or under nohup."""
    def as_usual():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
    return start_process(
        [sys.executable, *map(str, line)], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **TEXT,
        preexec_fn=as_usual, **options)


def run(line, **options):
    process = start(line, **options)
    out, err = process.communicate(timeout=START_TIMEOUT)
    return process.returncode, out, err


# ------------------------------ while it begins -----------------------------

# Each script, and a standard module that it imports early.
IMPORTS = {"scripts/launch.py": "contextlib", "scripts/demo.py": "argparse",
           "scripts/live.py": "contextlib",
           "scripts/trace_view.py": "argparse", "scripts/bench.py": "argparse",
           "scripts/echo_client.py": "asyncio",
           "scripts/parts/run_tests.py": "pathlib",
           "scripts/parts/msvc.py": "pathlib",
           "scripts/parts/analyze.py": "argparse",
           "scripts/parts/bench_load.py": "json",
           "tests/soak.py": "argparse"}
SLOW = """
import sys, time
print("importing", flush=True)
time.sleep(60)
"""


def shadow(copy, name, text):
    """Puts a module into the copy that hides one of Python's own."""
    path = copy / name
    (path.parent / f"{IMPORTS[name]}.py").write_text(text, encoding="ascii")
    return path


@on_posix
@pytest.mark.parametrize("name", IMPORTS)
def test_while_python_imports(copy, name):
    process = start([shadow(copy, name, SLOW)])
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=IO_TIMEOUT)
    assert (process.returncode, out) == (130, "")
    assert re.fullmatch("([a-z_]+(.py)?: interrupted\n)?", err), err


@pytest.mark.parametrize("error, said", [
    ("MemoryError", "not enough memory"),
    ("ImportError('DLL load failed')", "DLL load failed"),
    ("OSError(23, 'Too many open files', 'x.py')",
     "x.py: Too many open files")], ids=lambda x: x[:6])
@pytest.mark.parametrize("name", IMPORTS)
def test_what_cannot_be_imported(copy, name, error, said):
    status, out, err = run([shadow(copy, name, f"raise {error}\n")])
    assert (status, out) == (1, "")
    assert re.fullmatch(f"[a-z_]+(.py)?: {said}\n", err), err


# -------------------------- while Wine is prepared --------------------------

# A slow Wine. The process that it starts would outlive it.
WINE = """#!/bin/sh
case $1 in
--kill) kill $(cat '{pid}'); exit ;;
esac
mkdir -p "$WINEPREFIX/drive_c"
sleep 60 </dev/null >/dev/null 2>&1 &
echo $! >'{pid}.new'
mv '{pid}.new' '{pid}'
exec sleep 50
"""
STARTS_WINE = [
    ["scripts/launch.py", "build/" + PROGRAM.name, "0"],
    ["scripts/demo.py", "cycle", "--server", "build/" + PROGRAM.name],
    ["scripts/bench.py", "--quick"], ["scripts/parts/run_tests.py"],
    ["tests/soak.py", "--parts", "mixed"]]


@pytest.fixture
def slow_wine(tmp_path):
    """A slow Wine's environment, and the file with its child's pid."""
    pid, tools = tmp_path / "pid", tmp_path / "bin"
    tools.mkdir()
    for name in ("wine", "wineserver"):
        (tools / name).write_text(WINE.format(pid=pid), encoding="utf-8")
        (tools / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    env.pop("SERVER", None)
    return env, pid


def runs(pid):
    """Whether this process runs; a zombie does not."""
    try:
        process_info.memory(pid.strip())
        return True
    except OSError:
        return False


@on_posix
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("line", STARTS_WINE, ids=lambda x: x[0])
def test_while_wine_is_prepared(copy, slow_wine, line, times):
    """It prints one more line, and leaves no process and no file."""
    env, pid = slow_wine
    process = start(line, env=env, cwd=copy)
    assert process.stderr.readline().startswith("preparing Wine ")
    assert wait_until(pid.exists)
    for _ in range(times):
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=IO_TIMEOUT)
    assert process.returncode == 130
    assert re.fullmatch("[a-z_]+(.py)?: interrupted\n", err), err
    assert list((copy / "build").glob("wine*")) == [
        copy / "build" / "wine.lock"]
    assert wait_until(lambda: not runs(pid.read_text(encoding="ascii")))


# ------------------------------- while it runs ------------------------------

def running(program):
    """Whether this program runs: its name is in Wine's command line."""
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # the process has just ended
            if os.fsencode(program) in path.read_bytes():
                return True
    return False


@on_posix
@pytest.mark.alone  # the lesson is short
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM,
                                    getattr(signal, "SIGHUP", None)])
def test_while_a_lesson_runs(tmp_path, number):
    """Whichever signal ends the lesson, also when the terminal closes, its
    server ends too."""
    program = shutil.copy(PROGRAM, tmp_path)
    process = start([ROOT / "scripts" / "demo.py", "limit", "-o", tmp_path,
                     "--server", program])
    log = tmp_path / "limit.log"
    assert wait_until(lambda: log.exists() and b"ready" in log.read_bytes())
    process.send_signal(number)
    process.send_signal(number)
    assert process.communicate(timeout=IO_TIMEOUT) == (
        "", "demo.py: interrupted\n")
    assert process.returncode == 130
    assert wait_until(lambda: not running(program))


@on_posix
def test_while_nobody_reads(tmp_path):
    """After Ctrl+C the script does not wait until it has printed the rest."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = start([ROOT / "scripts" / "echo_client.py",
                         listener.getsockname()[1], "--message", "x" * 120_000
                         ])
        connection, _ = listener.accept()
        with connection:
            data = b""
            while len(data) < 120_000:
                data += connection.recv(65536)
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
            # It has read everything and prints until its pipe is full.
            threading.Event().wait(0.5)
            process.send_signal(signal.SIGINT)
            assert process.wait(IO_TIMEOUT) == 130
            assert process.stderr.read() == ""


TEARDOWN = """
import os, pathlib, time
import pytest

@pytest.fixture
def resource():
    yield
    time.sleep(1)
    pathlib.Path("ended").touch()

def test(resource):
    pathlib.Path("begun").touch()
    time.sleep(60)
"""


@on_posix
@pytest.mark.parametrize("how", ["-q", "-s"])  # several at once; only one
@pytest.mark.parametrize("number, group", [
    (signal.SIGINT, True), (signal.SIGTERM, False)], ids=["ctrl-c", "kill"])
def test_while_tests_run(copy, number, group, how):
    """pytest ends what its tests have started; run_tests.py waits for it."""
    shutil.rmtree(copy / "tests")
    (copy / "tests").mkdir()
    (copy / "tests" / "test_it.py").write_text(TEARDOWN, encoding="ascii")
    (copy / "build" / "wine").mkdir()
    (copy / "build" / "wine" / ".made").touch()
    process = start(["scripts/parts/run_tests.py", how], cwd=copy,
                    start_new_session=True)
    assert wait_until((copy / "begun").exists)
    if group:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    # pytest-xdist gives a worker that does not end 10 s, twice.
    _, err = process.communicate(timeout=START_TIMEOUT)
    assert (process.returncode, err) == (130, "run_tests.py: interrupted\n")
    assert (copy / "ended").exists()


# -------------------------- what a system can refuse ------------------------

# Runs a script after replacing something in Python.
DRIVER = """
import runpy, sys
exec(sys.argv.pop(1))
del sys.argv[0]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# Only the first: launch.end says why a server under Wine is not killed.
NO_SIGNAL = """
import signal, subprocess
def send_signal(self, number, send=subprocess.Popen.send_signal):
    if number == signal.SIGINT and not hasattr(self, "refused"):
        self.refused = True
        raise PermissionError(1, "Operation not permitted")
    send(self, number)
subprocess.Popen.send_signal = send_signal
"""
NO_THREAD = """
import threading
def start(self):
    raise RuntimeError("can't start new thread")
threading.Thread.start = start
"""
# In the load, asyncio calls a method that needs memory and reports the error.
NO_MEMORY = """
import asyncio, socket
class Memoryless(asyncio.Protocol):
    def __init_subclass__(cls):
        def data_received(self, data):
            raise MemoryError
        cls.data_received = data_received
asyncio.Protocol = Memoryless
"""
NO_MEMORY_AT_ALL = """
import random
class Random(random.Random):
    def randbytes(self, size):
        raise MemoryError
random.Random = Random
"""


def run_changed(change, name, *arguments, **options):
    return run(["-c", DRIVER, change, ROOT / name, *arguments], **options)


@on_posix
@pytest.mark.parametrize("line, said", [
    (["scripts/demo.py", "cycle", "-o", "{tmp}"],
     "demo.py: the server can't be sent Ctrl[+]C: Operation not permitted\n"),
    (["scripts/bench.py", "--quick", "--no-steps", "--workloads", "ping-1"],
     "bench.py: plain, ping-1: can't be sent Ctrl[+]C: Operation not "
     "permitted\n"),
    (["tests/soak.py", "--parts", "mixed", "--seconds", "1"],
     "(soak: mixed .*\n)+")], ids=lambda x: x[0][8:])
def test_a_signal_that_cannot_be_sent(tmp_path, line, said):
    program = shutil.copy(PROGRAM, tmp_path)
    env = {**os.environ, "SERVER": str(program)}
    line = [x.format(tmp=tmp_path) for x in line]
    if "soak" not in line[0]:
        line += ["--server", program]
    status, out, err = run_changed(NO_SIGNAL, *line, env=env)
    assert status == 1 and re.fullmatch(said, err), err
    if "soak" in line[0]:
        assert ("FAILED: mixed: the server can't be sent Ctrl+C: Operation "
                "not permitted\n") in out
    assert wait_until(lambda: not running(program))


@pytest.mark.parametrize("change, arguments, said", [
    (NO_THREAD, ["--message", "x"], "can't start new thread"),
    (NO_MEMORY, ["--load"], "not enough memory"),
    (NO_MEMORY_AT_ALL, ["--load"], "not enough memory")],
    ids=["thread", "memory in asyncio", "memory"])
def test_what_a_client_does_not_get(server, change, arguments, said):
    status, out, err = run_changed(change, "scripts/echo_client.py",
                                   server.port, *arguments)
    assert (status, out, err) == (1, "", f"echo_client: {said}\n")


@on_posix
def test_memory_that_is_short(server):
    """The system itself refuses memory."""
    import resource
    most = 400 << 20
    process = start_process(
        [sys.executable, str(ROOT / "scripts" / "echo_client.py"),
         str(server.port), "--load", "--size", str(1 << 30)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, **TEXT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS,
                                              (most, most)))
    assert process.communicate(timeout=IO_TIMEOUT) == (
        "", "echo_client: not enough memory\n")
    assert process.returncode == 1


# ----------------------------------- parts ----------------------------------

def test_an_interrupt_waits_for_a_start():
    interrupts = Interrupts()
    reached = False
    with pytest.raises(KeyboardInterrupt):
        with interrupts.later():
            interrupts.come()
            reached = True
    assert reached
    interrupts.come()  # the second is not needed


IN_A_DEL = """
import os, signal, sys, time
sys.path.insert(0, sys.argv[1])
from parts import program, words
words.begin("it")

class Late:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        time.sleep(0)

@program.entry
def main():
    late = Late()
    del late
    time.sleep(50)

__file__ = "it"
sys.exit(main())
"""


@on_posix
def test_an_interrupt_that_python_would_drop():
    """Python drops what a __del__ raises, so the interrupt comes again."""
    assert run(["-c", "__file__ = 'it'\n" + IN_A_DEL, ROOT / "scripts"]) == (
        130, "", "it: interrupted\n")


def test_a_mistake_keeps_its_traceback(copy):
    """The traceback shows where the mistake is."""
    path = shadow(copy, "scripts/demo.py", "1 / 0\n")
    status, _, err = run([path])
    assert status == 1 and "ZeroDivisionError" in err and "Traceback" in err
