"""src/steps: two small servers that echo as the large one does, and what each
of them can't do.

The tests of the echo and of hostile clients run on both steps too. The tests
here are about the steps alone, or replace tests that are not for them.
"""

import os
import re
import shutil
import socket
import subprocess
import threading

import pytest

from parts import process_info
import support
from clients import all_kinds_at_once, offer
from kinds import STEPS
from support import (IO_TIMEOUT, START_TIMEOUT, WINDOWS, Server, closing_all,
                     echo, receive, receive_all, reset, run_server, wait_until)
from test_command_line import WRONG
from test_listening import one_line, speaks

STEP3 = "step3_completion_routine"
STEP4 = "step4_iocp"

# STATUS_CONTROL_C_EXIT. Wine 10 has it too, but a parent on Linux gets only
# the low byte. Wine 8 ends the process with 0.
CONTROL_C_EXIT = 0xC000013A
ENDED_BY_CTRL_C = {CONTROL_C_EXIT} if WINDOWS else {CONTROL_C_EXIT & 0xFF, 0}

pytestmark = pytest.mark.servers(*STEPS)


@pytest.fixture
def program(server_kind):
    """The path of this step."""
    return server_kind.program


@pytest.mark.parametrize("name", [STEP3, STEP4])
def test_a_step_is_one_file(name):
    """A student can copy it and needs nothing else."""
    text = (support.ROOT / "src/steps" / f"{name}.c").read_text("ascii")
    assert text.startswith(f"/*\n * {name}.c - ")
    assert re.findall(r"^#\s*include +([^<].*)$", text, re.MULTILINE) == []
    assert all(len(line) < 80 for line in text.splitlines())


@pytest.mark.skipif(shutil.which("clang") is None, reason="no clang here")
@pytest.mark.parametrize("name", [STEP3, STEP4])
def test_a_step_is_cpp_too(name):
    """Visual Studio names new source files .cpp. (Only C++ warns that {0}
    leaves members out.)"""
    subprocess.run(
        ["clang", "--target=x86_64-w64-mingw32", "-x", "c++", "-std=c++11",
         "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion",
         "-Werror", "-Wno-missing-field-initializers",
         str(support.ROOT / "src/steps" / f"{name}.c")],
        check=True, timeout=60)


# ------------------------------ what they print -----------------------------

def test_events(server, program):
    ready = rf"ready port={server.port} address=0\.0\.0\.0"
    if program.stem == STEP4:
        ready += r" workers=\d+"
    with server.connect() as client:
        peer = "peer=127.0.0.1:%d" % client.getsockname()[1]
        assert echo(client, b"hello") == b"hello"
    server.wait_for("^close ")
    assert re.fullmatch(ready, server.lines[0])
    assert server.lines[1:] == [f"accept code=0 {peer}",
                                f"close code=0 {peer}"]


@pytest.mark.parametrize("arguments", [
    *(x for x, _ in WRONG.values()), ["--help"], ["--version"],
    ["0", "--verbose"], ["0", "--max-connections=1"], ["0", "-i", "1"]],
    ids=lambda arguments: ascii(" ".join(arguments))[:30])
def test_port_and_nothing_else(program, arguments):
    """A step takes no option of the large server, and refuses the same
    ports."""
    line = one_line(run_server(*arguments, program=program), 2, program.stem)
    assert line == (f"{program.stem}: usage: {program.stem} PORT (0 to 65535)")


def test_port_is_taken(program, server):
    line = one_line(run_server(server.port, program=program), 1, program.stem)
    assert re.fullmatch(rf"{program.stem}: bind failed: code (10048|10013)",
                        line)
    server.check_serves()


# ------------------------------ what they can do ----------------------------

def test_resets(server):
    """The chapter ignores the result of GetQueuedCompletionStatus."""
    with server.connect() as bystander, closing_all() as clients:
        assert echo(bystander, b"before") == b"before"
        for _ in range(25):
            clients.append(server.connect(receive_buffer=4096))
        for client in clients[:5]:
            assert echo(client, b"hello") == b"hello"
        # When the others are stuck in a WRITE, these five have a READ
        # pending.
        offer(server, clients[5:])
        for client in clients:
            reset(client)
        server.wait_for(r"^failed call=WSARecv code=[1-9]\d* ", count=5)
        server.wait_for(r"^failed call=WSASend code=[1-9]\d* ", count=20)
        assert echo(bystander, b"after") == b"after"
        server.check_serves()


