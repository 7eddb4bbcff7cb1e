"""Bad input: command lines, port scans, urgent data, slow clients.

command_lines.py tries thousands of command lines without a process for each.
`make soak` does more of all this.
"""

import functools
import random
import shutil
import socket
import threading

import pytest

import command_lines
from command_lines import DONE, RUN, WRONG
from support import (IO_TIMEOUT, WINDOWS, closing_all, echo, receive,
                     receive_all, reset, together)

SEED = 2023   # the same command lines in every run
LINES = 20_000
STARTS = 300  # command lines that get a process each

# ------------------------------- command lines ------------------------------


@pytest.fixture(scope="module")
def options():
    return command_lines.options_here()


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    if WINDOWS and shutil.which("gcc") is None:
        pytest.skip("builds a program of its own, with gcc")
    return command_lines.build_driver(tmp_path_factory.mktemp("driver"))


@pytest.mark.own_build
def test_twenty_thousand_command_lines(driver, options):
    """Each runs, prints what it asks for, or is refused in one line."""
    print(f"seed {SEED}")
    lines = command_lines.Maker(SEED, options).lines(LINES)
    outcomes = command_lines.run_driver(driver, lines)
    for line, outcome in zip(lines, outcomes):
        command_lines.check(line, outcome)
    # All outcomes occur: nonsense alone would test little.
    assert min(command_lines.count_results(outcomes)) > LINES / 20


@pytest.mark.own_build
def test_hundreds_of_command_lines_through_the_executable(driver, options):
    """Does the same with processes, to test the C runtime and the status."""
    print(f"seed {SEED + 1}")
    lines = command_lines.Maker(SEED + 1, options, 8000).lines(STARTS)
    outcomes = command_lines.run_driver(driver, lines)
    counts = command_lines.run_all_real(lines, outcomes)
    assert sum(counts) > STARTS / 2 and min(counts) > 0


@pytest.mark.own_build
def test_the_longest_of_all(driver):
    """Tries the longest argument, of one repeated byte, in each place."""
    long = [bytes([byte]) * 65535 for byte in b"9-=a%\x80\xff"]
    lines = [[each] for each in long]
    lines += [[b"9190", b"--workers", each] for each in long]
    lines += [[b"9190", b"--bind=" + each[:65500]] for each in long]
    lines += [[b"9190", b"--" + each[:65500]] for each in long]
    lines += [[b"9190", b"--trace", each] for each in long]
    lines += [[b"0" * 65530 + b"9190"], [b"-v"] * 60, [b""] * 60]
    for line, outcome in zip(lines, command_lines.run_driver(driver, lines)):
        command_lines.check(line, outcome)


@pytest.mark.own_build
@pytest.mark.parametrize("line, expected", [
    ([b"9190"], RUN), ([b"-v", b"9190", b"-q", b"-v"], RUN),
    ([b"0"], RUN), ([b"00065535"], RUN), ([b"65536"], WRONG),
    ([b"9190", b"-w", b"1", b"-w", b"2"], RUN), ([b"9190", b"--w=1"], WRONG),
    ([b"9190", b"--help"], DONE), ([b"--bogus", b"--help"], WRONG),
    ([b"--help", b"--bogus"], DONE), ([b"9190", b"--bind", b"::1"], RUN),
    ([], WRONG), ([b""], WRONG)], ids=repr)
def test_the_driver_tells_them_apart(driver, line, expected):
    (outcome,) = command_lines.run_driver(driver, [line])
    command_lines.check(line, outcome)
    assert outcome.result == expected


def test_a_wrong_outcome_is_one():
    """check() must refuse wrong outcomes, or the tests above prove nothing."""
    Outcome, check = command_lines.Outcome, command_lines.check
    said = "iocp_echo_server: port: 'x' is not a number from 0 to 65535\n"
    check([b"x"], Outcome(WRONG, 0, "", said))
    check([b"7"], Outcome(RUN, 7, "", ""))
    check([b"-h"], Outcome(DONE, 0, "usage: ...", ""))
    for line, outcome in [
            ([b"x"], (WRONG, 0, "", "")), ([b"x"], (WRONG, 0, "", said * 2)),
            ([b"x"], (WRONG, 0, "x", said)), ([b"x"], (WRONG, 0, "", "x\n")),
            ([b"x"], (WRONG, 0, "", said.replace("x", "\x1b"))),
            ([b"x"], (WRONG, 0, "", said.replace("x", "\u00e9"))),
            ([b"x"], (WRONG, 0, "", said.rstrip("\n"))),
            ([b"7"], (RUN, 8, "", "")), ([b"7x"], (RUN, 7, "", "")),
            ([b"7"], (RUN, 7, "", said)), ([b"7"], (RUN, 7, "x", "")),
            ([b"7"], (DONE, 7, "usage: ...", "")),
            ([b"-h"], (DONE, 0, "", "")),
            ([b"-h"], (DONE, 0, "usage: ", "x"))]:
        with pytest.raises(AssertionError):
            check(line, Outcome(*outcome))


