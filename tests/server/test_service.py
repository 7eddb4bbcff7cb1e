"""Other services: echo.c is replaced, the rest of the server stays as it is.

tests/services has two. One answers in upper case. The other answers by lines,
although READs cut them anywhere; its answers can be longer than what it
received. The tests put both through what clients do to a server.
"""

import random
import shutil

import pytest

import support
from clients import Load, offer
from kinds import PLAIN
from support import (IO_TIMEOUT, ROOT, closing_all, exchange, receive,
                     reset)

# The other modes call a service just as the plain server does.
pytestmark = [pytest.mark.servers(PLAIN, "zero-byte", "together"),
              pytest.mark.own_build]


def upper(data):
    return data.upper()


def lines(data):
    parts = data.split(b"\n")
    whole = [b"%d\n" % len(part) for part in parts[:-1]]
    return b"".join(whole) + (b"%d\n" % len(parts[-1]) if parts[-1] else b"")


SERVICES = {"upper": upper, "lines": lines}


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """The server with each of the services, built once."""
    made = {}
    for name in SERVICES:
        directory = tmp_path_factory.mktemp(name)
        sources = shutil.copytree(ROOT / "src", directory / "src")
        shutil.copy(ROOT / "tests" / "services" / f"{name}.c",
                    sources / "echo.c")
        made[name] = support.build(directory, f"{name}.exe", "-Wall",
                                   "-Wextra", "-Wpedantic", "-Wconversion",
                                   "-Werror", sources=sources)
    return made


@pytest.fixture(params=SERVICES)
def service(request):
    """The name of a service."""
    return request.param


@pytest.fixture
def serving(service, programs, server_kind):
    """A server with that service. It may send more or fewer bytes than it
    receives."""
    server = server_kind.start("-v", program=programs[service])
    yield server
    assert server.alive(), server.errors
    server.signal_stop()
    assert server.wait_end() == 0 and server.errors == []


def text(size, seed=1):
    """Lines of all lengths, many of them empty."""
    chance = random.Random(seed)
    parts = []
    while sum(map(len, parts)) < size:
        parts.append(b"x" * chance.choice([0, 0, 0, 1, 7, 80, 5000]) + b"\n")
    return b"".join(parts)[:size] + b"the rest"


def test_half_close(serving, service):
    """The whole answer comes, then the end of file, even if the last line has
    no newline."""
    for size in (0, 5, 4096, 300_000):
        data = text(size) if size else b""
        with serving.connect() as client:
            assert exchange(client, data) == SERVICES[service](data)


def test_nothing_but_newlines(serving, service):
    """An answer twice as long as the message goes out in parts."""
    data = b"\n" * 50_000
    with serving.connect() as client:
        assert exchange(client, data) == SERVICES[service](data)


def test_cut_anywhere(serving, service):
    """One byte a send: each READ may cut a line."""
    data = b"ab\n\ncdef\n"
    with serving.connect() as client:
        for at in range(len(data)):
            client.sendall(data[at:at + 1])
        want = SERVICES[service](data)
        assert receive(client, len(want)) == want


def test_resets(serving, service):
    """The server frees what the service keeps, and serves others."""
    with serving.connect() as bystander:
        for number in range(60):
            client = serving.connect()
            client.sendall(b"half a line" * (1 + number * 50))
            serving.wait_for("^accept conn=", count=2 + number)
            reset(client)
        serving.wait_for("^close conn=", count=60)
        assert exchange(bystander, b"hi\n") == SERVICES[service](b"hi\n")
    serving.wait_for("^close conn=", count=61)


def test_a_client_that_never_reads(serving, service):
    """It waits at its WRITE while others are served. When it reads at last, it
    gets all its answers."""
    with closing_all() as clients:
        clients.append(serving.connect(receive_buffer=4096))
        piece = b"\n" * 65536
        taken = offer(serving, clients, piece)[0]
        with serving.connect() as other:
            assert exchange(other, b"hello\n") == SERVICES[service](b"hello\n")
        clients[0].settimeout(IO_TIMEOUT)
        want = SERVICES[service](b"\n" * taken)
        assert receive(clients[0], len(want)) == want


def test_stop_in_the_middle(service, programs, server_kind):
    """The server answers all that it received before the stop."""
    server = server_kind.start(program=programs[service])
    message = b"\n" * 3000

    def talk(again):
        with server.connect() as client:
            while again():
                want = SERVICES[service](message)
                client.sendall(message)
                got = receive(client, len(want))
                assert want.startswith(got)
                if got != want:
                    break
    load = Load(server, 4, talk)
    server.signal_stop()
    assert server.wait_end() == 0 and server.errors == []
    load.end()
