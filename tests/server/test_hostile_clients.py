"""Clients that do harm; those beside them must not notice."""

import socket

import pytest

from clients import OFFERED, all_kinds_at_once, offer
from kinds import MODES, PLAIN, STEPS, Step, takes_long
from parts import process_info
from support import (BUF_SIZE, IO_TIMEOUT, closing_all, echo, exchange,
                     receive, reset, wait_until)

pytestmark = pytest.mark.servers(PLAIN, *MODES, *STEPS)


@pytest.mark.not_for(*STEPS, because="they print other events: test_steps.py")
def test_a_reset_ends_that_connection_and_no_other(start_server):
    """The chapter ignores the result of GetQueuedCompletionStatus, so one
    reset brings its server down. libevent took such a packet for a failed
    wait."""
    server = start_server("-v")
    with server.connect() as bystander, closing_all() as clients:
        assert echo(bystander, b"before") == b"before"
        for _ in range(8):
            clients.append(server.connect(receive_buffer=4096))
        # A pending WRITE meets the reset. A READ may see an end of file
        # instead, depending on the system.
        offer(server, clients)
        for client in clients:
            reset(client)
        server.wait_for(r"^failed conn=\d+ worker=\d+ mode=WRITE", count=8)
        server.wait_for("^close conn=.* reason=error", count=8)
        assert echo(bystander, b"after") == b"after"
        server.check_serves()
    server.wait_for("reason=eof", count=2)
    totals = server.stop()
    assert totals["failed"] == 8 and totals["connections"] == 10


def test_reset_storm(server, server_kind):
    """Resets at every stage: before, in and after an echo."""
    # Step 3 accepts ten in a second when it has nothing else to do.
    for number in range(30 if isinstance(server_kind, Step) else 300):
        client = server.connect()
        if number % 3 == 1:
            client.sendall(b"r" * 100_000)
        elif number % 3 == 2:
            assert echo(client, b"x") == b"x"
            client.sendall(b"more")
        reset(client)
    server.check_serves()


def test_reset_while_the_server_sends(server):
    """The WRITE fails, or the next one fails at once. Either way the server
    retires it once."""
    with closing_all() as clients:
        for _ in range(8):
            clients.append(server.connect(receive_buffer=4096))
        offer(server, clients)
        for client in clients:
            reset(client)
    server.check_serves()


@pytest.mark.not_for(*STEPS, because="they print no totals: test_steps.py")
def test_connect_and_leave_storm(start_server):
    server = start_server()
    for _ in range(1000):
        server.connect().close()
    server.check_serves()
    totals = server.stop()
    # A client may leave before it is accepted. None must be left behind.
    assert 1 <= totals["connections"] <= 1001


@takes_long
@pytest.mark.alone  # under Wine all programs' sockets are the Wine server's
@pytest.mark.not_for(*STEPS, because="they print no totals: test_steps.py")
def test_storm_leaves_no_handle_behind(start_server):
    """Closing a connection closes its handles."""
    server = start_server()
    pid = server.process.pid

    def storm(rounds):
        for _ in range(rounds):
            with server.connect() as client:
                assert echo(client, b"x") == b"x"
    storm(50)
    before = process_info.handles(pid)
    storm(500)
    assert wait_until(lambda: process_info.handles(pid) <= before + 8), (
        before, process_info.handles(pid))
    assert server.stop()["connections"] == 550


@pytest.mark.not_for("batch", "inline", because="their buffers are plain's")
def test_never_reading_clients_cost_a_buffer_each(server, server_kind):
    """The chapter goes on receiving while its sends pile up. Jones and Ohlund
    cap all sends together, so slow readers starve the others."""
    # Each client's sockets hold megabytes that passed through its buffer.
    count = 60 if server_kind.buffer > BUF_SIZE else 15
    pid = server.process.pid
    with closing_all() as clients:
        for _ in range(count):
            clients.append(server.connect(receive_buffer=4096))
        for client in clients:
            assert echo(client, b"hello") == b"hello"
        before = process_info.memory(pid)
        taken = offer(server, clients)
        assert all(0 < size < OFFERED for size in taken)
        growth = process_info.memory(pid) - before
        # And what the heap takes ahead.
        bound = count * (server_kind.buffer + 2 * BUF_SIZE) + (4 << 20)
        assert growth < bound, f"grew by {growth} bytes"
        # The others are served as before.
        data = bytes(range(256)) * 4096
        with server.connect() as client:
            assert exchange(client, data) == data
        for _ in range(20):
            server.check_serves()


def test_a_never_reading_client_gets_all_once_it_reads(server):
    with server.connect(receive_buffer=4096) as client:
        (taken,) = offer(server, [client])
        client.settimeout(IO_TIMEOUT)
        received = receive(client, taken)
        assert len(received) == taken and set(received) == {0xa5}
        assert echo(client, b"still here") == b"still here"


@pytest.mark.not_for(*STEPS, because="not all can: test_steps.py")
def test_silent_clients_do_not_stop_accepts(server):
    """Jones and Ohlund's server waits for the first data of a client."""
    with closing_all() as clients:
        for _ in range(100):
            clients.append(server.connect())
        server.check_serves()


@pytest.mark.not_for(*STEPS, because="they have no stop")
def test_half_closed_client_that_never_reads(start_server):
    """A stuck WRITE is ahead of its end of file, which therefore waits. The
    stop does not wait for it."""
    server = start_server("--drain-timeout", 1)
    with server.connect(receive_buffer=4096) as client:
        offer(server, [client])
        client.shutdown(socket.SHUT_WR)
        server.check_serves()
        totals = server.stop()
    assert totals["connections"] == 2


def test_killed_client(server):
    """A process dies, and with it its sockets, some in the middle of an
    echo."""
    with closing_all() as clients:
        for _ in range(30):
            client = server.connect()
            client.sendall(b"k" * 50_000)
            clients.append(client)
    server.check_serves()


@pytest.mark.not_for(*STEPS, because="they print no totals: test_steps.py")
def test_everything_at_once(start_server):
    server = start_server()
    all_kinds_at_once(server, 16)
    assert server.stop()["failed"] <= 10 * 16