# -------------------------------- connections -------------------------------


@pytest.mark.parametrize("leave", [socket.socket.close, reset],
                         ids=["close", "reset"])
def test_port_scan(start_server, leave):
    """Thousands of connections end before the server accepts them."""
    server = start_server()
    with server.connect() as bystander:
        for _ in range(2000):
            leave(server.connect())
        assert echo(bystander, b"still here") == b"still here"
        server.check_serves()
    totals = server.stop()
    assert 2 <= totals["connections"] <= 2002
    assert totals["received"] == totals["sent"] == 10 + 14


def test_half_open_scan(start_server):
    """The scanner leaves before its connection is established."""
    server = start_server()
    for _ in range(2000):
        with socket.socket() as scanner:
            scanner.setblocking(False)
            scanner.connect_ex((server.host, server.port))
    server.check_serves()
    assert 1 <= server.stop()["connections"] <= 2001


def test_urgent_data_beside_the_stream(server):
    """Depending on the system it is left out of the stream or arrives as one
    of its bytes. The other bytes come back complete and in order."""
    data = bytes(range(255)) * 40  # without 255
    with server.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def send():
            for start in range(0, len(data), 100):
                client.sendall(data[start:start + 100])
                client.send(b"\xff", socket.MSG_OOB)
            client.shutdown(socket.SHUT_WR)
        with together([send]):
            received = receive_all(client)
    assert received.replace(b"\xff", b"") == data
    server.check_serves()


def test_nothing_but_urgent_data(server):
    with server.connect() as client:
        for _ in range(200):
            client.send(b"!", socket.MSG_OOB)
        client.shutdown(socket.SHUT_WR)
        assert set(receive_all(client)) <= set(b"!")
    server.check_serves()


def test_one_byte_segments_of_many_clients(server):
    """Sends thousands of segments without waiting between them."""
    def dribble(number):
        data = random.Random(number).randbytes(1000)
        with server.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in data:
                client.send(bytes([byte]))
            assert receive(client, len(data)) == data
    with together([functools.partial(dribble, i) for i in range(8)]):
        pass


def test_bytes_after_the_servers_end_of_file(start_server):
    """A client has the server's FIN and sends on. The server discards that,
    does not count it, and its stop ends in time."""
    server = start_server("--drain-timeout", 60, "-v")
    with server.connect() as client:
        assert echo(client, b"before") == b"before"
        server.signal_stop()
        assert client.recv(1) == b""
        client.sendall(b"too late")
        server.wait_for("^discard conn=1 worker=[0-9]+ bytes=8$")
        client.shutdown(socket.SHUT_WR)
        assert server.wait_end() == 0
    totals = server.check_end()
    assert totals["received"] == totals["sent"] == 6


IDLE = 2         # seconds


def test_slow_clients_do_not_keep_others_out(start_server):
    """Slowloris: clients that send a byte now and then, or none, take every
    place. When they are closed, they connect again at once."""
    server = start_server("--idle-timeout", IDLE, "--max-connections", 4)
    over = threading.Event()
    held = threading.Semaphore(0)

    def loris(sends):
        while not over.is_set():
            try:
                with server.connect() as client:
                    if sends:
                        client.send(b"s")
                        client.recv(1)
                    held.release()
                    client.recv(1)  # silent until the server closes it
            except OSError:
                pass
    lorises = [threading.Thread(target=loris, args=[i % 2], daemon=True)
               for i in range(4)]
    for each in lorises:
        each.start()
        assert held.acquire(timeout=IO_TIMEOUT)
    for _ in range(3):
        server.check_serves()  # within IO_TIMEOUT
    over.set()
    server.stop()
    for each in lorises:
        each.join(IO_TIMEOUT)
        assert not each.is_alive()


def test_a_byte_now_and_then_keeps_its_place_alone(start_server):
    """A client that is never idle for the timeout stays, and other clients
    are served beside it."""
    server = start_server("--idle-timeout", IDLE, "--max-connections", 2)
    with closing_all() as clients:
        for _ in range(2):
            clients.append(server.connect())
        alive, silent = clients
        over = threading.Event()

        def tick():
            while not over.wait(0.1):
                assert echo(alive, b"t") == b"t"
        with together([tick]):
            server.check_serves()
            assert silent.recv(1) == b""
            over.set()
        assert echo(alive, b"still here") == b"still here"
    server.stop()
