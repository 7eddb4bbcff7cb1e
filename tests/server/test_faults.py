"""The server survives, or reports, the failure of every call it makes.

Its calls fail on demand: see tests/checked/checked.h. The server goes on, or
ends with the right status. It says in one line what failed, and the other
clients keep getting their bytes.
"""

import contextlib
import json
import pathlib
import re
import shutil
import socket
import subprocess
import time

import pytest

from support import (BUF_SIZE, CHECKED, IO_TIMEOUT, ROOT, WINDOWS, Server,
                     closing_all, echo, exchange, fields,
                     one_takes_both, receive_all, run_server, wait_until,
                     windows_path, without_wines)

NO_RESOURCES = 1450  # ERROR_NO_SYSTEM_RESOURCES

if WINDOWS and not CHECKED.exists():
    pytest.skip("GNU make builds the server with faults: make checked",
                allow_module_level=True)
pytestmark = pytest.mark.own_build


@pytest.fixture
def faulty():
    """faulty(faults, *arguments) starts a server whose calls fail so."""
    def start(faults, *arguments, env=None):
        return Server(*arguments, program=CHECKED,
                      env={**(env or {}), "FAULTS": faults})
    return start


def complaints(server, call):
    """Returns the error lines about this call."""
    return [x for x in server.errors
            if re.match(rf"iocp_echo_server: {call}\b.* failed: ", x)]


LEFT_OUT = r"; (\d+) more like it were left out$"


def told(server, said):
    """Returns how many failures the error lines report. All must be alike: the
    first reports one, each later one also those that were left out."""
    first, *more = server.errors
    assert re.search(said, first) and not re.search(LEFT_OUT, first)
    for line in more:
        assert re.search(said, line) and re.search(LEFT_OUT, line)
    return 1 + sum(1 + int(re.search(LEFT_OUT, x)[1]) for x in more)


# ------------------------ short and failing transfers ----------------------


@pytest.mark.parametrize("faults", [
    "WSASend:/1:short", "WSARecv:/1:short", "WSASend:/2:short",
    "WSASend:/3:short,WSARecv:/2:short"])
def test_short_transfers_are_continued(faulty, faults):
    """After a short WRITE the rest is sent, until all of it is."""
    server = faulty(faults)
    with server.connect() as client:
        for size in (1, 2, 3, 100, BUF_SIZE - 1, BUF_SIZE):
            message = bytes(range(256)) * 16
            assert echo(client, message[:size]) == message[:size]
    data = bytes(range(251)) * 10_000
    with server.connect() as client:
        assert exchange(client, data) == data
    totals = server.stop()
    assert totals["received"] == totals["sent"]
    assert totals["failed"] == 0


@pytest.mark.parametrize("call, when", [
    ("WSASend", "/3"), ("WSARecv", "/3"), ("WSASend", "1"), ("WSARecv", "1"),
    ("WSARecv", "2"), ("WSARecv", "/1")])
@pytest.mark.parametrize("code", [10054, 10055])
def test_a_post_that_fails_retires_its_connection_once(faulty, call, when,
                                                       code):
    """No packet comes for it, so the poster closes the connection: if it did
    so twice, the totals would not add up; if never, the connection would
    stay."""
    server = faulty(f"{call}:{when}:{code}", "-v")
    whole = 0
    for _ in range(20):
        with server.connect() as client:
            try:
                whole += echo(client, b"hello") == b"hello"
                client.shutdown(1)
                receive_all(client)
            except OSError:
                pass  # the fault hit this one
    assert whole > 0 or when == "/1"
    server.wait_for("^close ", count=20)
    totals = server.stop()
    hit = len(server.matching(rf"^failed .* code={code} at-once=1$"))
    assert hit > 0
    assert totals["connections"] == 20
    assert totals["failed"] == hit


# ------------------------------ it goes on ---------------------------------

