"""Unusual standard streams: the scripts report whatever they lose.

Status 0 means that everything was read and written.
"""

import io
import os
import random
import re
import socket
import subprocess
import sys
import threading

import pytest

from support import IO_TIMEOUT, ROOT, TEXT, WINDOWS, start_process
from parts import streams  # where support finds the scripts
from parts.words import Failure

SCRIPTS = ROOT / "scripts"
CLIENT = SCRIPTS / "echo_client.py"
DATA = random.Random(7).randbytes(300_000)

on_posix = pytest.mark.skipif(WINDOWS, reason="Windows has no such stream")


@pytest.fixture
def port():
    """The port of a small echo server."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # the listener is closed: the test is over
            threading.Thread(target=echo, args=(connection,),
                             daemon=True).start()

    def echo(connection):
        with connection:
            while True:
                data = connection.recv(65536)
                if not data:
                    return
                connection.sendall(data)
    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def script(name, *arguments, python=()):
    return [sys.executable, *python, str(SCRIPTS / name),
            *map(str, arguments)]


def run(line, **options):
    options.setdefault("stdin", subprocess.DEVNULL)
    options.setdefault("stdout", subprocess.PIPE)
    process = start_process(line, stderr=subprocess.PIPE, **options)
    out, err = process.communicate(timeout=IO_TIMEOUT)
    return process.returncode, out, err.decode(**TEXT)


def one_line(err, pattern):
    assert re.fullmatch(f"[a-z_.]+: {pattern}\n", err), err


# ---------------------------------- reading ---------------------------------

@pytest.fixture
def slow_input():
    """Both ends of a pipe whose reading end does not block."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    os.close(reader)


def write_slowly(writer, parts):
    pause = threading.Event()
    for part in parts:
        pause.wait(0.3)  # until the reader finds the pipe empty
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(writer, rest):]
    os.close(writer)


@on_posix
def test_a_file_from_an_input_that_does_not_block(port, slow_input):
    reader, writer = slow_input
    thread = threading.Thread(target=write_slowly, daemon=True, args=(
        writer, [DATA[:100], DATA[100:]]))
    thread.start()
    status, out, err = run(script("echo_client.py", port, "--file", "-"),
                           stdin=reader)
    assert (status, err) == (0, "")
    assert out.startswith(b"identical: 300000 bytes echoed")
    thread.join(IO_TIMEOUT)


@on_posix
def test_lines_from_an_input_that_does_not_block(port, slow_input):
    """It waits when half a line, or nothing, is there at first."""
    reader, writer = slow_input
    thread = threading.Thread(target=write_slowly, daemon=True, args=(
        writer, [b"one\ntw", b"o\n", b"three\nQ\n"]))
    thread.start()
    status, out, err = run(script("echo_client.py", port), stdin=reader)
    assert (status, err) == (0, "")
    assert re.findall(b"Message from server: (.*)\n", out) == [
        b"one", b"two", b"three"]
    thread.join(IO_TIMEOUT)


# ---------------------------------- writing ---------------------------------

LINE = b"x" * 40_000 + b"\n"  # more than Python buffers


@on_posix
def test_all_to_an_output_that_does_not_block(port):
    """The script waits for a full pipe."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    process = start_process(script("echo_client.py", port), stdout=writer,
                            stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    os.close(writer)
    sender = threading.Thread(target=write_slowly, daemon=True, args=(
        os.dup(process.stdin.fileno()), [LINE * 10]))
    sender.start()
    process.stdin.close()
    pause = threading.Event()
    pause.wait(1)  # until the pipe is full
    with open(reader, "rb") as output:
        assert output.read().count(LINE) == 10
    assert (process.wait(IO_TIMEOUT), process.stderr.read()) == (0, b"")
    sender.join(IO_TIMEOUT)


@on_posix
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_disk_that_takes_a_part(port, tmp_path, unbuffered):
    """A limit on the file's size acts like a full disk: one write takes a
    part, and the next fails."""
    import resource
    most = 16384
    with open(tmp_path / "output", "wb") as output:
        status, _, err = run(
            script("echo_client.py", port, "--message", "x" * 40_000),
            stdout=output, env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE,
                                                  (most, most)))
    assert (tmp_path / "output").stat().st_size == most
    one_line(err, "cannot write standard output: File too large")
    assert status == 1


PRINTING = {  # what a script can print without a server
    "echo_client.py": ["--help"], "demo.py": ["--list"],
    "bench.py": ["--help"], "trace_view.py": ["--help"],
    "parts/analyze.py": ["--help"], "../tests/soak.py": ["--help"]}


@on_posix
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("name", PRINTING)
def test_a_full_disk(name, unbuffered):
    with open("/dev/full", "wb") as output:
        status, _, err = run(
            script(name, *PRINTING[name]), stdout=output,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered})
    one_line(err, "cannot write standard output: No space left on device")
    assert status == 1


@on_posix
@pytest.mark.parametrize("name", PRINTING)
def test_nobody_reads(name):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as output:
        status, _, err = run(script(name, *PRINTING[name]), stdout=output)
    one_line(err, "cannot write standard output: Broken pipe")
    assert status == 1


@on_posix
@pytest.mark.parametrize("name", PRINTING)
def test_a_closed_output(name):
    status, _, err = run(script(name, *PRINTING[name]), stdout=None,
                         preexec_fn=lambda: os.close(1))
    one_line(err, "cannot write standard output: it is closed")
    assert status == 1


@on_posix
@pytest.mark.parametrize("arguments, status, said", [
    (["--message", "hello"], 0, None),
    (["--file", "-"], 1, "cannot read standard input: it is closed"),
    ([], 1, "cannot read standard input: it is closed")],
    ids=["message", "file", "lines"])
def test_a_closed_input(port, arguments, status, said):
    """A closed input is an error; an empty one is not."""
    result, out, err = run(script("echo_client.py", port, *arguments),
                           stdin=None, preexec_fn=lambda: os.close(0))
    assert result == status and b"identical" not in out
    if said:
        one_line(err, said)
    else:
        assert (out, err) == (b"Message from server: hello\n", "")


@on_posix
@pytest.mark.parametrize("name", PRINTING)
def test_nothing_to_complain_to(name):
    """A closed or full standard error does not change the status. If a socket
    or file gets its number, the script does not write there."""
    for close in (lambda: os.close(2), lambda: os.closerange(0, 3),
                  lambda: os.dup2(os.open("/dev/full", os.O_WRONLY), 2)):
        status, _, _ = run(script(name, "--no-such-option"), preexec_fn=close)
        assert status == 2


@on_posix
def test_no_stream_at_all(port):
    """All are closed: what needs no stream works, what needs one fails."""
    for arguments, status in ((["--message", "x"], 1),
                              (["--file", str(SCRIPTS / "demo.py")], 1),
                              (["--message", "x", "--no-such"], 2)):
        process = start_process(
            script("echo_client.py", port, *arguments),
            preexec_fn=lambda: os.closerange(0, 3))
        assert process.wait(IO_TIMEOUT) == status


# ----------------------------- no files at all ------------------------------

# IDLE and notebooks run a script in their own process, with streams that take
# text only. Afterwards they go on with their own streams and Ctrl+C.
GUEST = """
import io, runpy, signal, sys
name, said, *arguments = sys.argv[1:]
sys.stdin, sys.stdout, sys.stderr = streams = (
    io.StringIO(said), io.StringIO(), io.StringIO())