def test_clients_that_leave_at_once(server):
    for _ in range(500):
        server.connect().close()
    server.check_serves()


@pytest.mark.alone  # under Wine all programs' sockets are the Wine server's
def test_no_handle_is_left_behind(server):
    pid = server.process.pid

    def storm(rounds):
        for _ in range(rounds):
            server.check_serves()
    storm(50)
    before = process_info.handles(pid)
    storm(300)
    assert wait_until(lambda: process_info.handles(pid) <= before + 8), (
        before, process_info.handles(pid))


def test_all_kinds_at_once(server):
    all_kinds_at_once(server, 8)


@pytest.mark.skipif(WINDOWS, reason="reads Wine's trace of the calls")
def test_backlog(program):
    """SOMAXCONN_HINT(65535): SOMAXCONN means some 200 on Windows, which resets
    the clients beyond that."""
    server = Server(program=program, env={"WINEDEBUG": "+winsock"})
    server.kill()
    assert re.search(r"listen .*backlog -65535", "\n".join(server.errors))


def test_as_many_workers_as_cpus(server, program):
    # GetSystemInfo, as in the chapter, counts one group: at most 64.
    expected = {STEP3: None, STEP4: str(min(os.cpu_count(), 64))}
    assert server.ready.get("workers") == expected[program.stem]


# ----------------------------- what they can't do ---------------------------

def test_ipv4_alone(server):
    assert server.ready["address"] == "0.0.0.0"
    assert speaks("127.0.0.1", server.port)
    assert not speaks("::1", server.port)


def test_silent_clients(server, program):
    """Step 3 accepts one client, then sleeps 100 ms if it has nothing to do:
    three hundred clients would take longer than IO_TIMEOUT. Step 4 waits for
    nothing but clients."""
    with closing_all() as clients:
        for _ in range(50 if program.stem == STEP3 else 300):
            clients.append(server.connect())
        if program.stem == STEP3:
            clients[-1].settimeout(0.5)
            with pytest.raises(socket.timeout):
                echo(clients[-1], b"my turn?")
            clients[-1].settimeout(IO_TIMEOUT)
            assert receive(clients[-1], 8) == b"my turn?"
        else:
            assert echo(clients[-1], b"my turn?") == b"my turn?"


def test_a_stream_without_a_pause(server, program):
    """Under Wine SleepEx calls routines until none is left, so step 3 accepts
    nobody while one client keeps it busy. On Windows this is not known."""
    enough = threading.Event()

    def stream():
        with server.connect() as client:
            def send():
                while not enough.is_set():
                    client.sendall(bytes(65536))
                client.shutdown(socket.SHUT_WR)
            sender = threading.Thread(target=send, daemon=True)
            sender.start()
            client.recv(1)
            started.set()
            receive_all(client)
            sender.join(IO_TIMEOUT)

    def held_up(timeout):
        with server.connect(timeout=timeout) as client:
            try:
                assert echo(client, b"hello") == b"hello"
            except socket.timeout:
                return True
        return False
    started = threading.Event()
    streaming = threading.Thread(target=stream, daemon=True)
    streaming.start()
    try:
        assert started.wait(IO_TIMEOUT)
        if program.stem == STEP3 and not WINDOWS:
            # On a busy machine the stream may pause now and then.
            assert any(held_up(2) for _ in range(5))
        else:
            assert not held_up(IO_TIMEOUT)
    finally:
        enough.set()
        streaming.join(IO_TIMEOUT)
    assert not streaming.is_alive()
    server.check_serves()


def test_ctrl_c_loses_bytes(program):
    """A step does not stop in order: Windows ends it, and bytes that it has
    still to echo are lost."""
    server = Server(program=program)
    with server.connect(receive_buffer=4096) as client:
        (taken,) = offer(server, [client])
        client.settimeout(IO_TIMEOUT)
        server.signal_stop()
        assert server.wait_end(START_TIMEOUT) in ENDED_BY_CTRL_C
        received = 0
        try:
            while part := client.recv(1 << 20):
                received += len(part)
        except ConnectionError:
            pass  # the process has ended, which resets the connection
    assert received < taken
    assert server.matching("^(stopping|worker|stopped|close|failed) ") == []
    assert server.errors == []
