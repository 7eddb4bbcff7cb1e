"""Where the server listens: port, address, both families."""

import re
import socket

import pytest

from support import (WINDOWS, closing_all, connect, echo, free_port,
                     run_server, wait_until)

TIME_WAIT = 240  # seconds; Windows' longest


def one_line(result, status, program="iocp_echo_server"):
    """Checks that the run ended with this status and one line of reason."""
    assert result.returncode == status
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"{program}: ")
    return lines[0]


def speaks(host, port):
    """Whether an echo server answers there."""
    try:
        client = connect(host, port)
    except OSError:
        return False
    with client:
        return echo(client, b"hello") == b"hello"


def test_port_0_prints_the_real_port(start_server):
    server = start_server()
    assert server.port != 0
    assert speaks("127.0.0.1", server.port)
    server.stop()


def test_a_given_port(start_server):
    port = free_port()
    server = start_server(port=port)
    assert server.port == port
    assert speaks("127.0.0.1", port)
    server.stop()


def test_dual_stack_by_default(start_server):
    server = start_server("-v")
    assert server.ready["address"] == "[::]"
    assert speaks("127.0.0.1", server.port) and speaks("::1", server.port)
    # Either kind of peer is printed in its own notation.
    server.wait_for(r"^accept conn=1 peer=127\.0\.0\.1:\d+ live=1$")
    server.wait_for(r"^accept conn=2 peer=\[::1\]:\d+ live=[12]$")
    server.stop()


@pytest.mark.parametrize("address, shown, other", [
    ("127.0.0.1", "127.0.0.1", "::1"), ("::1", "[::1]", "127.0.0.1")])
def test_bind_takes_that_address_alone(start_server, address, shown, other):
    server = start_server("--bind", address)
    assert server.ready["address"] == shown
    assert speaks(address, server.port)
    assert not speaks(other, server.port)
    server.stop()


def test_bind_all_of_ipv4(start_server):
    server = start_server("-b", "0.0.0.0")
    assert server.ready["address"] == "0.0.0.0"
    assert speaks("127.0.0.1", server.port)
    assert not speaks("::1", server.port)
    server.stop()


def test_port_in_use(server):
    line = one_line(run_server(server.port), 1)
    assert re.search(rf"bind \[::\]:{server.port} failed: .*"
                     r"\((WSAEADDRINUSE 10048|WSAEACCES 10013)\)", line)
    assert "another program" in line and "choose another port" in line
    server.check_serves()


def test_port_in_use_by_another_program():
    """... which did not ask for exclusive use."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        line = one_line(run_server(port, "--bind", "127.0.0.1"), 1)
        assert re.search(
            rf"bind 127\.0\.0\.1:{port} failed: .*(10048|10013)", line)


def test_address_not_ours():
    # TEST-NET-1 of RFC 5737: no computer has it.
    line = one_line(run_server(0, "--bind", "192.0.2.1"), 1)
    assert re.search(
        r"bind 192\.0\.2\.1:0 failed: .*\(WSAEADDRNOTAVAIL 10049\)", line)
    assert "--bind takes an address of this computer" in line


def can_be_had(port):
    """Whether Windows gives a socket like the server's this port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


@pytest.mark.limit(300)
def test_the_port_is_free_again_after_a_stop(start_server):
    """... although its connections have just been closed. Only Windows, with
    SO_EXCLUSIVEADDRUSE, keeps the port until both sides have closed them."""
    first = start_server()
    with closing_all() as clients:
        for _ in range(5):
            clients.append(first.connect())
            assert echo(clients[-1], b"x") == b"x"
        first.stop()
        if not WINDOWS:
            start_server(port=first.port).stop()
    if WINDOWS:
        assert wait_until(lambda: can_be_had(first.port), TIME_WAIT,
                          interval=1)
    second = start_server(port=first.port)
    second.check_serves()
    second.stop()


def test_backlog_takes_a_burst(start_server):
    """With the chapter's backlog of 5, the sixth of a burst is refused."""
    server = start_server("--max-connections", 1)
    with closing_all() as clients:
        for _ in range(100):  # one is accepted, the others wait
            clients.append(server.connect())
        for client in clients:
            assert echo(client, b"mine") == b"mine"
            client.close()
    assert server.stop()["connections"] == 100
