"""What the tests share: the server as a process, and clients for it."""

import concurrent.futures
import contextlib
import hashlib
import importlib.util
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import launch  # noqa: E402  (scripts/ is no package)
from launch import windows_path  # noqa: E402, F401
from parts import server  # noqa: E402
from parts.clients import (  # noqa: E402, F401  (tests import them from here)
    IO_TIMEOUT, connect, echo, free_port, receive, receive_all, reset)
from parts.costs import asked_in  # noqa: E402
from parts.server import STOP_SIGNAL, TEXT, fields  # noqa: E402, F401

WINDOWS = launch.WINDOWS
PROGRAM = pathlib.Path(os.environ.get(
    "SERVER", ROOT / "build" / "iocp_echo_server.exe")).resolve()
STEPS = pathlib.Path(os.environ.get(
    "STEPS", ROOT / "build" / "steps")).resolve()

CHECKED = ROOT / "build" / "checked" / "iocp_echo_server.exe"
OBJECTS = CHECKED.with_name("objects")  # of servers that tests compile
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0")  # which pytest this is

BUF_SIZE = 4096        # src/options.h
LARGE_BUFFER = 65536   # the next size, in src/buffer.c
DRAIN_TIMEOUT = 5      # seconds, the server's default
START_TIMEOUT = 60     # Wine's first start is slow
SLACK = 20             # a busy machine may add this: limits are for hangs
STOP_TIMEOUT = DRAIN_TIMEOUT + SLACK

STOP_REASON = "ctrl-break" if WINDOWS else "ctrl-c"
NEW_GROUP = subprocess.CREATE_NEW_PROCESS_GROUP if WINDOWS else 0

_running = []  # processes that are to end with the test
started = []  # those that this test started: command, environment, process

# Tests that run at the same time hold one each; one that runs alone, all.
PLACES = 64


def kill_all():
    """Ends the processes that still run. Returns them."""
    left = [process for process in _running if process.poll() is None]
    for process in left:
        launch.end(process)
    _running.clear()
    return left


def start_process(line, **options):
    """Starts a process, as subprocess.Popen does; it ends with the test."""
    process = subprocess.Popen(line, creationflags=NEW_GROUP, **options)
    _running.append(process)
    started.append((line, options.get("env") or {}, process))
    return process


def places(first, count):
    """Waits for these places, then holds them."""
    return locked(ROOT / "build" / "places.lock", first, count)


@contextlib.contextmanager
def locked(path, first=0, count=1):
    """Waits for a lock on these bytes of a file, which need not exist, then
    holds it."""
    with open(path, "ab") as file:
        if WINDOWS:
            import msvcrt
            file.seek(first)
            held = False
            while not held:
                with contextlib.suppress(OSError):  # it gives up after 10 s
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, count)
                    held = True
        else:
            import fcntl
            fcntl.lockf(file, fcntl.LOCK_EX, count, first)
        yield  # closing the file unlocks them