GOES_ON = {
    # FAULTS, an error that is printed, how many clients it may cost
    "accept, this client": ("accept:2:10054", "accept failed", 1),
    "accept, aborted": ("accept:/3:10053", "accept failed", 0),
    "accept, unknown": ("accept:/2:12345", "accept failed", 0),
    "accept, no descriptors": ("accept:2:10024", "accept failed", 0),
    "accept, no buffers": ("accept:/2:10055", "accept failed", 0),
    "no memory": ("calloc:/4:8", "out of memory", 7),
    "associate": (f"CreateIoCompletionPort:4:{NO_RESOURCES}",
                  "CreateIoCompletionPort (associate) failed", 1),
    "shutdown": ("shutdown:/1:10057", None, 0),
    "closesocket": ("closesocket:/2:10038", "closesocket failed", 0),
    "shared names": ("getnameinfo:/1:11001", None, 0),
    "number of CPUs": ("GetActiveProcessorCount:1:87", None, 0),
    "console output": ("WriteFile:3+:232", None, 0),
}


@pytest.mark.parametrize("faults, said, cost", GOES_ON.values(),
                         ids=GOES_ON.keys())
def test_goes_on(faulty, faults, said, cost):
    server = faulty(faults)
    served = 0
    with server.connect() as client:
        client.settimeout(IO_TIMEOUT)
        try:
            first = echo(client, b"first") == b"first"
        except OSError:
            first = False
        for _ in range(20):
            try:
                with server.connect() as other:
                    served += echo(other, b"other") == b"other"
            except OSError:
                pass  # closed before it was served
        if first:
            assert echo(client, b"still here") == b"still here"
    assert served >= 20 - cost
    server.signal_stop()
    assert server.wait_end() == 0
    if said is not None:
        assert any(said in line for line in server.errors), server.errors
        assert all(line.startswith("iocp_echo_server: ")
                   for line in server.errors)
    if "WriteFile" not in faults:
        totals = server.check_end()
        assert totals["live"] == 0 and totals["failed"] <= cost


def test_no_memory_for_a_line(faulty):
    server = faulty("getnameinfo:/1:11001", "-v")
    server.check_serves()
    server.wait_for(r"^accept conn=1 peer=\[?unknown\]?:\d+ live=1$")
    server.stop()


def test_out_of_descriptors_is_waited_out(faulty):
    server = faulty("accept:2+:10024")
    with server.connect() as client:
        assert echo(client, b"first") == b"first"
        with server.connect() as waiting:
            waiting.settimeout(0.5)
            with pytest.raises(socket.timeout):
                waiting.recv(1)
            assert echo(client, b"still here") == b"still here"
            server.stop()  # while it waits to accept again
    assert told(server, r"accept failed: .*\(WSAEMFILE 10024\)") > 0


@pytest.mark.parametrize("code", [10054, 10053, 10055, 12345])
def test_accept_never_succeeds(faulty, code):
    """The server says so, waits for better times, and can be stopped."""
    server = faulty(f"accept:1+:{code}")
    with server.connect() as client:
        client.settimeout(0.5)
        with pytest.raises(socket.timeout):
            client.recv(1)
        assert server.stop()["connections"] == 0
    assert told(server, "accept failed: ") > 0


@pytest.mark.parametrize("code", [10038, 10022, 10045, 10093])
def test_a_listener_that_is_gone_ends_the_server_in_order(faulty, code):
    """No more clients can come; those that are there get their echoes."""
    server = faulty(f"accept:3:{code},getsockopt:1+:{code}", "-v")
    data = bytes(range(256)) * 16
    with server.connect() as first:
        assert echo(first, data) == data
        with server.connect() as second:
            second.sendall(data)
            received = receive_all(second)
        assert receive_all(first) == b""
    assert server.wait_end() == 1
    assert received == data[:len(received)]
    assert len(complaints(server, "accept")) == len(server.errors) == 1
    assert server.matching("^stopping reason=listener-lost")
    totals = server.check_end()
    assert totals["received"] == totals["sent"]


# ------------------------------ it can't start -----------------------------

FALLS_BACK = ["WSASocketW:1:10047", "setsockopt:1:10042", "bind:1:10049",
              "bind:1:10047"]


