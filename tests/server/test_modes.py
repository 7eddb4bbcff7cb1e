"""--buffer, --batch, --inline, --zero-byte-recv: faster, and the same server.

The tests of the echo, of hostile clients and of the stop run in each mode;
what is here is what each mode promises.
"""

import json
import socket
import subprocess
import threading

import pytest

from parts import costs, process_info
import support
from clients import Load, stream
from kinds import MODES
from support import (BUF_SIZE, CHECKED, IO_TIMEOUT, LARGE_BUFFER, WINDOWS,
                     Server, build_broken, closing_all, connect, echo,
                     exchange, fields, one_takes_both, receive, together,
                     windows_path)

pytestmark = pytest.mark.servers(*MODES)
needs_checked = pytest.mark.skipif(
    WINDOWS and not CHECKED.exists(),
    reason="GNU make builds the checked server: make checked")


# --------------------------------- buffers ---------------------------------


@pytest.fixture
def traced(tmp_path):
    """traced(*arguments): a server and, after its stop, its trace's events."""
    path = tmp_path / "trace.json"

    def start(*arguments, **options):
        server = Server(*arguments, "--trace", windows_path(path), **options)
        server.events = lambda unfinished=False: json.loads(
            path.read_text(encoding="ascii") + "]" * unfinished)
        return server
    return start


def reads_offered(server, conn=1, flush=False):
    """Returns how many bytes each READ of a connection had room for, in order.
    With `flush`, reads the file while the server runs."""
    return [x["args"]["bytes"] for x in server.events(flush)
            if x["ph"] == "b" and x.get("cat") == "kernel"
            and x["name"] == "READ" and x["args"]["conn"] == conn]


def runs(values):
    """Groups equal neighbours. Returns [(value, how many)]."""
    found = []
    for value in values:
        if not found or found[-1][0] != value:
            found.append((value, 0))
        found[-1] = value, found[-1][1] + 1
    return found


@pytest.mark.parametrize("arguments, largest", [
    ([], LARGE_BUFFER), (["--buffer", 10000], 10000)])
def test_the_buffer_grows_and_shrinks(traced, arguments, largest):
    server = traced(*arguments)
    with server.connect() as client:
        assert echo(client, b"s" * 100) == b"s" * 100
        assert echo(client, b"f" * BUF_SIZE) == b"f" * BUF_SIZE  # filled
        for _ in range(20):
            assert echo(client, b"s" * 100) == b"s" * 100
    server.stop()
    small_again = runs(reads_offered(server))
    # After eight READs that a small one would have held, it is given back.
    assert small_again[:2] == [(BUF_SIZE, 2), (largest, 8)]
    assert [size for size, _ in small_again] == [BUF_SIZE, largest, BUF_SIZE]


def test_a_stream_keeps_the_large_buffer(traced):
    """A few small READs now and then are no reason to give it back."""
    server = traced()
    with server.connect() as client:
        for _ in range(10):
            assert echo(client, b"f" * BUF_SIZE) == b"f" * BUF_SIZE
            for _ in range(7):
                assert echo(client, b"s") == b"s"
    server.stop()
    assert [size for size, _ in runs(reads_offered(server))] == [
        BUF_SIZE, LARGE_BUFFER]


def test_a_long_stream_gets_the_largest_and_gives_it_back(traced):
    """It gets it after 16 MiB of full READs, and gives it back when its client
    falls silent, long before that is idle."""
    server = traced("--idle-timeout", 60)
    with server.connect() as client:
        stream(client, 1 << 20, 64)

        def given_back():
            return support.wait_until(
                lambda: reads_offered(server, flush=True)[-1] == BUF_SIZE)
        assert given_back()
        assert echo(client, b"still here") == b"still here"
    server.stop()
    offered = [size for size, _ in runs(reads_offered(server))]
    assert offered[:3] == [BUF_SIZE, LARGE_BUFFER, 1 << 20]
    assert offered[-1] == BUF_SIZE


def test_what_is_given_back_can_be_lent_again(traced):
    server = traced("--buffer-total", 1)
    for _ in range(20):  # there is room for 16 at a time
        with server.connect() as client:
            assert echo(client, b"f" * BUF_SIZE) == b"f" * BUF_SIZE
            assert echo(client, b"s") == b"s"
    server.stop()
    assert all(LARGE_BUFFER in reads_offered(server, conn)
               for conn in range(1, 21))


@pytest.mark.parametrize("arguments", [["--buffer", BUF_SIZE],
                                       ["--buffer-total", 0]])
def test_no_larger_than_asked_for(traced, arguments):
    server = traced(*arguments)
    data = bytes(range(256)) * 4096
    with server.connect() as client:
        assert exchange(client, data) == data
    server.stop()
    assert set(reads_offered(server)) == {BUF_SIZE}


# --------------------------------- batches ---------------------------------


