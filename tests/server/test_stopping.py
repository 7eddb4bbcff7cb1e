"""Ctrl+C, whatever the server is doing: in order, in time, nothing lost.

Server.stop checks each stop: status 0, `live=0` in the last line, and totals
that add up.
"""

import contextlib
import socket
import subprocess
import threading
import time

import pytest

import launch
from clients import Load, offer
from kinds import MODES, PLAIN, takes_long
from support import (IO_TIMEOUT, PROGRAM, START_TIMEOUT, STOP_REASON,
                     STOP_SIGNAL, TEXT, closing_all, connect, echo, exchange,
                     fields, receive_all, start_process, together, wait_until)

pytestmark = pytest.mark.servers(PLAIN, *MODES)  # steps have no stop


@pytest.mark.not_for(*MODES, because="without a connection none differs")
def test_idle(start_server):
    server = start_server()
    totals = server.stop()
    assert totals == {"connections": 0, "received": 0, "sent": 0, "failed": 0,
                      "live": 0, "completions": 0}
    assert server.matching("^stopping ") == [
        f"stopping reason={STOP_REASON} live=0"]
    assert server.errors == []


@takes_long
def test_idle_connections_do_not_hold_the_stop(start_server):
    """With nothing to drain, the stop does not wait for the drain time, even
    if clients don't answer its end of file."""
    server = start_server("--drain-timeout", 60)
    with closing_all() as clients:
        for _ in range(100):
            clients.append(server.connect())
            assert echo(clients[-1], b"hello") == b"hello"
        totals = server.stop()
        for client in clients:
            assert client.recv(1) == b""  # an end of file, not a reset
    assert totals["failed"] == 0
    assert totals["received"] == totals["sent"] == 500


def test_under_full_load(start_server):
    server = start_server()

    def ping_pong(again):
        with connect(server.host, server.port) as client:
            while again():
                if echo(client, b"p" * 64) != b"p" * 64:
                    break
    load = Load(server, 32, ping_pong)
    totals = server.stop()
    load.end()
    assert totals["received"] == totals["sent"] > 0
    assert totals["failed"] == 0


ECHOES = 40


@takes_long
@pytest.mark.alone  # a client without CPU time for a second counts as silent
@pytest.mark.parametrize("clients", [1, 8])
def test_streams_get_back_what_was_received(start_server, clients):
    """The server still echoes what it received, and no reset overtakes that:
    the clients get every byte that the server counted."""
    # On a busy machine clients take a while to read everything.
    server = start_server("--workers", 4, "--drain-timeout", 50)
    data = bytes(range(256)) * 256
    got = []

    def stream():
        with connect(server.host, server.port) as client:
            def send():
                try:
                    while True:
                        client.sendall(data)
                except OSError:
                    pass  # the server has closed
            sender = threading.Thread(target=send, daemon=True)
            sender.start()
            received = receive_all(client)
            with contextlib.suppress(OSError):  # the server may have closed
                client.shutdown(2)
            got.append(len(received))
            whole, rest = divmod(len(received), len(data))
            assert received == data * whole + data[:rest]
        sender.join(IO_TIMEOUT)
        assert not sender.is_alive()
    with together([stream] * clients):
        with connect(server.host, server.port) as probe:
            # After some echoes the streams are full.
            for _ in range(ECHOES):
                assert echo(probe, b"x") == b"x"
        totals = server.stop(START_TIMEOUT)
    assert totals["received"] == totals["sent"] == sum(got) + ECHOES
    assert totals["failed"] == 0


def test_a_slow_reader_gets_the_rest_while_draining(start_server):
    """Sends may finish: the stop cancels receives only, at first."""
    server = start_server("--drain-timeout", 60)
    with server.connect(receive_buffer=4096) as client:
        offer(server, [client])
        client.settimeout(IO_TIMEOUT)
        server.signal_stop()
        server.wait_for("^stopping ")
        received = receive_all(client)
    assert server.wait_end() == 0
    totals = server.check_end()
    assert totals["received"] == totals["sent"] == len(received) > 0


def test_a_client_that_sends_on_gets_its_echo(start_server):
    """If the server closed too early, it would answer late bytes with a reset,
    which would overtake the echo on its way to a slow reader."""
    server = start_server("--drain-timeout", 60)
    enough, sent = threading.Event(), threading.Semaphore(0)
    with server.connect(receive_buffer=4096) as client:
        def send():
            try:
                while not enough.wait(0.002):  # the pace of the client
                    client.sendall(b"s" * 1000)
                    sent.release()
            except OSError:
                pass  # the server has closed
        sender = threading.Thread(target=send)
        sender.start()
        for _ in range(150):
            assert sent.acquire(timeout=IO_TIMEOUT)
        server.signal_stop()
        server.wait_for("^stopping ")
        received = receive_all(client)
        enough.set()
        sender.join(IO_TIMEOUT)
    assert server.wait_end() == 0
    totals = server.check_end()
    assert totals["received"] == totals["sent"] == len(received) > 4096