def run_server(*arguments, program=PROGRAM, timeout=START_TIMEOUT, env=None,
               stdin=subprocess.DEVNULL):
    """Runs the server to its end: for --help and wrong command lines."""
    for _ in range(launch.START_TRIES):
        process = start_process(
            launch.command(program, *arguments),
            env=environment(env), **TEXT, stdin=stdin,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate(timeout=timeout)
        if not launch.never_started(process.returncode, out + err):
            break
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def environment(more=None):
    """Returns a server's environment: what all need, and `more`. In it Wine
    starts no debugger when the server crashes."""
    env = launch.environment()
    if not WINDOWS:
        env["WINEDLLOVERRIDES"] += ";winedbg.exe=d"
    return {**env, **(more or {})}


def build(directory, program, *flags, sources=ROOT / "src", forced=None,
          extra=()):
    """Compiles another server from `sources`. Returns its path.

    gcc includes `forced` in front of all of them, but not of `extra`, which
    are further sources.
    """
    compiler = (shutil.which("x86_64-w64-mingw32-gcc") or shutil.which("gcc"))
    assert compiler is not None
    headers = [*sorted(sources.glob("*.h")),
               *sorted((ROOT / "src").glob("*.h")),
               *([forced] if forced else ())]
    objects = []
    for path in [*sorted(sources.glob("*.c")), *extra]:
        front = []
        if forced and path not in extra:
            front = ["-include", str(forced)]
        objects.append(compiled([compiler, "-std=c11", "-O2", *flags], front,
                                path, headers))
    subprocess.run([compiler, "-o", str(directory / program), *objects,
                    "-lws2_32"], check=True, timeout=120)
    return directory / program


def compiled(command, front, path, headers):
    """Returns the object file of this source. Tests change one source and
    leave the others, so objects are kept, named by a hash of their input."""
    texts = [file.read_bytes() for file in [path, *headers]]
    key = repr((command, bool(front), path.name, texts)).encode()
    made = OBJECTS / f"{path.stem}-{hashlib.sha256(key).hexdigest()[:32]}.o"
    OBJECTS.mkdir(parents=True, exist_ok=True)
    with locked(made.with_suffix(".lock")):
        if not made.exists():
            new = made.with_suffix(".new")
            subprocess.run([*command, *front, "-c", "-o", str(new), str(path)],
                           check=True, timeout=120)
            new.replace(made)  # whole, or not at all
    return str(made)


def build_broken(directory, source, old, new):
    """Returns a checked server with one change."""
    sources = shutil.copytree(ROOT / "src", directory / "src")
    checked = directory / "tests" / "checked"
    shutil.copytree(ROOT / "tests" / "checked", checked)
    text = (sources / source).read_text(encoding="ascii")
    assert text.count(old) == 1, old
    (sources / source).write_text(text.replace(old, new), encoding="ascii")
    return build(directory, "broken.exe", sources=sources,
                 forced=checked / "checked.h",
                 extra=sorted(checked.glob("*.c")))


def load_script(name):
    """Returns a script as a module."""
    spec = importlib.util.spec_from_file_location(
        name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Server(server.Server):
    """A server, started on a port of the system's choice. Its output comes
    through pipes, as it does for most programs that read it."""

    host = "127.0.0.1"
    stop_timeout = STOP_TIMEOUT

    def __init__(self, *arguments, program=PROGRAM, port=0, env=None,
                 stdin=subprocess.DEVNULL):
        super().__init__(launch.command(program, port, *arguments), None,
                         env=environment(env), stdin=stdin)
        self.start()

    def open(self):
        self._lines, self._errors = [], []
        self._more = threading.Condition()
        self._ended = False
        self.process = start_process(
            self.line, **TEXT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            **self.options)
        self.process.server = self  # reports.py prints its last lines
        self._readers = [
            threading.Thread(target=self._read_output, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True)]
        for reader in self._readers:
            reader.start()

    def wait_until_ready(self):
        with self._more:
            self._more.wait_for(
                lambda: self._ended or self.printed("ready "),
                self.start_timeout)
        if self._ended:
            self._join_readers()
        return super().wait_until_ready()

    # ------------------------------- output --------------------------------

    def _read_output(self):
        for line in self.process.stdout:
            with self._more:
                self._lines.append(line.rstrip("\n"))
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    def _read_errors(self):
        for line in self.process.stderr:
            self._errors.append(line.rstrip("\n"))

    def _join_readers(self):
        for reader in self._readers:
            reader.join(IO_TIMEOUT)
            assert not reader.is_alive()

    @property
    def lines(self):
        """The event lines so far."""
        with self._more:
            return list(self._lines)

    @property
    def errors(self):
        """The lines on standard error so far."""
        return list(self._errors)

    def text(self):
        return "".join(f"{line}\n" for line in self.lines + self.errors)

    def matching(self, pattern):
        """Returns the event lines so far that match, in order."""
        return [line for line in self.lines if re.search(pattern, line)]

    def wait_for(self, pattern, timeout=IO_TIMEOUT, count=1):
        """Waits until `count` lines match. Returns the last of them."""
        def found():
            return [x for x in self._lines if re.search(pattern, x)]
        with self._more:
            self._more.wait_for(lambda: len(found()) >= count or self._ended,
                                timeout)
            lines = found()
        assert len(lines) >= count, (
            f"{len(lines)} of {count} lines match {pattern!r}: "
            f"{self.lines[-20:]} {self.errors[-20:]}, "
            f"status {self.process.poll()}")
        return lines[count - 1]

    # ------------------------------ stopping -------------------------------

    def wait_end(self, timeout=None):
        """Waits for the process to end. Returns its exit status."""
        status = super().wait_end(timeout)
        self._join_readers()
        heap = [line for line in self.errors if ":heap:" in line]
        assert not heap, heap  # Wine's own: see heap_checking
        return status

    def stop(self, timeout=None):
        """Stops it as a person would. It must end well. Returns its totals."""
        super().stop(timeout)
        return self.check_end()

    def kill(self):
        """Ends it at once, as the test's last act: steps have no stop."""
        super().kill()
        self._join_readers()

    def check_end(self):
        """Checks that its last lines are complete. Returns its totals."""
        lines = self.lines
        start = next(i for i, line in enumerate(lines)
                     if line.startswith("stopping "))
        workers = int(self.ready["workers"])
        last = [x for x in lines[start + 1:]
                if x.startswith(("worker ", "stopped "))]
        assert len(last) == workers + 1, last
        assert [fields(x)["id"] for x in last[:-1]] == [
            str(i + 1) for i in range(workers)]
        assert lines[-1] == last[-1] and lines[-1].startswith("stopped ")
        totals = {k: int(v) for k, v in fields(lines[-1]).items()}
        assert list(totals) == ["connections", "received", "sent", "failed",
                                "live"]
        assert totals["live"] == 0
        assert totals["sent"] <= totals["received"]
        totals["completions"] = sum(int(fields(x)["completions"])
                                    for x in last[:-1])
        return totals

    def alive(self):
        """Returns whether it still runs."""
        return self.process.poll() is None

    # ------------------------------- clients -------------------------------

    def connect(self, host=None, **options):
        """Returns a connected client socket with a time limit."""
        return connect(host or self.host, self.port, **options)

    def check_serves(self):
        """Checks that a new client gets its echo."""
        with self.connect() as client:
            assert echo(client, b"are you there?") == b"are you there?"


def one_takes_both(start, *arguments, **options):
    """Starts a checked server of two workers with start(). It serves no
    client: its workers wait for the sentinels, and one of them takes both in
    one call."""
    return start(*arguments, "--workers", 2, "--batch", 2,
                 env={"TOGETHER": "2"}, **options)


def without_wines(lines):
    """Returns the error lines without those that Wine adds when a process ends
    while its threads are at work."""
    return [x for x in lines if not x.startswith("wine client error:")]


class Asked:
    """The calls of a checked server, in order, with their arguments: those
    that faults.c records."""

    def __init__(self, path):
        self._path = path
        self.env = {"ASKED": windows_path(path)}

    def calls(self, *names, thread=None):
        """Returns pairs of a name and its arguments: the calls with one of
        these names, or all, on one thread, or on any."""
        return [(name, arguments) for name, arguments in asked_in(self._path)
                if (not names or name in names)
                and thread in (None, arguments["thread"])]

    def values(self, name, key):
        """Returns one argument of each call with this name."""
        return [arguments[key] for _, arguments in self.calls(name)]


# --------------------------------- clients ---------------------------------

def exchange(client, data, cuts=()):
    """Sends the data in pieces cut at `cuts`, and half-closes, while it
    receives. Returns all that came back."""
    problems = []

    def send():
        try:
            start = 0
            for cut in [*cuts, len(data)]:
                client.sendall(data[start:cut])
                start = cut
            client.shutdown(socket.SHUT_WR)
        except OSError as error:
            problems.append(error)
    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    received = receive_all(client)
    sender.join(IO_TIMEOUT)
    assert not sender.is_alive() and not problems, problems
    return received


@contextlib.contextmanager
def together(calls):
    """Runs the calls all at once, beside the block. At its end raises what a
    call raised."""
    pool = concurrent.futures.ThreadPoolExecutor(len(calls))
    try:
        futures = [pool.submit(call) for call in calls]
        yield
        for future in concurrent.futures.as_completed(futures, IO_TIMEOUT):
            future.result()
    finally:
        pool.shutdown(wait=False)


@contextlib.contextmanager
def closing_all():
    """Gives a list, and closes every socket in it at the end."""
    sockets = []
    try:
        yield sockets
    finally:
        for each in sockets:
            each.close()


def wait_until(condition, timeout=IO_TIMEOUT, interval=0.02):
    """Polls for what no event reports (a process's memory, a backlog).
    Returns whether it came true in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True
