"""The chapter's client, with servers good and bad: what it sends comes back,
or it ends with one line that says why."""

import contextlib
import re
import socket
import subprocess
import threading

import pytest

import support
from support import (IO_TIMEOUT, TEXT, Server, free_port, launch,
                     start_process)

CLIENT = support.STEPS / "stable_echo_client.exe"
PROMPT = "Input message(Q to quit): "
ANSWER = "Message from server: "
BUF_SIZE = 1024  # the client's
TIMEOUT = 60


@contextlib.contextmanager
def serving(serve):
    """A server that calls serve(connection) for one client. Gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def run():
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(IO_TIMEOUT)
                serve(connection)
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(IO_TIMEOUT)
        assert not thread.is_alive()


def run_client(*arguments, typed="", program=CLIENT):
    """Runs it to its end. Returns status, output, and standard error."""
    for _ in range(launch.START_TRIES):
        process = start_process(
            launch.command(program, *arguments), env=support.environment(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, **TEXT)
        out, err = process.communicate(typed, timeout=TIMEOUT)
        if not launch.never_started(process.returncode, out + err):
            break
    return process.returncode, out.replace("\r\n", "\n"), err


def check(port, text, lines):
    """It shows each of these messages, asks for another, and ends well."""
    assert run_client("127.0.0.1", port, typed=text) == (0, PROMPT + "".join(
        ANSWER + line + PROMPT for line in lines), "")


@pytest.mark.parametrize("last", ["Q\n", "q\n", ""], ids=["Q", "q", "end"])
def test_it_talks(last):
    server = Server()
    lines = ["hello\n", "\n", "Q and more\n", "a" * 500 + "\n"]
    check(server.port, "".join(lines) + last, lines)
    server.stop()


def test_the_last_line_has_no_end():
    server = Server()
    check(server.port, "hello", ["hello"])
    server.stop()


@pytest.mark.parametrize("size", [BUF_SIZE - 2, BUF_SIZE - 1, BUF_SIZE,
                                  5 * BUF_SIZE, 100_000])
def test_lines_longer_than_the_buffer(size):
    """Each piece is a message; nothing is lost, nothing is written beyond the
    buffer."""
    server = Server()
    line = "".join(chr(33 + i % 90) for i in range(size)) + "\n"
    pieces = [line[i:i + BUF_SIZE - 1]
              for i in range(0, len(line), BUF_SIZE - 1)]
    check(server.port, line + "bye\nQ\n", [*pieces, "bye\n"])
    server.stop()


@pytest.mark.parametrize("size", [1, 7, 300])
def test_an_answer_in_pieces(size):
    def serve(connection):
        while data := connection.recv(65536):
            for i in range(0, len(data), size):
                connection.sendall(data[i:i + size])
    line = "".join(chr(33 + i % 90) for i in range(BUF_SIZE - 2)) + "\n"
    with serving(serve) as port:
        check(port, line + "short\n" + line + "Q\n", [line, "short\n", line])


def test_more_than_was_sent():
    """The buffer's size bounds what is received: a server that floods does
    not reach beyond it. The client can't tell what is its message's echo."""
    def serve(connection):
        with contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"x" * 100_000)
            connection.recv(65536)
    with serving(serve) as port:
        status, out, err = run_client("127.0.0.1", port, typed="abc\nQ\n")
    assert (status, out, err) == (0, f"{PROMPT}{ANSWER}xxxx{PROMPT}", "")


@pytest.mark.parametrize("answered", [0, 3])
def test_a_server_that_closes_early(answered):
    """The listing loops for ever: recv returns 0, again and again."""
    def serve(connection):
        data = connection.recv(65536)
        connection.sendall(data[:answered])
    with serving(serve) as port:
        status, out, err = run_client("127.0.0.1", port, typed="hello\nmore\n")
    assert (status, out) == (1, PROMPT)
    assert err.splitlines() == ["stable_echo_client: the server closed the "
                                f"connection after {answered} of 6 bytes"]


def test_a_server_that_resets():
    """Under Wine a receive that meets a reset may get an end of file."""
    def serve(connection):
        connection.recv(1)
        support.reset(connection)
    with serving(serve) as port:
        status, out, err = run_client("127.0.0.1", port, typed="hello\n")
    assert (status, out) == (1, PROMPT)
    assert re.fullmatch(r"stable_echo_client: (recv failed: code \d+|the "
                        r"server closed .* after 0 of 6 bytes)\r?\n", err)


def test_no_server():
    status, out, err = run_client("127.0.0.1", free_port())
    assert (status, out) == (1, "")
    assert re.fullmatch("stable_echo_client: connect failed: code 10061\r?\n",
                        err)


@pytest.mark.parametrize("arguments", [
    [], ["127.0.0.1"], ["127.0.0.1", "9190", "x"], ["127.0.0.1", "9190x"],
    ["127.0.0.1", "0"], ["127.0.0.1", "65536"], ["127.0.0.1", ""],
    ["127.0.0.1", "99999999999999999999"], ["nowhere", "9190"], ["", "1"]],
    ids=lambda arguments: ascii(" ".join(arguments)))
def test_wrong_command_line(arguments):
    status, out, err = run_client(*arguments)
    assert (status, out) == (2, "")
    assert re.fullmatch("stable_echo_client: (usage|no IPv4 address and port)"
                        ": .*\r?\n", err)


# A receive that gives one byte, but first writes all that it was allowed to.
WHOLE = """
#define WIN32_LEAN_AND_MEAN
#include <winsock2.h>
#include <windows.h>
int WSAAPI whole_recv(SOCKET sock, char *buffer, int size, int flags);
"""
WHOLE_RECV = """
#include "whole.h"
int WSAAPI whole_recv(SOCKET sock, char *buffer, int size, int flags)
{
    FillMemory(buffer, (SIZE_T)size, 'x');
    return recv(sock, buffer, 1, flags);
}
"""


def build_with_whole_receives(directory, old, new):
    """Returns the client with such receives, and with a change."""
    (directory / "sources").mkdir()
    (directory / "whole.h").write_text(WHOLE, encoding="ascii")
    (directory / "forced.h").write_text(
        f'{WHOLE}#define recv whole_recv\n', encoding="ascii")
    (directory / "whole.c").write_text(WHOLE_RECV, encoding="ascii")
    text = (support.ROOT / "src/steps/stable_echo_client.c").read_text("ascii")
    assert text.count(old) == 1
    (directory / "sources" / "client.c").write_text(
        text.replace(old, new), encoding="ascii")
    return support.build(directory, "client.exe",
                         sources=directory / "sources",
                         forced=directory / "forced.h",
                         extra=[directory / "whole.c"])


@pytest.mark.own_build
@pytest.mark.parametrize("size, overruns", [
    ("strLen - readLen", False), ("BUF_SIZE - 1", True)],
    ids=["ours", "the listing's"])
def test_no_receive_reaches_beyond_the_buffer(tmp_path, size, overruns):
    """The listing's overwrites what is behind the buffer: it crashes."""
    client = build_with_whole_receives(
        tmp_path, "strLen - readLen, 0);\n\n        Check(result >= 0",
        f"{size}, 0);\n\n        Check(result >= 0")
    server = Server()
    line = "".join(chr(33 + i % 90) for i in range(BUF_SIZE - 2)) + "\n"
    status, out, err = run_client("127.0.0.1", server.port, typed=line + "Q\n",
                                  program=client)
    server.stop()
    assert overruns == ((status, out, err) != (
        0, f"{PROMPT}{ANSWER}{line}{PROMPT}", ""))