@pytest.mark.parametrize("faults", FALLS_BACK)
def test_no_ipv6_here(faulty, faults):
    """The server then listens on all addresses of IPv4."""
    server = faulty(faults)
    assert server.ready["address"] == "0.0.0.0"
    server.check_serves()
    server.stop()
    assert server.errors == []


CANNOT_RUN = {
    "WSAStartup": ("WSAStartup:1:10091", []),
    "CreateEvent": ("CreateEventW:1:8", []),
    "CreateEvent, second": ("CreateEventW:2:8", []),
    "SetConsoleCtrlHandler": ("SetConsoleCtrlHandler:1:87", []),
    "CreateIoCompletionPort": (f"CreateIoCompletionPort:1:{NO_RESOURCES}", []),
    "_beginthreadex": ("_beginthreadex:1:8", []),
    "_beginthreadex, third": ("_beginthreadex:3:8", []),
    "_beginthreadex, for sweeps": ("_beginthreadex:4:8", []),
    "WSASocket": ("WSASocketW:1:10055", []),
    "WSASocket, both": ("WSASocketW:1+:10047", []),
    "setsockopt(SO_EXCLUSIVEADDRUSE)": ("setsockopt:2:10013", []),
    "setsockopt(IPV6_V6ONLY)": ("setsockopt:1:10042", ["--bind", "::1"]),
    "setsockopt(TCP_NODELAY)": ("setsockopt:3:10022", []),
    "bind": ("bind:1:10048", []),
    "bind, both": ("bind:1+:10049", []),
    "bind, that one": ("bind:1:10048", ["--bind", "127.0.0.1"]),
    "listen": ("listen:1:10055", []),
    "getsockname": ("getsockname:1:10050", []),
}


@pytest.fixture
def run_faulty():
    """run_faulty(faults, *arguments) runs a server to its end. Returns its
    status, output and error lines."""
    def run(faults, *arguments):
        result = run_server(0, "-w", 3, *arguments, program=CHECKED,
                            env={"FAULTS": faults})
        return (result.returncode, result.stdout,
                without_wines(result.stderr.splitlines()))
    return run


@pytest.mark.parametrize("call", CANNOT_RUN)
def test_cannot_run(run_faulty, call):
    """One line names the call, its code and what that means; status 1."""
    faults, arguments = CANNOT_RUN[call]
    status, out, lines = run_faulty(faults, *arguments)
    code = faults.rsplit(":", 1)[1]
    assert status == 1
    assert len(lines) == 1, lines
    assert lines[0].startswith("iocp_echo_server: " + call.split(",")[0])
    assert re.search(rf"failed: .+\(\w+ {code}\)", lines[0])
    assert "ready " not in out
    # The line names what the user chose: address and port, or --workers.
    if call.startswith(("WSASocket", "setsockopt", "bind", "listen",
                        "getsockname")):
        address = {"::1": "[::1]", "127.0.0.1": "127.0.0.1"}.get(
            arguments[-1] if arguments else "",
            "0.0.0.0" if call.endswith("both") else "[::]")
        assert f" {address}:0 failed: " in lines[0]
    elif call.startswith("_beginthreadex"):
        assert "--workers" in lines[0]


def test_an_address_that_can_not_be_read(run_faulty):
    status, _, lines = run_faulty("getaddrinfo:1:11001", "--bind", "127.0.0.1")
    assert status == 2 and len(lines) == 1


# ----------------------------- workers, the end ----------------------------