def completions(server):
    """Returns the sums of the workers' counts; call it after the stop."""
    lines = [fields(x) for x in server.matching("^worker id=")]
    return {key: sum(int(each[key]) for each in lines)
            for key in ("completions", "waits", "inline") if key in lines[0]}


def test_packets_posted_by_hand_come_in_batches():
    server = Server("--workers", 1, "--batch", 256, "--post", 1000, "-v")
    server.wait_for("^posted ", count=1000)
    server.check_serves()
    server.stop()
    sizes = [int(fields(x)["bytes"]) for x in server.matching("^posted ")]
    assert sizes == list(range(1, 1001))
    counts = completions(server)
    assert counts["completions"] == 3
    assert counts["waits"] < 1000  # however early the worker begins


def test_no_mode_no_word_of_it():
    server = Server()
    server.check_serves()
    server.stop()
    assert set(completions(server)) == {"completions"}


@pytest.mark.own_build
@needs_checked
def test_sentinels_of_others_are_returned(traced):
    """A worker that takes two keeps one; without the other its sibling would
    wait for ever."""
    server = one_takes_both(traced, program=CHECKED)
    server.stop()
    names = [x.get("name") for x in server.events()]
    assert names.count("sentinel posted") == 3
    assert names.count("sentinel") == 2  # each worker shows its own


@pytest.mark.own_build
def test_sentinels_that_are_kept_are_missed(tmp_path):
    """The same with a server that does not return them: it does not end, or
    the test above would prove nothing."""
    program = build_broken(
        tmp_path, "batch.c",
        "        pool_post_sentinels(batch->server->hComPort,\n"
        "                            batch->count - batch->next);",
        "        (void)0;")
    server = one_takes_both(Server, program=program)
    server.signal_stop()
    with pytest.raises(subprocess.TimeoutExpired):
        server.process.wait(2)
    server.kill()


# --------------------------------- inline ----------------------------------


@pytest.mark.parametrize("limit", [1, 4])
def test_no_more_in_a_row_than_asked_for(limit):
    """After each packet come at most that many operations without one."""
    server = Server("--workers", 1, "--inline", limit, "--buffer", BUF_SIZE)
    data = bytes(range(256)) * 4096
    for _ in range(3):
        with server.connect() as client:
            assert exchange(client, data) == data
    server.stop()
    counts = completions(server)
    assert 0 < counts["inline"] <= limit * counts["completions"]


