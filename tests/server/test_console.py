"""The console: Ctrl+C while output is blocked, and QuickEdit."""

import concurrent.futures
import contextlib
import os
import socket
import subprocess

import pytest

import launch
from support import (CHECKED, STOP_SIGNAL, STOP_TIMEOUT, WINDOWS, Asked,
                     Server, closing_all, connect, echo, free_port,
                     run_server, start_process, wait_until)
from test_command_line import WRONG

pytestmark = pytest.mark.skipif(
    WINDOWS, reason="POSIX makes the terminals and the pipes that are full")

PATIENCE = 3  # seconds after the second Ctrl+C: src/console.c
HANDLER = "SetConsoleCtrlHandler"  # logged when the system calls the handler


class Pipe:
    """A pipe that nobody reads."""

    def __init__(self):
        self.reader, self.writer = os.pipe()

    def fill(self):
        """Fills it, so that every later write waits for ever."""
        os.set_blocking(self.writer, False)
        try:
            while True:
                os.write(self.writer, bytes(65536))
        except BlockingIOError:
            pass
        os.set_blocking(self.writer, True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.reader)
        os.close(self.writer)


def press(process, asked, times):
    """Presses Ctrl+C `times` times, the third after the server's patience.
    Waits for the end and returns the status."""
    for number in range(1, times + 1):
        if number == 3:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(PATIENCE + 0.5)
        process.send_signal(STOP_SIGNAL)
        # The system calls the handler again only after it has returned.
        wait_until(lambda: len(asked.calls(HANDLER)) == number
                   or process.poll() is not None, STOP_TIMEOUT)
    return process.wait(STOP_TIMEOUT)


# ------------------------- Ctrl+C, and nobody reads ------------------------


def start(asked, stream, pipe, *arguments, faults="",
          stdin=subprocess.DEVNULL):
    """Starts a checked server with the pipe as its `stream`. Returns the
    process."""
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL,
               stream: pipe.writer}
    return start_process(
        launch.command(CHECKED, *arguments), stdin=stdin, **streams,
        env={**launch.environment(), **asked.env, "FAULTS": faults})


def come(port, clients):
    """Connects one more client, which stays silent."""
    clients.append(connect("127.0.0.1", port))


def talk(port, clients):
    """Sends on all clients. Each must wait in vain for its echo."""
    for client in clients:
        client.settimeout(0.5)
        client.sendall(b"hello?")
        with pytest.raises(socket.timeout):
            client.recv(1)


def leave(port, clients):
    while clients:
        clients.pop().close()


BLOCKED = {
    # The full stream; arguments; FAULTS; what clients do to make the server
    # write to it; how often Ctrl+C is pressed; the status.
    "output": ("stdout", [], "", None, 3, 1),
    "output, quiet": ("stdout", ["-q"], "", come, 1, 0),
    "output, under load": ("stdout", ["-v"], "", talk, 3, 1),
    "errors": ("stderr", ["-q"], "", come, 1, 0),
    "errors, a client is dropped": (
        "stderr", ["-q"], "calloc:/1:8", come, 3, 1),
    "errors, of the workers": (
        "stderr", ["-q"], "closesocket:1+:10038", leave, 3, 1),
    "errors, of the idle sweep": (
        "stderr", ["-q", "-i", "1"], "CancelIoEx:1+:31", come, 3, 1),
}


def ends(directory, case):
    """Runs a case. Returns the status, or what went wrong."""
    stream, arguments, faults, act, times, _ = BLOCKED[case]
    asked, port = Asked(directory / case), free_port()
    with Pipe() as pipe, closing_all() as clients:
        process = start(asked, stream, pipe, port, "-w", 2, *arguments,
                        faults=faults)
        assert wait_until(lambda: asked.calls("accept"))
        if act in (talk, leave):
            for _ in range(4):
                come(port, clients)
                assert echo(clients[-1], b"hello") == b"hello"
        pipe.fill()
        before = len(asked.calls("WriteFile"))
        if act is not None:
            act(port, clients)
        if faults:
            assert wait_until(lambda: len(asked.calls("WriteFile")) > before)
        try:
            return press(process, asked, times)
        except subprocess.TimeoutExpired:
            return "it does not end"


def test_ctrl_c_whatever_is_blocked(tmp_path):
    """One Ctrl+C is enough if the stop does not need what is blocked. The
    third, some seconds after the second, ends the server in any case."""
    with concurrent.futures.ThreadPoolExecutor(len(BLOCKED)) as pool:
        results = pool.map(lambda case: ends(tmp_path, case), BLOCKED)
    assert dict(zip(BLOCKED, results)) == {
        case: status for case, (*_, status) in BLOCKED.items()}