@takes_long
def test_clients_that_never_stop_sending(start_server):
    """Once it stops, the server discards their bytes. As these never run out,
    no READ ever waits for the sweep to cancel it."""
    server = start_server("--drain-timeout", 1)

    def flood(again):
        with connect(server.host, server.port) as client:
            client.settimeout(0.1)
            while again():
                client.sendall(b"f" * 65536)
                try:
                    client.recv(1 << 20)
                except socket.timeout:
                    pass  # the server's end of file does not end this client
    load = Load(server, 4, flood)
    server.stop()
    load.end()


@takes_long
def test_many_clients_that_never_read(start_server):
    server = start_server("--drain-timeout", 1)
    with closing_all() as clients:
        for _ in range(60):
            clients.append(server.connect(receive_buffer=4096))
        offer(server, clients)
        started = time.monotonic()
        totals = server.stop()
        # They had the drain time; Windows' clock has steps of 16 ms.
        assert time.monotonic() - started >= 0.9
    assert totals["sent"] < totals["received"]
    assert totals["failed"] == 0  # the server ended them, not a failure


def test_no_time_to_drain(start_server):
    server = start_server("--drain-timeout", 0)
    with server.connect(receive_buffer=4096) as client:
        offer(server, [client])
        server.stop()


def test_second_ctrl_c_cuts_the_drain_short(start_server):
    server = start_server("--drain-timeout", 3600)
    with server.connect(receive_buffer=4096) as client:
        offer(server, [client])
        server.signal_stop()
        server.wait_for("^stopping ")
        assert server.alive()
        server.signal_stop()
        assert server.wait_end() == 0
        server.check_end()


@takes_long
def test_ctrl_c_over_and_over(start_server):
    server = start_server()
    with server.connect() as client:
        assert echo(client, b"x") == b"x"
        for _ in range(5):
            if server.alive():
                server.signal_stop()
        assert server.wait_end() == 0
    server.check_end()


def test_ctrl_c_again_ends_what_hangs():
    """Nobody reads what the server prints, so its threads wait to write."""
    process = start_process(
        launch.command(PROGRAM, 0, "-v"), env=launch.environment(), **TEXT,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    port = int(fields(process.stdout.readline())["port"])
    with closing_all() as clients:
        def blocked():
            """More lines than a pipe holds: some echo never comes."""
            clients.append(connect("127.0.0.1", port, timeout=1))
            try:
                return len(exchange(clients[-1], bytes(8 << 20))) == 0
            except (OSError, AssertionError):
                return True
        assert wait_until(blocked)

        def pressed_once_more():
            process.send_signal(STOP_SIGNAL)
            return process.poll() is not None
        assert wait_until(pressed_once_more, interval=1)
        assert process.wait() == 1
    process.stdout.close()


@pytest.mark.parametrize("waiting", [0, 20])
@takes_long
def test_at_the_connection_limit(start_server, waiting):
    server = start_server("--max-connections", 3)
    with closing_all() as clients:
        for _ in range(3):
            clients.append(server.connect())
            assert echo(clients[-1], b"hello") == b"hello"
        for _ in range(waiting):
            clients.append(server.connect())
        totals = server.stop()
    assert totals["connections"] == 3


@takes_long
def test_during_a_connect_storm(start_server):
    server = start_server()

    def come_and_go(again):
        while again():
            with connect(server.host, server.port, timeout=5) as client:
                echo(client, b"x")
    load = Load(server, 16, come_and_go)
    server.stop()
    load.end()


def test_with_an_idle_timeout(start_server):
    """The thread that sweeps idle connections ends too."""
    server = start_server("--idle-timeout", 3600)
    server.check_serves()
    server.stop()


@takes_long
def test_with_half_closed_and_reset_clients(start_server):
    server = start_server("--drain-timeout", 1)
    with closing_all() as clients:
        for number in range(30):
            client = server.connect(receive_buffer=4096)
            clients.append(client)
        offer(server, clients)
        for number, client in enumerate(clients):
            if number % 3 == 0:
                client.shutdown(1)
            elif number % 3 == 1:
                client.close()
        server.stop()


@takes_long
@pytest.mark.parametrize("round", range(10))
def test_again_and_again_under_load(start_server, round):
    """Stops in the middle of many connections' READs and WRITEs."""
    server = start_server("--workers", 1 + round % 4)

    def ping_pong(again):
        with connect(server.host, server.port) as client:
            while again():
                size = 1 + round * 1000
                if echo(client, b"p" * size) != b"p" * size:
                    break
    load = Load(server, 8, ping_pong)
    totals = server.stop()
    load.end()
    assert totals["received"] == totals["sent"]
