"""What the checked build asks of the system (ASKED). These tests cover what
Windows does and Wine does not show; Microsoft's pages say what is right."""

import collections
import json

import pytest

from support import (CHECKED, WINDOWS, Server, echo, wait_until,
                     windows_path)

if WINDOWS and not CHECKED.exists():
    pytest.skip("GNU make builds the checked server: make checked",
                allow_module_level=True)

# Winsock's numbers
SOL_SOCKET, IPPROTO_TCP = 0xFFFF, 6
SO_REUSEADDR, SO_EXCLUSIVEADDRUSE, SO_KEEPALIVE, TCP_NODELAY = 4, ~4, 8, 1

WAITS = ("Sleep", "WaitForSingleObject", "WaitForMultipleObjects")
HANDLER = "SetConsoleCtrlHandler"  # logged when the system calls the handler


@pytest.fixture
def start_server(asked):
    """start_server(*arguments, faults): a server whose calls `asked` has."""
    def start(*arguments, faults=""):
        return Server(*arguments, program=CHECKED,
                      env={**asked.env, "FAULTS": faults})
    return start


def main_thread(asked):
    return asked.calls("listen")[0][1]["thread"]


# -------------------------------- accepting --------------------------------


def test_options_that_no_client_sees(start_server, asked):
    server = start_server("--concurrency", 3, "--workers", 2)
    server.check_serves()
    server.stop()
    assert asked.values("CreateIoCompletionPort", "concurrency") == ["3"]
    options = {(int(x["level"]), int(x["name"])): int(x["value"])
               for _, x in asked.calls("setsockopt")}
    assert options[SOL_SOCKET, SO_EXCLUSIVEADDRUSE]
    assert options[SOL_SOCKET, SO_KEEPALIVE]
    assert options[IPPROTO_TCP, TCP_NODELAY]
    assert (SOL_SOCKET, SO_REUSEADDR) not in options


def test_backlog(start_server, asked):
    """SOMAXCONN has meant some 200 since Windows 8, which resets the clients
    beyond that. SOMAXCONN_HINT(n), which is -n, goes up to 65535."""
    start_server().stop()
    assert asked.values("listen", "backlog") == ["-65535"]


def waits_between_accepts(asked):
    """Returns how long main waited, in ms, each time from its first accept to
    its last."""
    calls = asked.calls("accept", *WAITS, thread=main_thread(asked))
    accepts = [i for i, (name, _) in enumerate(calls) if name == "accept"]
    return [int(arguments["ms"])
            for name, arguments in calls[accepts[0]:accepts[-1]]
            if name in WAITS and arguments["ms"] != "0"]


@pytest.mark.parametrize("code", [10052, 10053, 10054, 10057, 10060])
def test_no_pause_for_a_client_that_has_gone(start_server, asked, code):
    """Waiting 1 ms takes a whole tick of the clock. A client that resets over
    and over would slow accept down to 64 a second."""
    server = start_server("-w", 2, faults=f"accept:2-4:{code}")
    for _ in range(5):
        server.check_serves()
    server.stop()
    assert waits_between_accepts(asked) == []


@pytest.mark.parametrize("code", [8, 10022, 10024, 10055])
def test_a_pause_where_something_is_used_up(start_server, asked, code):
    server = start_server("-w", 2, faults=f"accept:2-4:{code}")
    for _ in range(5):
        server.check_serves()
    server.stop()
    assert waits_between_accepts(asked) == [100] * 3


# -------------------------------- the stop ---------------------------------


def written_under(asked):
    """Returns the locks that a thread held while it wrote."""
    held = collections.defaultdict(set)
    found = set()
    for name, arguments in asked.calls():
        locks = held[arguments["thread"]]
        if name == "AcquireSRWLockExclusive":
            locks.add(arguments["lock"])
        elif name == "ReleaseSRWLockExclusive":
            locks.remove(arguments["lock"])
        elif name == "WriteFile":
            found |= locks
    return found


def test_the_console_s_thread_waits_for_nobody_who_writes(start_server, asked,
                                                          tmp_path):
    """It prints nothing, traces nothing and takes no lock that another thread
    holds while it prints: such a thread may have to wait for ever."""
    trace = tmp_path / "trace.json"
    server = start_server("-v", "-w", 2, "-i", 1, "--trace",
                          windows_path(trace), faults="CancelIoEx:1:31")
    with server.connect() as client:
        assert echo(client, b"hello") == b"hello"
        # The idle sweep complains while it holds the registry's lock.
        assert wait_until(lambda: server.errors)
        server.stop()
    (thread,) = asked.values(HANDLER, "thread")
    calls = asked.calls(thread=thread)
    assert {name for name, _ in calls} <= {
        HANDLER, "SetEvent", "closesocket", "AcquireSRWLockExclusive",
        "ReleaseSRWLockExclusive"}
    taken = {arguments.get("lock") for _, arguments in calls}
    assert not taken & written_under(asked)
    threads = {event.get("tid") for event in
               json.loads(trace.read_text(encoding="ascii"))}
    assert int(thread) not in threads


def test_the_listener_is_closed_before_winsock_is_left(start_server, asked):
    """The console's thread may be delayed just before it closes the listener.
    Main waits for a free place, not in accept, so it goes on at once."""
    server = start_server("--max-connections", 1,
                          faults="closesocket:1+:late")
    with server.connect() as client:
        assert echo(client, b"hello") == b"hello"
        assert wait_until(lambda: asked.calls(
            thread=main_thread(asked))[-1][0] in WAITS)
        server.signal_stop()
        assert client.recv(1) == b""
    assert server.wait_end() == 0
    ends = [(name, arguments.get("listener")) for name, arguments
            in asked.calls("closesocket", "WSACleanup")]
    assert ends.index(("closesocket", "1")) < ends.index(("WSACleanup", None))