# What can't fail on a healthy system: FAULTS, arguments, the call.
IMPOSSIBLE = {
    "wait for a packet": ("GetQueuedCompletionStatus:5:6", [],
                          "GetQueuedCompletionStatus"),
    "all waits": ("GetQueuedCompletionStatus:3+:6", [],
                  "GetQueuedCompletionStatus"),
    "wait for packets": ("GetQueuedCompletionStatusEx:6:6", ["--batch", 64],
                         "GetQueuedCompletionStatusEx"),
    "sentinel": (f"PostQueuedCompletionStatus:1+:{NO_RESOURCES}", [],
                 "PostQueuedCompletionStatus"),
    "wait for a place": ("WaitForMultipleObjects:1:6", ["-m", 2],
                         "WaitForMultipleObjects"),
    "wait of the sweeps": ("WaitForSingleObject:3:6", ["-i", 60],
                           "WaitForSingleObject"),
    "wait of the drain": ("WaitForSingleObject:1:6", [],
                          "WaitForSingleObject"),
    "a place is free": ("SetEvent:1:6", ["-m", 1], "SetEvent"),
    "the stop": ("SetEvent:1:6", [], "SetEvent"),
}


def check_ended_at_once(server, call):
    """One line, status 1, and no summary: its figures could be wrong."""
    # Under Wine the status can be that of a thread that ends by itself just
    # then, as the sweeper does when the server stops.
    beside = not WINDOWS and server.matching("^stopping ")
    assert server.wait_end() == 1 or beside and server.process.returncode == 0
    (line,) = without_wines(server.errors)
    assert [line] == complaints(server, call)
    assert re.search(r" failed: .+ \(\w+ \d+\)$", line)
    assert not server.matching("^(worker|stopped) ")


@pytest.mark.parametrize("faults, arguments, call", IMPOSSIBLE.values(),
                         ids=IMPOSSIBLE.keys())
def test_an_impossible_failure_ends_it(faulty, faults, arguments, call):
    server = faulty(faults, "--workers", 2, "--drain-timeout", 60, *arguments)
    with closing_all() as clients:
        # A short timeout: Wine may keep the socket of a process that ended.
        with contextlib.suppress(OSError):
            for _ in range(2):
                clients.append(server.connect(timeout=2))
                echo(clients[-1], b"hello")
                if call == "SetEvent" and "-m" in arguments:
                    clients.pop().close()
        if server.alive():
            server.signal_stop()
        with contextlib.suppress(OSError):
            for client in clients:
                client.recv(1)  # returns when the server closes
    check_ended_at_once(server, call)


def test_a_join_that_fails_ends_it(faulty):
    server = faulty("WaitForSingleObject:1:6", "--workers", 1)
    server.signal_stop()
    check_ended_at_once(server, "WaitForSingleObject")


def test_a_sentinel_is_posted_again(faulty):
    server = faulty(f"PostQueuedCompletionStatus:2:{NO_RESOURCES}", "-w", 4)
    server.check_serves()
    server.stop()


def test_the_last_line_is_never_left_out(faulty):
    """It is printed although the same call failed, and was survived, a moment
    before."""
    server = faulty(f"PostQueuedCompletionStatus:1+:{NO_RESOURCES}", "-w", 2,
                    "--post", 1)
    assert wait_until(lambda: server.errors)
    server.signal_stop()
    assert server.wait_end() == 1
    assert "(--post) failed" in server.errors[0]
    assert "(sentinel) failed" in server.errors[-1]


@pytest.mark.parametrize("faults, call", [
    ("CancelIoEx:1:31", "CancelIoEx"), ("CancelIoEx:/2:31", "CancelIoEx"),
    ("CloseHandle:1:6", "CloseHandle"), ("WSACleanup:1:10093", "WSACleanup")])
def test_a_failure_while_stopping_is_told(faulty, faults, call):
    server = faulty(faults, "--max-connections", 4)
    with closing_all() as clients:
        for _ in range(4):
            clients.append(server.connect())
            assert echo(clients[-1], b"hello") == b"hello"
        server.stop()
    assert told(server, f"{call}.* failed: ") > 0


# ------------------------- the same over and over ---------------------------

INTERVAL = 1  # seconds between lines: REPEAT_INTERVAL in checked.h


def comes_and_goes(server):
    try:
        with server.connect() as client:
            client.sendall(bytes(20 * BUF_SIZE))
            client.shutdown(socket.SHUT_WR)
            receive_all(client)
    except OSError:
        pass  # a fault hit it