@pytest.mark.parametrize("batch", [1, 64])
def test_who_is_always_ready_does_not_have_the_worker_alone(batch):
    """Two clients have sent all they have; the one worker serves them in
    turn."""
    limit = 4
    server = Server("--workers", 1, "--inline", limit, "--batch", batch,
                    "--buffer", BUF_SIZE, "--work", 50, "-v")
    data = bytes(range(256)) * (BUF_SIZE // 256) * 20
    with server.connect() as first, server.connect() as second:
        # The second has sent long before the work for the first is done.
        for client in (first, second):
            client.sendall(data)
        for client in (first, second):
            assert receive(client, len(data)) == data
    server.stop()
    lines = [fields(x) for x in server.matching("^(read|write) ")]
    order = [x["conn"] for x in lines]
    both = order[max(order.index("1"), order.index("2")):]
    both = both[:len(both) - 1 - min(both[::-1].index("1"),
                                     both[::-1].index("2"))]
    # A turn is a packet and what follows it.
    turns = sorted(count for _, count in runs(both))
    assert len(turns) > 1 and turns[len(turns) // 2] <= limit + 1, turns


def run_exchange(server, data):
    """Connects, exchanges the data and checks it."""
    with connect(server.host, server.port) as client:
        assert exchange(client, data) == data


# ------------------------------ zero-byte READs -----------------------------


def test_a_zero_byte_read_comes_first(traced):
    server = traced("--zero-byte-recv", "-v", "--workers", 1)
    with server.connect() as client:
        for _ in range(3):
            assert echo(client, b"hello") == b"hello"
    server.wait_for("^close ")  # and not by the stop
    server.stop()
    assert reads_offered(server) == [0, BUF_SIZE] * 4  # the last: end of file
    assert [x.split()[0] for x in server.matching("conn=1 worker=1")] == [
        "readable", "read", "write"] * 3 + ["readable", "read"]


IDLE = 3000
IDLE_BYTES = 460


@pytest.mark.alone  # three thousand descriptors
def test_idle_connections_have_no_buffer():
    """Measures by how much the process grows for each."""
    server = Server("--zero-byte-recv")
    pid = server.process.pid
    with closing_all() as clients:
        def connect_many(count):
            for _ in range(count):
                clients.append(server.connect())
                assert echo(clients[-1], b"hello") == b"hello"
        connect_many(200)
        before = process_info.memory(pid)
        connect_many(IDLE)
        grown = process_info.memory(pid) - before
        assert grown <= IDLE * IDLE_BYTES, f"{grown / IDLE} bytes each"
        assert echo(clients[0], b"still here") == b"still here"
    server.stop()


def test_what_a_burst_needed_is_given_back():
    """Buffers are kept for the next echo, but not for ever."""
    server = Server("--zero-byte-recv")
    pid = server.process.pid
    with closing_all() as clients:
        for _ in range(20):
            clients.append(server.connect())
            assert echo(clients[-1], b"hello") == b"hello"
        before = process_info.memory(pid)
        data = bytes(range(256)) * 1024
        with together([lambda: run_exchange(server, data)] * 50):
            pass
        assert support.wait_until(
            lambda: process_info.memory(pid) - before < 2 << 20), (
                process_info.memory(pid) - before)
    server.stop()


# ------------------------------- what it costs ------------------------------

COSTS = {
    # The calls that one echo to one client makes. It makes no others.
    "plain": ([], {
        "WSARecv": 1, "WSASend": 1, "GetQueuedCompletionStatus": 2}),
    "batch": (["--batch", 256], {
        "WSARecv": 1, "WSASend": 1, "GetQueuedCompletionStatusEx": 2,
        "WSAGetOverlappedResult": 2}),
    "zero-byte": (["--zero-byte-recv"], {
        "WSARecv": 2, "WSASend": 1, "GetQueuedCompletionStatus": 3}),
    # An echo of these takes one packet, which the server posts itself if the
    # next message is there already.
    "inline": (["--inline", 1], {
        "WSARecv": 1, "WSASend": 1, "GetQueuedCompletionStatusEx": 1,
        "WSAGetOverlappedResult": 1}),
    "zero-byte, inline": (["--zero-byte-recv", "--inline", 2], {
        "WSARecv": 2, "WSASend": 1, "GetQueuedCompletionStatusEx": 1,
        "WSAGetOverlappedResult": 1}),
}


@pytest.mark.own_build
@needs_checked
@pytest.mark.parametrize("mode", COSTS)
def test_calls_of_one_echo(tmp_path, mode):
    """Counts them: no lock, no allocation, and only the calls in COSTS."""
    arguments, expected = COSTS[mode]
    each = costs.calls_of_one_echo(
        lambda env: Server(*arguments, program=CHECKED, env=env), tmp_path)
    # A sentinel may be returned in one of the two and not in the other.
    queued = each.pop("PostQueuedCompletionStatus")
    assert queued <= (1.2 if "inline" in mode else 0.02)
    for call, count in each.items():
        most = expected.get(call, 0)
        # The sweeps of a busy machine fall into these echoes, too.
        slack = 0.2
        if call in expected and "inline" not in mode:
            assert count == pytest.approx(most, abs=0.02), call
        elif call in expected:
            assert count <= most + slack, call
        else:
            assert abs(count) <= slack, call


# ------------------------------- all of them --------------------------------


def test_every_kind_of_size_at_once(start_server):
    """Connections that stream and others that chat, side by side: each gets
    its bytes in order, whatever buffer it has at the moment."""
    server = start_server()

    def chat():
        with server.connect() as client:
            for size in [1, 4095, 4096, 4097, 1, 70_000, 65_536, 5] * 10:
                message = bytes([size % 251]) * size
                assert exchange_part(client, message) == message
    with together([chat] * 8 + [
            lambda: run_exchange(server, bytes(range(251)) * 8000)] * 4):
        pass
    totals = server.stop()
    assert totals["received"] == totals["sent"]
    assert totals["failed"] == 0


def exchange_part(client, message):
    """Sends and receives at once, without an end of file."""
    sender = threading.Thread(target=client.sendall, args=[message],
                              daemon=True)
    sender.start()
    received = receive(client, len(message))
    sender.join(IO_TIMEOUT)
    return received


def test_idle_timeout(start_server):
    """One that waits for a READ and one whose WRITE is stuck."""
    server = start_server("--idle-timeout", 1, "-v")
    with server.connect() as silent, server.connect(
            receive_buffer=4096) as deaf:
        def send_and_never_read():
            try:
                while True:
                    deaf.sendall(b"x" * 65536)
            except ConnectionError:
                pass  # closed, as it should be
        with together([send_and_never_read]):
            assert silent.recv(1) == b""
    server.wait_for("^close conn=.* reason=idle", count=2)
    assert server.stop()["failed"] == 0


@pytest.mark.not_for("small-buffer", "batch",
                     because="their READs are cancelled as plain's are")
def test_stop_while_a_client_floods(start_server):
    """Its READs are all done at once, so there is none to cancel."""
    server = start_server("--drain-timeout", 2)

    def flood(again):
        with connect(server.host, server.port) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while again():
                echo(client, b"f" * 20_000)
    load = Load(server, 4, flood)
    totals = server.stop()
    load.end()
    assert totals["received"] == totals["sent"]