before = signal.getsignal(signal.SIGINT), sys.excepthook, sys.unraisablehook
sys.argv = [name, *arguments]
try:
    runpy.run_path(name, run_name="__main__")
except SystemExit as end:
    status = end.code
assert streams == (sys.stdin, sys.stdout, sys.stderr)
assert before == (signal.getsignal(signal.SIGINT), sys.excepthook,
                  sys.unraisablehook)
sys.__stdout__.reconfigure(encoding="utf-8")
sys.__stderr__.reconfigure(encoding="utf-8")
sys.__stdout__.write(sys.stdout.getvalue())
sys.__stderr__.write(sys.stderr.getvalue())
sys.exit(status)
"""
KOREAN = "\uc548\ub155"


def run_as_guest(name, said, *arguments):
    return run([sys.executable, "-X", "utf8", "-c", GUEST, str(SCRIPTS / name),
                said, *map(str, arguments)])


def test_text_only(port):
    status, out, err = run_as_guest("echo_client.py", f"{KOREAN}\n\nQ\nno",
                                    port)
    assert (status, err) == (0, "")
    assert re.findall("Message from server: (.*)\n", out.decode()) == [
        KOREAN, ""]
    status, out, err = run_as_guest("echo_client.py", "", port, "--message",
                                    KOREAN)
    assert (status, out.decode().strip(), err) == (
        0, f"Message from server: {KOREAN}", "")
    text = f"{KOREAN}\n" * 9_000 + "no end of line"
    status, out, err = run_as_guest("echo_client.py", text, port, "--file",
                                    "-")
    assert (status, err) == (0, "")
    assert out.startswith(b"identical: %d bytes" % len(text.encode()))


@pytest.mark.parametrize("name", PRINTING)
def test_text_only_for_all(name):
    status, out, err = run_as_guest(name, "", *PRINTING[name])
    assert (status, err) == (0, "") and len(out) > 100
    status, out, err = run_as_guest(name, "", "--no-such-option")
    assert (status, out) == (2, b"") and "Traceback" not in err and err


# ---------------------------------- parts -----------------------------------

class Console(io.RawIOBase):
    """A console that takes only what the test says: a number is the most
    bytes of one write."""

    def __init__(self, *takes):
        super().__init__()
        self.takes, self.written = list(takes), []

    def writable(self):
        return True

    def fileno(self):
        raise OSError("select can't wait for it")

    def write(self, data):
        take = self.takes.pop(0) if self.takes else len(data)
        if take is None:
            return None
        self.written.append(bytes(data[:take]))
        return min(take, len(data))


def output(console):
    return io.TextIOWrapper(io.BufferedWriter(streams.Output(
        io.TextIOWrapper(io.BufferedWriter(console)), "it")),
        encoding="utf-8")


def test_a_windows_console():
    """It takes at most 32766 bytes of UTF-16 at once. A character that it cuts
    in two is lost."""
    for text in ("a" * 100_000, "\uac00" * 100_000, "\U0001f600" * 100_000,
                 "a\uac00\U0001f600\u00e9" * 30_000):
        console = Console()
        stream = output(console)
        stream.write(text)
        stream.flush()
        assert b"".join(console.written).decode() == text
        for part in console.written:
            assert len(part.decode().encode("utf-16-le")) <= 32766


def test_what_is_taken_in_parts():
    console = Console(1, None, 5, None, None, 3)
    stream = output(console)
    stream.write("hello, everybody")
    stream.flush()
    assert b"".join(console.written) == b"hello, everybody"
    assert console.written[:3] == [b"h", b"ello,", b" ev"]


def test_what_takes_no_more():
    stream = output(Console(4, 0))
    stream.write("hello, everybody")
    with pytest.raises(Failure, match="cannot write it: it takes no more"):
        stream.flush()
    stream.flush()  # already reported: when Python exits, nothing more comes