REPEATED = {
    # FAULTS, arguments, the error
    "accept": ("accept:/2:10054", [], "accept failed: "),
    "accept, descriptors": ("accept:/2:10024", [], "accept failed: "),
    "dropped": ("calloc:/1:8", [], "out of memory"),
    "associate": (f"CreateIoCompletionPort:2+:{NO_RESOURCES}", [],
                  "CreateIoCompletionPort.* failed: "),
    "closesocket": ("closesocket:/1:10038", [], "closesocket.* failed: "),
    "no buffer": ("VirtualAlloc:/1:8", ["--zero-byte-recv"], "out of memory"),
    "a buffer is not freed": ("VirtualFree:/1:487", ["--zero-byte-recv"],
                              "VirtualFree failed: "),
    "skip packets": ("SetFileCompletionNotificationModes:/1:87",
                     ["--inline", 4], "--inline"),
    "cancel": ("CancelIoEx:1-100000:31", ["-i", 1], "CancelIoEx failed: "),
}


@pytest.mark.parametrize("faults, arguments, said", REPEATED.values(),
                         ids=REPEATED.keys())
def test_the_same_failure_over_and_over(faulty, faults, arguments, said):
    """The first is printed at once, then now and then a line that says how
    many were left out: an outage that begins hours later shows, and no client
    can fill a disk."""
    server = faulty(faults, "-w", 2, *arguments)
    started = time.monotonic()
    silent = server.connect() if "-i" in arguments else None

    def reported(lines):
        if silent is None:
            comes_and_goes(server)
        return len(server.errors) >= lines
    assert wait_until(lambda: reported(2))
    server.kill()
    lines = len(server.errors)
    assert lines - 1 <= (time.monotonic() - started) / INTERVAL
    assert told(server, said) > lines
    if silent is not None:
        silent.close()


# ----------------------- cancelled as idle, but too late --------------------


def test_a_connection_that_goes_on_is_not_idle(faulty, asked):
    """Its READ completed just as it was cancelled. An operation that fails
    later is a failure like any other."""
    server = faulty("CancelIoEx:1-100:late,WSASend:3:10054", "-i", 1, "-v",
                    env=asked.env)
    with server.connect() as client:
        assert echo(client, b"before") == b"before"
        assert wait_until(lambda: asked.calls("CancelIoEx"))
        assert echo(client, b"still here") == b"still here"
        client.sendall(b"this WRITE fails")
        server.wait_for("^close conn=1 reason=error received=32 sent=16 ")
    assert server.stop()["failed"] == 1


def test_a_connection_that_is_idle_later(faulty, asked):
    server = faulty("CancelIoEx:1-4:late", "-i", 1, "-v", env=asked.env)
    with server.connect() as client:
        assert wait_until(lambda: asked.calls("CancelIoEx"))
        assert echo(client, b"still here") == b"still here"
        assert client.recv(1) == b""
    server.wait_for("^close conn=1 reason=idle received=10 sent=10 ")
    assert server.stop()["failed"] == 0


# --------------------------------- modes -----------------------------------


def inlined(server):
    """Returns how many operations had no packet; call it after the stop."""
    return sum(int(fields(x)["inline"]) for x in server.matching("^worker "))


@pytest.mark.parametrize("faults, said", [
    ("SetFileCompletionNotificationModes:/1:87", "--inline"),
    ("getsockopt:/1:10042", "--inline"),
    ("getsockopt:/1:short", "--inline.*IFS")])
def test_inline_is_refused_where_it_is_not_safe(faulty, faults, said):
    """The server then takes every completion as a packet."""
    server = faulty(faults, "--inline", 4)
    for _ in range(5):
        server.check_serves()
    totals = server.stop()
    assert totals["received"] == totals["sent"] > 0
    assert totals["completions"] == 15 and inlined(server) == 0
    assert told(server, said) > 0


