"""The echo equals what was sent, whatever the bytes and the splits."""

import functools
import random
import socket
import threading

import pytest

from kinds import MODES, PLAIN, STEPS, takes_long
from support import (BUF_SIZE, IO_TIMEOUT, closing_all, echo, exchange,
                     receive, receive_all, together)

pytestmark = pytest.mark.servers(PLAIN, *MODES, *STEPS)

MEGABYTE = 1 << 20


def noise(size, seed):
    """Returns bytes that don't repeat, the same in every run."""
    return random.Random(seed).randbytes(size)


def test_any_size(server):
    for size in (0, 1, BUF_SIZE - 1, BUF_SIZE, BUF_SIZE + 1, 2 * BUF_SIZE,
                 MEGABYTE):
        data = noise(size, seed=size)
        with server.connect() as client:
            assert exchange(client, data) == data, size


def test_every_byte_value_from_the_first_packet_on(server):
    """Microsoft's sample copied strings and lost what follows a NUL."""
    with server.connect() as client:
        every = bytes(range(256))
        assert echo(client, every) == every
        for value in range(256):
            assert echo(client, bytes([value])) == bytes([value])
        assert echo(client, bytes(5000)) == bytes(5000)


def test_random_data_cut_at_random_places(server):
    for seed in range(5):
        chance = random.Random(seed)
        data = noise(chance.randrange(1, 300_000), seed)
        cuts = sorted(chance.randrange(len(data)) for _ in range(200))
        with server.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            assert exchange(client, data, cuts) == data, seed


def test_one_byte_at_a_time_in_one_stream(server):
    data = noise(2000, seed=7)
    with server.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert exchange(client, data, range(len(data))) == data


def test_a_short_message_does_not_shorten_the_next(server):
    """The .NET sample received the next message into the short one's size."""
    with server.connect() as client:
        assert echo(client, b"x") == b"x"
        long = noise(BUF_SIZE, seed=1)
        assert echo(client, long) == long
        assert echo(client, b"y") == b"y"
        assert echo(client, long) == long


@pytest.mark.not_for(*STEPS, because="they have no -v")
def test_a_short_message_does_not_shrink_the_buffer(start_server):
    """... and the whole buffer is offered to the next READ: -v shows it."""
    server = start_server("-v")
    with server.connect() as client:
        assert echo(client, b"x") == b"x"
        long = noise(BUF_SIZE, seed=1)
        assert echo(client, long) == long
        server.wait_for(rf"^read conn=1 worker=\d+ bytes={BUF_SIZE}$")
    server.wait_for("^close conn=1 reason=eof")
    server.stop()


def test_nothing_of_another_message_comes_back(server):
    """A WRITE sends what its READ got, not the buffer's older bytes."""
    with server.connect() as client:
        assert echo(client, b"s" * BUF_SIZE) == b"s" * BUF_SIZE
        assert exchange(client, b"x") == b"x"


def test_pipelined_messages_come_back_in_order(server):
    messages = [b"message %06d;" % i for i in range(20_000)]
    with server.connect() as client:
        assert exchange(client, b"".join(messages)) == b"".join(messages)


def test_half_close_right_after_8_mb(server):
    """The chapter frees at end of file while a send still uses the memory."""
    data = noise(8 * MEGABYTE, seed=8)
    with server.connect() as client:
        assert exchange(client, data) == data
        assert client.recv(1) == b""


def test_half_close_of_a_client_that_reads_late(server):
    """Its last bytes wait in a pending WRITE when its end of file arrives."""
    data = noise(MEGABYTE, seed=9)
    with server.connect(receive_buffer=4096) as client:
        sender = threading.Thread(
            target=lambda: (client.sendall(data),
                            client.shutdown(socket.SHUT_WR)), daemon=True)
        sender.start()
        # Do not read until the server can't take any more.
        sender.join(0.5)
        assert receive_all(client) == data
        sender.join(IO_TIMEOUT)
        assert not sender.is_alive()


def test_end_of_file_without_a_byte(server):
    with server.connect() as client:
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


def test_the_server_never_ends_a_healthy_connection(server):
    """RFC 862: it echoes until the calling user terminates the connection."""
    with server.connect() as first:
        assert echo(first, b"1") == b"1"
        for _ in range(50):
            server.check_serves()
        assert echo(first, b"2") == b"2"


def test_connections_do_not_mix(server):
    """Many clients at once, each with different bytes."""
    def talk(number):
        data = noise(200_000, seed=number)
        with server.connect() as client:
            assert exchange(client, data) == data
    with together([functools.partial(talk, i) for i in range(32)]):
        pass


@takes_long
@pytest.mark.not_for("step2", because="it takes 63: test_steps.py")
@pytest.mark.alone  # two at once may need more descriptors than there are
def test_thousand_clients_at_once(server):
    with closing_all() as clients:
        for _ in range(1000):
            clients.append(server.connect())
        # All of them have sent before the first is read.
        for number, client in enumerate(clients):
            client.sendall(b"%04d" % number * 16)
        for number, client in enumerate(clients):
            assert receive(client, 64) == b"%04d" % number * 16
