"""The limits that a user can set: threads, connections, time."""

import contextlib
import os
import socket
import threading
import time

import pytest

from clients import offer, stream
from support import (IO_TIMEOUT, closing_all, echo, fields, receive,
                     receive_all, reset, together)

# --------------------------------- workers ---------------------------------


def test_as_many_workers_as_cpus(start_server):
    server = start_server()
    assert int(server.ready["workers"]) == os.cpu_count()
    assert int(server.ready["concurrency"]) == os.cpu_count()
    server.stop()


@pytest.mark.parametrize("workers", [1, 2, 64, 65, 200, 1024])
def test_workers_start_and_stop(start_server, workers):
    """Other servers keep their threads in an array of 16 or 32, or wait for
    more than the 64 handles that WaitForMultipleObjects takes."""
    server = start_server("--workers", workers)
    assert int(server.ready["workers"]) == workers
    with server.connect() as client:
        for _ in range(20):
            assert echo(client, b"x" * 100) == b"x" * 100
    server.check_serves()
    server.stop()  # one line and one sentinel for each: see check_end


def test_one_worker_serves_many(start_server):
    """No client holds up a worker, not even one that does not read."""
    server = start_server("--workers", 1)
    with closing_all() as clients:
        for _ in range(20):
            clients.append(server.connect(receive_buffer=4096))
        offer(server, clients[:5])
        for client in clients[5:]:
            assert echo(client, b"hello") == b"hello"
    server.stop()


# -------------------------------- connections ------------------------------


def test_at_the_limit_the_next_one_waits(start_server):
    server = start_server("--max-connections", 2, "-v")
    with closing_all() as clients:
        for _ in range(4):
            clients.append(server.connect())
        for client in clients:
            client.sendall(b"mine")
        assert receive(clients[0], 4) == receive(clients[1], 4) == b"mine"
        # Neither accepted nor refused: not even an end of file comes.
        clients[2].settimeout(0.5)
        with pytest.raises(socket.timeout):
            clients[2].recv(1)
        server.wait_for("^accept ", count=2)
        assert len(server.matching("^accept ")) == 2
        clients[2].settimeout(IO_TIMEOUT)
        clients[0].close()
        assert receive(clients[2], 4) == b"mine"
        server.wait_for("^accept ", count=3)
        assert len(server.matching("^accept ")) == 3
        clients[1].close()
        assert receive(clients[3], 4) == b"mine"
    server.wait_for("^close ", count=4)
    assert all(int(fields(line)["live"]) <= 2
               for line in server.matching("^accept "))
    assert server.stop()["connections"] == 4


def test_limit_of_one_serves_many_in_turn(start_server):
    server = start_server("--max-connections", 1)

    def talk():
        for _ in range(10):
            server.check_serves()
    with together([talk] * 10):
        pass
    assert server.stop()["connections"] == 100


def test_a_reset_client_gives_its_place_back(start_server):
    server = start_server("--max-connections", 1)
    for _ in range(3):
        with server.connect(receive_buffer=4096) as client:
            offer(server, [client])
            reset(client)
        server.check_serves()
    server.stop()


# ----------------------------------- time ----------------------------------

IDLE = 3  # seconds


def test_an_idle_connection_is_closed(start_server):
    server = start_server("--idle-timeout", IDLE, "-v")
    with server.connect() as silent, server.connect() as once:
        assert echo(once, b"hello") == b"hello"
        started = time.monotonic()
        assert silent.recv(1) == b"" and once.recv(1) == b""
        assert time.monotonic() - started >= IDLE - 0.5
    server.wait_for("^close conn=.* reason=idle", count=2)
    assert server.stop()["failed"] == 0


def test_an_active_connection_is_never_closed(start_server):
    server = start_server("--idle-timeout", IDLE, "-v")
    with server.connect() as client, server.connect() as other:
        pause = threading.Event()
        # Until the server closes the silent one.
        while not server.matching("^close "):
            assert echo(client, b"tick") == b"tick"
            pause.wait(0.1)  # the pace of the client, not a wait for it
        assert other.recv(1) == b""
        assert echo(client, b"still here") == b"still here"
        assert "reason=idle" in server.wait_for("^close ")
        assert len(server.matching("^close ")) == 1
    server.wait_for("^close conn=.* reason=eof")
    server.stop()


def test_a_busy_stream_is_not_idle(start_server):
    """Nor is one whose every pause is shorter than the sweep's step."""
    server = start_server("--idle-timeout", IDLE, "-v")
    data = bytes(range(256)) * 64
    with server.connect() as client, server.connect():
        while not server.matching("^close "):
            assert echo(client, data) == data
        assert echo(client, data) == data
        assert "conn=2 reason=idle" in server.wait_for("^close ")
    assert server.stop()["failed"] == 0


def test_a_client_that_never_reads_is_idle_too(start_server):
    """Its pending WRITE is cancelled, or it would keep its place for ever."""
    server = start_server("--idle-timeout", IDLE, "--max-connections", 1, "-v")
    with server.connect(receive_buffer=4096) as client:
        offer(server, [client])
        with server.connect() as patient:
            assert echo(patient, b"my turn") == b"my turn"
        server.wait_for("^close conn=1 reason=idle")
    server.wait_for("^close conn=2 reason=eof")
    server.stop()


TIMEOUT_BYTES = 65536  # a send has the timeout for each of these, or part


def test_a_client_that_reads_slowly_is_not_idle(start_server):
    """A large WRITE takes longer than the timeout, though its client never
    stops reading."""
    server = start_server("--idle-timeout", 2, "--buffer", 1 << 20, "-v")
    data = bytes(range(256)) * (6 << 12)  # more than the sockets hold
    pace = threading.Event()
    with server.connect(receive_buffer=4096) as client:
        def send():
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        with together([send]):
            received = bytearray()
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline:
                received += receive(client, 10_000)
                pace.wait(0.04)  # 250 KB/s at most
            received += receive_all(client)
    assert received == data
    server.wait_for("^close conn=1 reason=eof")
    assert server.stop()["failed"] == 0


def stuck_send(server):
    """Has a client send until the server closes, and read nothing at all.
    Returns how many bytes the server was sending when it gave up, and after
    how many seconds."""
    with server.connect(receive_buffer=4096) as client:
        stream(client, 1 << 20, 32)  # until it has a large buffer
        started = time.monotonic()
        with contextlib.suppress(OSError):
            while True:
                client.sendall(bytes(1 << 20))
        server.wait_for("^close .* reason=idle")
    return (int(fields(server.matching("^read ")[-1])["bytes"]),
            time.monotonic() - started)


def test_a_large_send_is_idle_later(start_server):
    """It has a timeout for each part of it."""
    for _ in range(10):
        # While it works more comes, so that each READ is a large one, if the
        # client comes to send.
        server = start_server("--idle-timeout", 1, "--buffer",
                              4 * TIMEOUT_BYTES, "--work", 5, "-v")
        size, took = stuck_send(server)
        assert server.stop()["failed"] == 0
        assert took >= -(-size // TIMEOUT_BYTES) - 0.1  # clocks have steps
        if size > TIMEOUT_BYTES:
            break
    assert size > TIMEOUT_BYTES


def test_never_idle_by_default(server):
    with server.connect() as client:
        client.settimeout(3)
        with pytest.raises(socket.timeout):
            client.recv(1)
        client.settimeout(IO_TIMEOUT)
        assert echo(client, b"still here") == b"still here"