def test_who_can_not_be_queued_goes_on(faulty):
    """After --inline rounds the worker posts what is left to the port. If that
    fails, it goes on without a limit."""
    server = faulty(f"PostQueuedCompletionStatus:/2:{NO_RESOURCES}",
                    "--inline", 1, "--buffer", BUF_SIZE, "-v", "-w", 2)
    data = bytes(range(256)) * 4000
    for number in range(1, 4):
        with server.connect() as client:
            # Wait until its first READ is pending: main posts no packet then.
            server.wait_for(f"^accept conn={number} ")
            assert exchange(client, data) == data
    totals = server.stop()
    assert totals["received"] == totals["sent"] == 3 * len(data)


def test_a_return_of_sentinels_that_fails(faulty):
    """A worker has taken another's sentinel and can't return it."""
    server = one_takes_both(
        faulty, f"PostQueuedCompletionStatus:3+:{NO_RESOURCES}")
    server.signal_stop()
    check_ended_at_once(server, "PostQueuedCompletionStatus")


@pytest.mark.parametrize("arguments", [["--batch", 64],
                                       ["--batch", 64, "--inline", 2]])
def test_a_failed_operation_in_a_batch(faulty, arguments):
    """It ends its own connection; the batch's other packets are handled."""
    server = faulty("WSAGetOverlappedResult:/20:10054", "-v", *arguments)
    served = 0
    for _ in range(20):
        try:
            with server.connect() as client:
                served += echo(client, b"hello") == b"hello"
        except OSError:
            pass  # the fault hit this one
    failed = server.stop()["failed"]
    assert failed > 0 and served >= 20 - failed
    assert len(server.matching("^failed .* code=10054$")) == failed


def test_no_memory_for_a_large_buffer(faulty):
    """The connection keeps its small one."""
    server = faulty("VirtualAlloc:/2:8", "-v")
    data = bytes(range(256)) * 4000
    with server.connect() as client:
        assert exchange(client, data) == data
    server.wait_for("^close ")
    sizes = {int(fields(x)["bytes"]) for x in server.matching("^read ")}
    assert max(sizes) == BUF_SIZE
    assert server.stop()["failed"] == 0 and server.errors == []


def test_no_memory_for_any_buffer(faulty):
    server = faulty("VirtualAlloc:3:8", "--zero-byte-recv", "-v")
    server.check_serves()  # takes two: for the message, for the end of file
    server.wait_for("^close conn=1 ")
    with server.connect() as client:
        client.sendall(b"hello")
        with pytest.raises(ConnectionError):  # closed with bytes unread
            client.recv(1)
    server.check_serves()
    assert server.stop()["failed"] == 1
    (line,) = server.errors
    assert "out of memory" in line


def test_a_buffer_that_can_not_be_freed(faulty):
    server = faulty("VirtualFree:1:487", "--zero-byte-recv")
    for _ in range(3):
        server.check_serves()
    server.stop()
    assert len(complaints(server, "VirtualFree")) == len(server.errors) == 1


# --------------------------------- trace -----------------------------------

TRACE_FAULTS = {
    # FAULTS, the call in the error line (None: no line), is it valid JSON
    "CreateFile": ("CreateFileA:1+:5", "CreateFile '", None),
    "what it is": ("GetFileType:1:6", "CreateFile '", False),
    "first write": ("WriteFile:1:112", "WriteFile '", False),
    "CreateTimerQueueTimer": ("CreateTimerQueueTimer:1:8",
                              "CreateTimerQueueTimer '", True),
    "DeleteTimerQueueTimer": ("DeleteTimerQueueTimer:1:6",
                              "DeleteTimerQueueTimer '", True),
    "system's name": ("GetProcAddress:/1:127", None, True),
}


@pytest.mark.parametrize("faults, said, valid", TRACE_FAULTS.values(),
                         ids=TRACE_FAULTS.keys())
def test_a_trace_that_fails(faulty, tmp_path, faults, said, valid):
    """One line is printed; the trace ends, or lacks something; the echo goes
    on."""
    trace = tmp_path / "trace.json"
    server = faulty(faults, "--workers", 2, "--trace", windows_path(trace))
    for _ in range(5):
        server.check_serves()
    totals = server.stop()
    assert totals["connections"] == 5 and totals["failed"] == 0
    told = [line for line in server.errors if said is not None
            and line.startswith(f"iocp_echo_server: {said}")]
    assert len(server.errors) == len(told) == (said is not None)
    assert all(windows_path(trace) in line for line in told)
    if valid is None:
        assert not trace.exists()
    elif valid:
        assert len(json.loads(trace.read_text(encoding="ascii"))) > 5


