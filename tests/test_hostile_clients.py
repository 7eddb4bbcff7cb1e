"""Clients that do harm, and those beside them, who are not to notice."""

import socket

from parts import process_info
from support import (BUF_SIZE, IO_TIMEOUT, LARGE_BUFFER, closing_all, echo,
                     exchange, receive, reset, together, wait_until)

MEGABYTE = 1 << 20
OFFERED = 100 * MEGABYTE  # to a server, by each client that never reads


def offer(server, clients):
    """Send to all of them, who don't read, until nothing moves any more.

    Returns how many bytes the sockets took of each; no more than OFFERED.
    """
    piece = b"\xa5" * 65536
    taken = [0] * len(clients)
    for client in clients:
        client.setblocking(False)

    def push():
        """One round over all; True if somebody took something."""
        before = sum(taken)
        for number, client in enumerate(clients):
            try:
                while taken[number] < OFFERED:
                    taken[number] += client.send(piece)
            except BlockingIOError:
                pass
        return sum(taken) > before
    # No event tells that nothing moves. It is so when the sockets are full
    # and the server has not done anything for a while either.
    used, quiet = -1.0, 0

    def stuck():
        nonlocal used, quiet
        now = process_info.cpu_time(server.process.pid)
        quiet = 0 if push() or now > used else quiet + 1
        used = now
        return quiet >= 20
    assert wait_until(stuck, 60, interval=0.05)
    return taken


def test_a_reset_ends_that_connection_and_no_other(start_server):
    """The chapter ignores what GetQueuedCompletionStatus returns, so that one
    reset client brings its server down; libevent took such a packet for a
    failed wait."""
    server = start_server("-v")
    with server.connect() as bystander, closing_all() as clients:
        assert echo(bystander, b"before") == b"before"
        for _ in range(20):
            clients.append(server.connect(receive_buffer=4096))
        # With a WRITE pending the reset can't pass for an end of file, as it
        # does for a READ on some systems.
        offer(server, clients)
        for client in clients:
            reset(client)
        server.wait_for(r"^failed conn=\d+ worker=\d+ mode=WRITE", count=20)
        server.wait_for("^close conn=.* reason=error", count=20)
        assert echo(bystander, b"after") == b"after"
        server.check_serves()
    server.wait_for("reason=eof", count=2)
    totals = server.stop()
    assert totals["failed"] == 20 and totals["connections"] == 22


def reset_storm(server, clients):
    """Resets at every stage: before, in and after an echo."""
    for number in range(clients):
        client = server.connect()
        if number % 3 == 1:
            client.sendall(b"r" * 100_000)
        elif number % 3 == 2:
            assert echo(client, b"x") == b"x"
            client.sendall(b"more")
        reset(client)
    server.check_serves()


def test_reset_storm(server):
    reset_storm(server, 300)


def test_reset_while_the_server_sends(server):
    """The WRITE fails, or the next one at once: retired once either way."""
    with closing_all() as clients:
        for _ in range(20):
            clients.append(server.connect(receive_buffer=4096))
        offer(server, clients)
        for client in clients:
            reset(client)
    server.check_serves()


def test_connect_and_leave_storm(start_server):
    server = start_server()
    for _ in range(1000):
        server.connect().close()
    server.check_serves()
    totals = server.stop()
    # One may leave while it still waits to be accepted; none is left behind.
    assert 1 <= totals["connections"] <= 1001


def test_storm_leaves_no_handle_behind(start_server):
    """A connection's handles go with it."""
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


def cost_of_never_reading(server, count, buffer):
    """The chapter receives on while its sends pile up; Jones and Ohlund's
    global cap on sends lets slow readers starve all. `buffer` is the largest
    that the server has for each."""
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
        assert growth < count * (buffer + BUF_SIZE), f"grew by {growth} bytes"
        # The others are served as before.
        data = bytes(range(256)) * 4096
        with server.connect() as client:
            assert exchange(client, data) == data
        for _ in range(20):
            server.check_serves()


def test_never_reading_clients_cost_a_buffer_each(server):
    cost_of_never_reading(server, 200, LARGE_BUFFER)


def test_a_never_reading_client_gets_all_once_it_reads(server):
    with server.connect(receive_buffer=4096) as client:
        (taken,) = offer(server, [client])
        client.settimeout(IO_TIMEOUT)
        received = receive(client, taken)
        assert len(received) == taken and set(received) == {0xa5}
        assert echo(client, b"still here") == b"still here"


def test_silent_clients_do_not_stop_accepts(server):
    """Jones and Ohlund's server waits for the first data of a client."""
    with closing_all() as clients:
        for _ in range(100):
            clients.append(server.connect())
        server.check_serves()


def test_half_closed_client_that_never_reads(start_server):
    """Its end of file is behind a WRITE that can't go on: it waits there, and
    the stop does not wait for it."""
    server = start_server("--drain-timeout", 1)
    with server.connect(receive_buffer=4096) as client:
        offer(server, [client])
        client.shutdown(socket.SHUT_WR)
        server.check_serves()
        totals = server.stop()
    assert totals["connections"] == 2


def test_killed_client(server):
    """A process that dies takes its sockets along; some of them mid-echo."""
    with closing_all() as clients:
        for _ in range(30):
            client = server.connect()
            client.sendall(b"k" * 50_000)
            clients.append(client)
    server.check_serves()


def all_kinds_at_once(server, clients):
    """Good clients among bad ones, so many of each kind, at the same time."""
    data = bytes(range(256)) * 2000

    def good():
        with server.connect() as client:
            for _ in range(3):
                assert echo(client, b"ping") == b"ping"
            assert exchange(client, data) == data

    def resetting():
        for _ in range(10):
            client = server.connect()
            client.sendall(data[:20_000])
            reset(client)

    def leaving():
        for _ in range(20):
            server.connect().close()

    with together([good, resetting, leaving] * clients):
        pass
    server.check_serves()


def test_everything_at_once(start_server):
    server = start_server()
    all_kinds_at_once(server, 16)
    assert server.stop()["failed"] <= 10 * 16
