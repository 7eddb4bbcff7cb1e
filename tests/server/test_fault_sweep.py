"""Each call fails the first time, the second, every second, always: what must
hold whatever fails.

test_faults.py asks what the server says and does about one failure; here they
are let loose on it while a few clients are there. It must neither crash nor
hang; what it complains of is one line each; and a failure costs one client its
bytes at most, if it does not end the server. One that ends in order leaves no
block and no handle.

`make test TESTS="--long -k sweep"` lets several calls fail at once, too.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import random
import re
import tempfile

import pytest

from parts.server import Server, read
from parts.words import Failure
from support import (CHECKED, ROOT, WINDOWS, build_broken,
                     check_nothing_left, connect, environment, exchange,
                     fields, free_port, launch, receive, reset, start_process,
                     windows_path, without_wines)

if WINDOWS and not CHECKED.exists():
    pytest.skip("GNU make builds the server with faults: make checked",
                allow_module_level=True)
pytestmark = [pytest.mark.own_build, pytest.mark.thorough]

WHENS = ["1", "2", "3", "/2", "/3", "1+"]
AT_ONCE = 3          # servers at a time
COMBINATIONS = 300   # of several failing calls, with --long
END_TIMEOUT = 25     # seconds: the drain, and ten to give up what is stuck
CLIENT_TIMEOUT = 3   # of a client that the server may have lost

CODES = {
    # What each call could well say; "short" is tested with its effects.
    "WSAStartup": 10091, "WSACleanup": 10093, "WSASocketW": 10055,
    "setsockopt": 10022, "bind": 10048, "listen": 10055, "accept": 10054,
    "getsockname": 10050, "getnameinfo": 11001, "getaddrinfo": 11001,
    "shutdown": 10057, "closesocket": 10038, "WSARecv": 10054,
    "WSASend": 10055, "getsockopt": 10042, "WSAGetOverlappedResult": 10054,
    "SetFileCompletionNotificationModes": 87, "CreateIoCompletionPort": 1450,
    "GetQueuedCompletionStatus": 6, "GetQueuedCompletionStatusEx": 6,
    "PostQueuedCompletionStatus": 1450, "CancelIoEx": 31, "_beginthreadex": 8,
    "WaitForSingleObject": 6, "WaitForMultipleObjects": 6, "SetEvent": 6,
    "CreateEventW": 8, "CloseHandle": 6, "SetConsoleCtrlHandler": 87,
    "GetConsoleMode": 6, "SetConsoleMode": 5,
    "WriteFile": 112, "calloc": 8, "CreateFileA": 5,
    "GetFileType": 6, "CreateTimerQueueTimer": 8, "DeleteTimerQueueTimer": 6,
    "GetProcAddress": 127, "VirtualAlloc": 8, "VirtualFree": 487,
}

# Without these the server can't run, and ends in order.
MAY_END = {
    "WSAStartup", "WSASocketW", "setsockopt", "bind", "listen", "getsockname",
    "getaddrinfo",
}

# These can't fail on a healthy system, or not before there is a client: they end
# it at once. No others do.
IMPOSSIBLE = {
    "CreateIoCompletionPort", "CreateEventW", "_beginthreadex",
    "SetConsoleCtrlHandler",
    "GetQueuedCompletionStatus", "GetQueuedCompletionStatusEx",
    "PostQueuedCompletionStatus", "WaitForSingleObject",
    "WaitForMultipleObjects", "SetEvent",
}

# These are called if there is a console.
CONSOLE = {"GetConsoleMode", "SetConsoleMode"}

ARGUMENTS = {  # beside those that all have
    "getaddrinfo": ["--bind", "127.0.0.1"],
    "GetQueuedCompletionStatusEx": ["--batch", "64"],
    "WSAGetOverlappedResult": ["--batch", "64"],
    "SetFileCompletionNotificationModes": ["--inline", "4"],
    "getsockopt": ["--inline", "4"],
    "PostQueuedCompletionStatus": ["--inline", "1"],
    "WaitForMultipleObjects": ["--max-connections", "1"],
    "SetEvent": ["--max-connections", "1"],
    "VirtualAlloc": ["--zero-byte-recv"],
    "VirtualFree": ["--zero-byte-recv"],
}


def hits(when, calls):
    """How many of so many calls have failed."""
    n = int(re.sub(r"\D", "", when))
    if when.startswith("/"):
        return calls // n
    return max(0, calls - n + 1) if when.endswith("+") else int(calls >= n)


class Run(Server):
    """One server whose calls fail, from its start to its end. `faults` are
    the calls and when they do."""

    start_timeout = stop_timeout = END_TIMEOUT
    start_process = staticmethod(start_process)

    def __init__(self, directory, faults, program=CHECKED, delays=None):
        self.faults = faults
        self.name = ",".join(f"{call}:{when}:{CODES[call]}"
                             for call, when in faults.items())
        self.console = not WINDOWS and not CONSOLE.isdisjoint(faults)
        self.directory = pathlib.Path(tempfile.mkdtemp(dir=directory))
        # The line that tells which port may be what fails.
        port = free_port()
        more = [x for call in faults for x in ARGUMENTS.get(call, [])]
        super().__init__(launch.command(
            program, port, "-v", "--workers", 2, "--idle-timeout", 5,
            "--drain-timeout", 1, "--post", 1, "--trace",
            windows_path(self.path("trace")), *more), self.path("out"))
        self.port, self.problems, self.served = port, [], 0
        self.options["env"] = environment({
            "FAULTS": self.name, "GUARD": windows_path(self.path("guard")),
            "COUNTS": windows_path(self.path("counts")),
            **({} if delays is None else {"DELAYS": str(delays)})})

    def path(self, name):
        return self.directory / name

    def open(self):
        with open(self.log, "wb") as out, open(self.path("err"), "wb") as err:
            self.process = self.start_process(self.line, stdout=out,
                                              stderr=err, **self.options)

    def is_ready(self):
        """It listens. The attempt is a client, too."""
        try:
            self.connect().close()
            return True
        except OSError:
            return False

    def text(self):
        return read(self.log) + read(self.path("err"))

    def lines(self, name):
        return read(self.path(name)).splitlines()

    # ------------------------------- clients -------------------------------

    def connect(self):
        return connect("127.0.0.1", self.port, timeout=CLIENT_TIMEOUT)

    def talk(self):
        """Some messages; and all of them come back."""
        with self.connect() as client:
            for size in (1, 4096, 5):
                data = bytes(range(256)) * 16
                client.sendall(data[:size])
                assert receive(client, size) == data[:size]

    def half_close(self):
        with self.connect() as client:
            data = bytes(range(251)) * 200
            assert exchange(client, data) == data

    def give_up(self):
        """A client of no interest, but for what it does to others."""
        client = self.connect()
        client.sendall(b"x" * 5000)
        reset(client)

    def drive(self):
        for client in (self.talk, self.half_close, self.give_up, self.talk):
            try:
                client()
                self.served += client != self.give_up
            except (OSError, AssertionError):
                pass  # it was hit: how many may be is looked at in the end

    # --------------------------------- end ---------------------------------

    def end(self):
        """While one client is there, which says nothing and goes when the
        server says that it will. Returns the status."""
        try:
            silent = self.connect()
        except OSError:
            silent = None  # it has ended by itself
        if self.process.poll() is None:
            self.signal_stop()
        if silent is not None:
            with silent, contextlib.suppress(OSError):
                silent.recv(1)
        return self.wait_end()

    @contextlib.contextmanager
    def terminal(self):
        """Wine makes a console of a terminal."""
        controller, self.options["stdin"] = os.openpty()
        yield
        os.close(self.options["stdin"])
        os.close(controller)

    def go(self):
        """Returns what is wrong, as a list of texts."""
        with self.terminal() if self.console else contextlib.nullcontext():
            return self.go_through()

    def go_through(self):
        with contextlib.suppress(Failure):  # it has ended by itself
            self.start()
            self.drive()
        try:
            status = self.end()
        except Failure:
            self.kill()
            return [f"{self.name}: it does not end"]
        self.check(status)
        return [f"{self.name}, status {status}: {each}"
                for each in self.problems]

    def expect(self, condition, problem):
        if not condition:
            self.problems.append(problem)

    def check(self, status):
        out, err = self.lines("out"), without_wines(self.lines("err"))
        if status not in (0, 1, 2):
            self.problems.append(f"it crashed: {out[-2:]} {err}")
            return
        counts = fields(self.path("counts").read_text(encoding="ascii"))
        hit = sum(hits(when, int(counts[call]))
                  for call, when in self.faults.items())
        told = [x for x in err if x.startswith("iocp_echo_server: ")]
        self.expect(told == err, f"error lines: {err}")
        stopped = any(x.startswith("stopped ") for x in out)
        at_once = (status == 1 and not stopped
                   and not IMPOSSIBLE.isdisjoint(self.faults))
        if not at_once:
            try:
                check_nothing_left(
                    self.path("guard").read_text(encoding="ascii"),
                    self.console, listened=stopped or status == 0)
            except AssertionError as error:
                self.problems.append(str(error))
        if status != 0:
            self.expect(at_once or MAY_END & set(self.faults),
                        f"it has ended: {err}")
        if "WriteFile" not in self.faults:
            self.expect(status == 0 or err, "it does not say why it ends")
            self.expect(status != 0 or stopped,
                        f"the end is missing: {out[-3:]}")
        if status == 0:
            self.expect(self.served >= 3 - hit,
                        f"{hit} failed, and only {self.served} served: {out}")
        if hit == 0:
            # A client may be gone before it is accepted, or has its options.
            err = [x for x in err if not re.search(
                "this client only|setsockopt.(TCP_NODELAY|SO_KEEPALIVE)", x)]
            self.expect(status == 0 and not err, f"nothing failed: {err}")


def run_all(runs):
    """Some at a time. Returns all that is wrong."""
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        return sum(pool.map(Run.go, runs), [])


@pytest.mark.parametrize("call", CODES)
def test_whatever_fails(tmp_path, call):
    assert run_all([Run(tmp_path, {call: when}) for when in WHENS]) == []


@pytest.mark.limit(1800)
@pytest.mark.parametrize("seed", range(4))
def test_several_at_once(tmp_path, long, seed):
    """With delays, as clients and failures meet in other orders then."""
    if not long:
        pytest.skip("takes minutes: --long")
    chance = random.Random(seed)
    assert run_all([
        Run(tmp_path, {call: chance.choice(WHENS[1:])
                       for call in chance.sample(sorted(CODES), 3)},
            delays=chance.randrange(1, 1000))
        for _ in range(COMBINATIONS // 4)]) == []


BROKEN = {
    # the file, what is changed into what, the fault, what is said of it
    "a socket is left": (
        "listener.c",
        '    log_unless(closesocket(sock) == 0, "closesocket");\n', "",
        "bind", "opened"),
    "one failed accept ends it": (
        "main.c", "    if (is_about_the_client(code)) {\n",
        "    if (is_about_the_client(code)) {\n"
        '        program->exitStatus = 1;\n'
        '        stop_begin(stop, "accept");\n', "accept", "it has ended"),
    "a file is left": (
        "trace.c",
        '    log_unless(CloseHandle(handle), "CloseHandle (trace)");\n', "",
        "GetFileType", "opened"),
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_the_sweep_finds_mistakes(tmp_path, mistake):
    *change, call, said = BROKEN[mistake]
    program = build_broken(tmp_path, *change)
    problems = run_all([Run(tmp_path, {call: "1"}, program)])
    assert len(problems) == 1 and said in problems[0]


def test_the_sweep_knows_every_call():
    header = (ROOT / "tests" / "checked" / "checked.h").read_text(
        encoding="ascii")
    names = header.split("#define FAULT_CALLS(X)")[1].split("*/")[0]
    assert set(re.findall(r"X\((\w+)\)", names)) == set(CODES)