def test_a_disk_that_is_full_later(faulty, tmp_path):
    """The file keeps what was written, and only the trace ends."""
    trace = tmp_path / "trace.json"
    # The first WriteFile begins the trace, the second prints the ready line.
    server = faulty("WriteFile:3:112", "--trace", windows_path(trace))
    with server.connect() as client:
        assert echo(client, b"before") == b"before"
        assert wait_until(lambda: server.errors)
        assert echo(client, b"after") == b"after"
    server.stop()
    assert len(server.errors) == 1
    assert server.errors[0].startswith(
        f"iocp_echo_server: WriteFile '{windows_path(trace)}' (trace) failed: "
        "the disk is full")
    assert trace.read_text(encoding="ascii").startswith('[\n{"ph":"M"')


# ------------------------------ completeness -------------------------------

CANNOT_FAIL = {
    # Windows documents no failure for these, or the server needs no success.
    "SetLastError",
    "AcquireSRWLockExclusive", "AcquireSRWLockShared", "InitializeSRWLock",
    "ReleaseSRWLockExclusive", "ReleaseSRWLockShared", "GetTickCount",
    "GetTickCount64", "GetSystemTime",
    "QueryPerformanceCounter", "QueryPerformanceFrequency",
    "GetModuleHandleW", "GetLastError", "WSAGetLastError",
    "GetCurrentProcess", "GetCurrentThreadId", "GetStdHandle", "Sleep",
    "TerminateProcess", "FormatMessageA", "freeaddrinfo", "htons", "ntohl",
    "ntohs", "InitializeSListHead", "InterlockedPushEntrySList",
    "InterlockedPopEntrySList", "QueryDepthSList",
    # The C runtime's, on memory of the caller
    "exit", "free", "memcmp", "memcpy", "memset", "strchr", "strcmp",
    "strcspn", "strlen", "strncmp", "strrchr", "__mingw_vsnprintf",
    "__mingw_snprintf", "__doserrno", "_vsnprintf", "vsnprintf", "snprintf",
    "__main", "___chkstk_ms",
}


def test_every_call_has_a_fault():
    """A call that is new needs a fault, or a place among those without."""
    nm = shutil.which("x86_64-w64-mingw32-nm") or shutil.which("nm")
    assert nm is not None, "binutils' nm lists the calls"
    objects = [path for path in sorted((ROOT / "build" / "x86_64").glob("*.o"))
               if (ROOT / "src" / f"{path.stem}.c").exists()]
    assert len(objects) >= 8
    listing = subprocess.run([nm, *map(str, objects)], capture_output=True,
                             encoding="ascii", timeout=60, check=True).stdout
    defined = set(re.findall(r"^\S+ [A-TV-Z] (\S+)$", listing, re.MULTILINE))
    used = {name[len("__imp_"):] if name.startswith("__imp_") else name
            for name in re.findall(r"^\s+U (\S+)$", listing, re.MULTILINE)}
    calls = used - defined - CANNOT_FAIL
    # On the simulated Windows each of these is made to fail, in every way.
    swept = set(re.findall(r"X\((\w+), [1-9]", (
        ROOT / "tests" / "simulated" / "calls.h").read_text(
            encoding="ascii")))
    assert calls <= swept, calls - swept
    assert swept <= calls, swept - calls
    # The effect of each is tested in one of these.
    folder = pathlib.Path(__file__).parent
    text = "".join((folder / name).read_text(encoding="utf-8")
                   for name in ("test_faults.py", "test_console.py"))
    tested = set(re.findall(r'[",](\w+):[/\d{]', text))
    tested |= {"WSASend", "WSARecv"}  # as parameters
    assert calls <= tested, calls - tested