def test_ctrl_c_before_it_is_ready(asked):
    """The pipe is full before the server prints its first line."""
    with Pipe() as pipe:
        pipe.fill()
        process = start(asked, "stdout", pipe, 0)
        assert wait_until(lambda: asked.calls("WriteFile"))
        assert press(process, asked, 3) == 1


def test_the_last_line_is_written_before_the_end(asked):
    """All workers fail at once. One says so once the pipe is read; the others
    do not end the program before that."""
    with Pipe() as pipe:
        pipe.fill()
        process = start(asked, "stderr", pipe, 0, "-w", 4,
                        faults="GetQueuedCompletionStatus:1+:6")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        os.set_blocking(pipe.reader, False)
        text = b""

        def ended():
            nonlocal text
            with contextlib.suppress(BlockingIOError):
                text += os.read(pipe.reader, 1 << 20)
            return process.poll() is not None
        assert wait_until(ended) and ended()
    assert process.returncode == 1
    assert text.count(b"GetQueuedCompletionStatus failed: ") == 1


# -------------------------------- QuickEdit --------------------------------

QUICK_EDIT = 0x40  # ENABLE_QUICK_EDIT_MODE
EXTENDED = 0x80    # ENABLE_EXTENDED_FLAGS


@pytest.fixture
def terminal():
    """A terminal for standard input, which Wine makes a console."""
    controller, terminal = os.openpty()
    yield terminal
    os.close(terminal)
    os.close(controller)


def ends_cleanly(asked, terminal):
    server = Server(program=CHECKED, env=asked.env, stdin=terminal)
    server.check_serves()
    server.stop()


def can_not_run(asked, terminal):
    result = run_server(0, program=CHECKED, stdin=terminal, env={
        **asked.env, "FAULTS": "CreateIoCompletionPort:1:1450"})
    assert result.returncode == 1


def ends_by_a_failure(asked, terminal):
    server = Server("-w", 2, program=CHECKED, stdin=terminal, env={
        **asked.env, "FAULTS": "GetQueuedCompletionStatus:3:6"})
    server.connect().close()
    assert server.wait_end() == 1


def is_ended_by_the_third_ctrl_c(asked, terminal):
    with Pipe() as pipe:
        process = start(asked, "stdout", pipe, 0, stdin=terminal)
        assert wait_until(lambda: asked.calls("accept"))
        pipe.fill()
        assert press(process, asked, 3) == 1


@pytest.mark.parametrize("life", [
    ends_cleanly, can_not_run, ends_by_a_failure,
    is_ended_by_the_third_ctrl_c], ids=lambda life: life.__name__)
def test_quick_edit_is_off_and_on_again(asked, terminal, life):
    """With QuickEdit a click into the window stops every write until a key is
    pressed. Changing it takes ENABLE_EXTENDED_FLAGS too."""
    life(asked, terminal)
    calls = [(name, int(arguments["mode"])) for name, arguments
             in asked.calls("GetConsoleMode", "SetConsoleMode")]
    name, before = calls.pop(0)
    assert name == "GetConsoleMode" and before & QUICK_EDIT
    assert calls == [
        ("SetConsoleMode", before & ~QUICK_EDIT | EXTENDED),
        ("SetConsoleMode", before | EXTENDED)]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"],
                                       *(x for x, _ in WRONG.values())][:8],
                         ids=str)
def test_who_runs_no_server_leaves_the_console_alone(asked, terminal,
                                                     arguments):
    run_server(*arguments, program=CHECKED, env=asked.env, stdin=terminal)
    assert asked.calls("CreateFileA", "GetConsoleMode", "SetConsoleMode") == []


def test_no_console(asked):
    server = Server(program=CHECKED, env=asked.env)
    server.stop()
    assert asked.calls("GetConsoleMode", "SetConsoleMode") == []
    assert server.errors == []


@pytest.mark.parametrize("faults", ["GetConsoleMode:1+:6",
                                    "SetConsoleMode:1+:5"])
def test_a_console_that_refuses(asked, terminal, faults):
    """A console that can't be changed does not stop the server."""
    server = Server(program=CHECKED, stdin=terminal,
                    env={**asked.env, "FAULTS": faults})
    server.check_serves()
    server.stop()
    if faults.startswith("Get"):
        assert asked.calls("SetConsoleMode") == []
