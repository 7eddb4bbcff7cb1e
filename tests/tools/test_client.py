"""The client must notice whatever a server does wrong, and say it clearly.

Tests of success run against the real server; those of failure need small
scripted servers.
"""

import ast
import contextlib
import importlib.util
import json
import os
import random
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading

import pytest

from support import IO_TIMEOUT, ROOT, WINDOWS, receive, reset
from parts import language  # where support finds the scripts

CLIENT = ROOT / "scripts" / "echo_client.py"
PROMPT = b"Input message(Q to quit): "
ANSWER = b"Message from server: "
MB = 1 << 20
PATIENCE = 2  # seconds, with a server that says nothing


# ---------------------------------------------------------------------------
# Helpers
# ---------------------------------------------------------------------------

def command(*args):
    return [sys.executable, str(CLIENT), *map(str, args)]


def run_client(*args, input=None, timeout=60, **env):
    """Runs the client to its end. stdin is empty unless `input` is given."""
    return subprocess.run(command(*args), input=input or b"",
                          capture_output=True, timeout=timeout,
                          env={**os.environ, **env})


@contextlib.contextmanager
def started_client(*args, **options):
    """Starts a client with pipes, for tests that act while it runs."""
    if WINDOWS:
        options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
    else:           # pytest may have been started with Ctrl+C ignored
        options["preexec_fn"] = lambda: signal.signal(signal.SIGINT,
                                                      signal.SIG_DFL)
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command(*args), **{**pipes, **options}) as client:
        watchdog = threading.Timer(30, client.kill)     # ends any read below
        watchdog.start()
        try:
            yield client
        finally:
            watchdog.cancel()
            client.kill()


def interrupt(client):
    """Presses Ctrl+C. A new process group on Windows only gets Ctrl+Break."""
    client.send_signal(signal.CTRL_BREAK_EVENT if WINDOWS else signal.SIGINT)


def assert_interrupted(client):
    _, errors = client.communicate(timeout=IO_TIMEOUT)
    assert (client.returncode, errors) == (130, b"")


def assert_fails(result, pattern):
    """Checks for one line that matches, status 1, and no claim of success."""
    assert re.fullmatch(r"echo_client: [^\r\n]*\r?\n",
                        result.stderr.decode()), result
    assert re.search(pattern, result.stderr.decode()), result
    assert result.returncode == 1
    for claim in b"identical", b"latency", b"{":
        assert claim not in result.stdout


def echo(conn, change=lambda data, offset: data):
    """Echoes what `change` makes of it until end of file; returns the
    count."""
    offset = 0
    while True:
        data = conn.recv(65536)
        if not data:
            return offset
        conn.sendall(change(data, offset))
        offset += len(data)


test_over = threading.Event()   # releases the scripts that hold a connection


@pytest.fixture
def scripted():
    """Starts servers that run script(conn) for each connection."""
    servers = []
    test_over.clear()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request, client_address):
            pass                # the client may have ended

    def start(script):
        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                self.request.settimeout(30)
                script(self.request)

        server = Server(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        servers.append((server, thread))
        return server.server_address[1]

    yield start
    test_over.set()
    for server, thread in servers:
        server.shutdown()
        thread.join(IO_TIMEOUT)
        server.server_close()


@pytest.fixture
def closed_port():
    """A port that is bound here, so that no other program listens on it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture
def random_file(tmp_path):
    def make(size):
        path = tmp_path / "random.bin"
        path.write_bytes(random.Random(size).randbytes(size))
        return path
    return make


# ---------------------------------------------------------------------------
# Line by line, and one message
# ---------------------------------------------------------------------------

@pytest.mark.parametrize("text", ["hello", "", "안녕하세요, 서버!", "a\tb c"])
def test_message(server, text):
    result = run_client(server.port, "--message", text)
    assert result.stdout == ANSWER + text.encode() + b"\n"
    assert (result.returncode, result.stderr) == (0, b"")


def test_message_by_host_name(server):
    result = run_client(server.port, "--host", "localhost", "--message", "x")
    assert (result.returncode, result.stdout) == (0, ANSWER + b"x\n")


@pytest.mark.parametrize("end", [b"q\n", b"Q\n", b"q\r\n", b"q", b""])
def test_interactive_until_q_or_end_of_input(server, end):
    result = run_client(server.port, input="one\n\n둘 둘\n".encode() + end)
    expected = "".join(f"{PROMPT.decode()}{ANSWER.decode()}{line}\n"
                       for line in ("one", "", "둘 둘")).encode() + PROMPT
    assert result.stdout.rstrip(b"\n") == expected
    assert (result.returncode, result.stderr) == (0, b"")


def test_interactive_ignores_what_follows_q(server):
    result = run_client(server.port, input=b"q\nnever sent\n")
    assert (result.returncode, result.stdout) == (0, PROMPT)


def test_interactive_last_line_without_newline(server):
    result = run_client(server.port, input=b"no newline")
    assert result.stdout == PROMPT + ANSWER + b"no newline\n" + PROMPT + b"\n"
    assert result.returncode == 0


def test_interactive_sends_the_newline_and_only_that(scripted):
    heard = []

    def script(conn):
        echo(conn, lambda data, offset: heard.append(data) or data)

    result = run_client(scripted(script), input=b"hello\nquit\nq\n")
    assert result.returncode == 0
    assert b"".join(heard) == b"hello\nquit\n"


def test_interactive_collects_an_answer_in_pieces(scripted):
    def script(conn):
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(6):
            conn.sendall(receive(conn, 1))
        echo(conn)

    result = run_client(scripted(script), input=b"hello\n")
    assert result.stdout == PROMPT + ANSWER + b"hello\n" + PROMPT + b"\n"


def test_interactive_line_longer_than_all_buffers(server):
    line = b"x" * (16 * MB) + b"\n"
    result = run_client(server.port, input=line + b"q\n")
    assert result.stdout == PROMPT + ANSWER + line + PROMPT
    assert result.returncode == 0


def test_interactive_prompts_before_it_reads(server):
    with started_client(server.port) as client:
        assert client.stdout.read(len(PROMPT)) == PROMPT
        client.stdin.write(b"hello\n")
        client.stdin.flush()
        expected = ANSWER + b"hello\n" + PROMPT
        assert client.stdout.read(len(expected)) == expected
        client.stdin.write(b"Q\n")
        client.stdin.flush()            # but not closed: Q must be enough
        assert client.wait(IO_TIMEOUT) == 0


# ---------------------------------------------------------------------------
# A file
# ---------------------------------------------------------------------------

@pytest.mark.parametrize("size", [0, 1, 65537, 8 * MB])
def test_file(server, random_file, size):
    result = run_client(server.port, "--file", random_file(size))
    assert re.fullmatch(rb"identical: %d bytes echoed in \d+\.\d{3} s "
                        rb"\(\d+\.\d MB/s\)\n" % size, result.stdout), result
    assert (result.returncode, result.stderr) == (0, b"")


@pytest.mark.parametrize("size", [0, 8 * MB])
def test_file_from_standard_input(server, size):
    data = random.Random(1).randbytes(size)
    result = run_client(server.port, "--file", "-", input=data)
    assert result.stdout.startswith(b"identical: %d bytes echoed" % size)
    assert (result.returncode, result.stderr) == (0, b"")


def test_file_is_sent_unchanged_and_half_closed(scripted):
    """The echo comes only after end of file, so a client that does not
    half-close gets none."""
    data = bytes(range(256)) * 100 + b"\r\n\x1a\x00"
    heard = []

    def script(conn):
        heard.append(receive(conn, MB))
        conn.sendall(heard[0])

    result = run_client(scripted(script), "--file", "-", "--timeout", 5,
                        input=data)
    assert result.returncode == 0, result
    assert heard == [data]


def test_file_waits_for_slow_input_without_timeout(scripted):
    arrived = threading.Event()

    def script(conn):
        echo(conn, lambda data, offset: arrived.set() or data)

    port = scripted(script)
    with started_client(port, "--file", "-", "--timeout", 2) as client:
        client.stdin.write(b"early")
        client.stdin.flush()
        assert arrived.wait(IO_TIMEOUT)     # sent before the end of input
        with pytest.raises(subprocess.TimeoutExpired):
            client.wait(3)              # longer than the timeout
        output, errors = client.communicate(b" late", timeout=IO_TIMEOUT)
    assert output.startswith(b"identical: 10 bytes echoed")
    assert (client.returncode, errors) == (0, b"")


def test_file_bounds_what_is_under_way(scripted, random_file):
    """A server that reads and never writes must not fill the client's
    memory."""
    counts = []
    all_counted = threading.Event()

    def script(conn):
        counts.append(len(receive(conn, 16 * MB)))
        all_counted.set()

    result = run_client(scripted(script), "--file", random_file(16 * MB),
                        "--timeout", 1)
    assert_fails(result, "server silent for 1 s after 0 of [0-9]+ bytes")
    assert all_counted.wait(IO_TIMEOUT)
    assert 0 < counts[0] <= 2 * MB


# ---------------------------------------------------------------------------
# Load
# ---------------------------------------------------------------------------

KEYS = {"connections", "messages", "message_bytes", "echoed_bytes",
        "elapsed_seconds", "messages_per_second", "megabytes_per_second",
        "latency_p50_us", "latency_p99_us", "latency_max_us"}


def run_load(port, *args, **options):
    result = run_client(port, "--load", "--json", *args, **options)
    assert (result.returncode, result.stderr) == (0, b""), result
    assert result.stdout.count(b"\n") == 1
    return json.loads(result.stdout)


def test_load_summary(server):
    result = run_client(server.port, "--load", "--connections", 50,
                        "--messages", 20, "--size", 64)
    assert re.fullmatch(
        r"connections  50\n"
        r"messages     1000 of 64 bytes, all identical\n"
        r"elapsed      \d+\.\d{3} s\n"
        r"rate         \d+ messages/s\n"
        r"throughput   \d+\.\d MB/s\n"
        r"latency      p50 [\d.]+ [um]s, p99 [\d.]+ [um]s, max [\d.]+ [um]s\n",
        result.stdout.decode()), result
    # stderr is a pipe here: no progress bar in it
    assert (result.returncode, result.stderr) == (0, b"")


@pytest.mark.parametrize("connections, messages, size",
                         [(50, 20, 64), (5, 4, 200_000), (2, 2, 3_000_000),
                          (1, 1, 1), (1, 300, 7)])
def test_load_json(server, connections, messages, size):
    found = run_load(server.port, "--connections", connections,
                     "--messages", messages, "--size", size)
    assert set(found) == KEYS
    count = connections * messages
    assert found["connections"] == connections
    assert found["messages"] == count
    assert found["message_bytes"] == size
    assert found["echoed_bytes"] == count * size
    elapsed = found["elapsed_seconds"]
    assert found["messages_per_second"] == pytest.approx(count / elapsed)
    assert found["megabytes_per_second"] == pytest.approx(
        count * size / elapsed / 1e6)
    assert (0 < found["latency_p50_us"] <= found["latency_p99_us"]
            <= found["latency_max_us"] <= elapsed * 1e6)


def test_load_for_a_duration(server):
    found = run_load(server.port, "--connections", 4, "--duration", 0.5)
    assert 0.4 < found["elapsed_seconds"]
    assert found["messages"] > 4        # as many as the time permits


def test_load_ends_at_messages_or_duration_whichever_is_first(server):
    found = run_load(server.port, "--connections", 2, "--messages", 3,
                     "--duration", 3600)
    assert found["messages"] == 6


def test_load_opens_all_connections_first(scripted):
    """The server echoes nothing before all ten clients are connected."""
    everybody = threading.Barrier(10, timeout=IO_TIMEOUT)

    def script(conn):
        everybody.wait()
        echo(conn)

    found = run_load(scripted(script), "--connections", 10, "--messages", 2)
    assert found["messages"] == 20


def test_load_sends_something_else_each_time(scripted):
    heard = []

    def script(conn):
        for _ in range(20):
            heard.append(receive(conn, 16))
            conn.sendall(heard[-1])
        echo(conn)

    run_load(scripted(script), "--connections", 10, "--messages", 20,
             "--size", 16)
    assert len(heard) == len(set(heard)) == 200


def test_load_measures_latency(scripted):
    def script(conn):
        pause = threading.Event()
        echo(conn, lambda data, offset: pause.wait(0.05) or data)

    found = run_load(scripted(script), "--connections", 2, "--messages", 5)
    for key in "latency_p50_us", "latency_p99_us", "latency_max_us":
        assert 49_000 < found[key] <= found["elapsed_seconds"] * 1e6


def test_latencies_are_within_one_percent():
    spec = importlib.util.spec_from_file_location("echo_client", CLIENT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    draw = random.Random(2)
    samples = sorted(10 ** draw.uniform(-7, 2) for _ in range(9999))
    latencies = module.Latencies()
    for sample in samples:
        latencies.add(sample)
    assert latencies.percentile(50) == pytest.approx(samples[4999], rel=0.01)
    assert latencies.percentile(99) == pytest.approx(samples[9899], rel=0.01)
    assert latencies.percentile(100) <= latencies.longest == samples[-1]
    assert len(latencies.buckets) < 2500


def limit_open_files(soft, hard):
    resource = pytest.importorskip("resource")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most != resource.RLIM_INFINITY and most < hard:
        pytest.skip(f"only {most} open files allowed here")
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_load_raises_the_soft_limit_of_open_files(server):
    found = run_limited(server.port, limit_open_files(64, 512), 200)
    assert (found.returncode, found.stderr) == (0, b"")


def test_load_beyond_the_hard_limit_of_open_files(server):
    result = run_limited(server.port, limit_open_files(64, 128), 200)
    assert_fails(result, r"the system allows 128 \(ulimit -Hn\)")


def run_limited(port, limit, connections):
    return subprocess.run(
        command(port, "--load", "--messages", 1, "--connections", connections),
        stdin=subprocess.DEVNULL, capture_output=True, timeout=30,
        preexec_fn=limit)


@pytest.mark.skipif(WINDOWS, reason="no pseudo-terminals")
def test_load_draws_progress_on_a_terminal(server):
    import pty
    master, terminal = pty.openpty()
    with started_client(server.port, "--load", "--connections", 5,
                        "--duration", 2, stderr=terminal) as client:
        os.close(terminal)
        drawn = b""
        with contextlib.suppress(OSError):      # EIO: the client has ended
            while True:
                part = os.read(master, 4096)
                if not part:
                    break
                drawn += part
        output, _ = client.communicate(timeout=IO_TIMEOUT)
    os.close(master)
    assert client.returncode == 0
    assert re.search(rb"\r\[#+ *\] +\d+% \d+ messages/s", drawn)
    assert re.search(rb"\r +\r$", drawn)        # and wiped at the end
    assert output.startswith(b"connections  5\n") and b"\r" not in output


# ---------------------------------------------------------------------------
# Servers that fail, one way each
# ---------------------------------------------------------------------------

def close_at_once(conn):
    pass


def close_in_the_middle(conn):
    conn.sendall(receive(conn, 6)[:3])


def reset_in_the_middle(conn):
    receive(conn, 6)
    reset(conn)


def reset_at_the_end(conn):
    echo(conn)
    reset(conn)


def flip(at):
    """A script that echoes with one wrong bit."""
    def change(data, offset):
        if offset <= at < offset + len(data):
            data = bytearray(data)
            data[at - offset] ^= 1
        return data

    def flipped(conn):
        echo(conn, change)
    return flipped


def one_too_many(conn):
    echo(conn)
    conn.sendall(b"x")


def one_too_few(conn):
    conn.sendall(receive(conn, 6)[:-1])


def never_answer(conn):
    receive(conn, 6)
    test_over.wait(30)


def never_read(conn):
    test_over.wait(30)


def never_close(conn):
    echo(conn)
    test_over.wait(30)


def never_come_to_an_end(conn):
    """Echoes correctly, then sends without end."""
    conn.sendall(receive(conn, 6))
    with contextlib.suppress(OSError):
        while not test_over.is_set():
            conn.sendall(b"more" * 1000)


def speak_first(conn):
    conn.sendall(b"220 welcome\r\n")
    test_over.wait(30)


def speak_of_something_else(conn):
    receive(conn, 6)
    conn.sendall("\u9999\u6e2f\U0001f600".encode() + b"\xff\x00\x1b[2J")
    test_over.wait(30)


def close_one_way(conn):
    """Ends its own direction, but goes on reading."""
    conn.shutdown(socket.SHUT_WR)
    receive(conn, MB)


def add_one_at_once(conn):
    conn.sendall(receive(conn, 6) + b"+")
    test_over.wait(30)


def add_one_after_a_while(conn):
    """... which only a client that waits for the end notices."""
    echo(conn)
    test_over.wait(0.5)     # the pace of this server
    conn.sendall(b"+")
    test_over.wait(30)


def stall_in_the_middle(conn):
    conn.sendall(receive(conn, 6)[:3])
    test_over.wait(30)


LOST = "server (closed|reset) the connection "
SILENT = f"server silent for {PATIENCE} s after "

MODES = {
    "message": (["--message", "sixsix"], None),
    "interactive": ([], b"sixsi\n"),
    "file": (["--file", "-"], b"sixsix"),
    "load": (["--load", "--connections", "1", "--size", "6",
              "--messages", "1"], None),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("script, pattern", [
    (close_at_once, LOST),
    (close_in_the_middle, LOST + "after 3 of 6 bytes"),
    (flip(4), "not identical: first difference at offset 4 "),
    (one_too_many, "too many bytes"),
    (one_too_few, LOST + "after 5 of 6 bytes"),
    (never_answer, SILENT + "0 of 6 bytes"),
    (never_close, SILENT),
    (reset, LOST + "|cannot connect to "),
    (reset_in_the_middle, "server reset the connection after 0 of 6 bytes"),
    (reset_at_the_end, "server reset the connection after "),
    (never_come_to_an_end, "too many bytes|not identical"),
    (speak_first, "too many bytes|not identical"),
    (speak_of_something_else, r"offset 0 \(sent 0x[0-9a-f]+, received 0xe9"),
    (close_one_way, LOST + "(after 0 of 6 bytes|before the first message"
     "|before the end of the input)"),
    (add_one_at_once, "too many bytes|not identical"),
    (add_one_after_a_while, "too many bytes"),
    (stall_in_the_middle, SILENT + "3 of 6 bytes"),
    (never_read, SILENT + "0 of 6 bytes"),
], ids=lambda value: getattr(value, "__name__", ""))
def test_failing_server(scripted, mode, script, pattern):
    args, data = MODES[mode]
    # The client gives up on silent servers only; the others may be slow.
    patience = PATIENCE if pattern.startswith(SILENT) else 25
    result = run_client(scripted(script), "--timeout", patience, *args,
                        input=data)
    assert_fails(result, pattern)


@pytest.mark.parametrize("mode", MODES)
def test_a_server_that_dribbles(scripted, mode):
    """No byte comes as late as the time limit, but all together take
    longer."""
    def script(conn):
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in receive(conn, 6):
            test_over.wait(0.7)
            conn.sendall(bytes([byte]))
        echo(conn)

    args, data = MODES[mode]
    result = run_client(scripted(script), "--timeout", 4, *args, input=data)
    assert (result.returncode, result.stderr) == (0, b""), result


def test_interactive_garbage_between_two_messages(scripted):
    """The client notices it when the next line is sent, not before."""
    heard = threading.Event()

    def script(conn):
        conn.sendall(receive(conn, 4))
        conn.sendall("\u9999".encode())
        heard.set()
        echo(conn)

    with started_client(scripted(script)) as client:
        client.stdin.write(b"one\n")
        client.stdin.flush()
        assert heard.wait(IO_TIMEOUT)
        client.stdin.write(b"two\n")
        client.stdin.flush()
        assert client.wait(IO_TIMEOUT) == 1
        assert re.fullmatch(rb"echo_client: (not identical: first difference "
                            rb"at offset 0|too many bytes).*\r?\n",
                            client.stderr.read())


def test_load_when_one_of_many_is_served_badly(scripted):
    numbers = iter(range(100))

    def script(conn):
        (never_answer if next(numbers) == 7 else echo)(conn)

    result = run_client(scripted(script), "--load", "--connections", 20,
                        "--messages", 5, "--timeout", PATIENCE)
    assert_fails(result, r"connection \d+: " + SILENT
                 + "0 of 64 bytes of message 1")


def test_difference_far_into_a_file(scripted, random_file):
    result = run_client(scripted(flip(7_000_001)), "--file",
                        random_file(8 * MB))
    assert_fails(result, "first difference at offset 7000001 ")


def test_difference_in_a_large_load_message(scripted):
    result = run_client(scripted(flip(1_500_000)), "--load", "--size", MB,
                        "--connections", 1, "--messages", 2)
    assert_fails(result, "connection 1: message 2: not identical: first "
                         f"difference at offset {1_500_000 - MB} ")


def test_interactive_reports_the_message_not_the_session(scripted):
    result = run_client(scripted(flip(8)), input=b"first\nsecond\n")
    assert_fails(result, "first difference at offset 2 ")
    assert result.stdout == PROMPT + ANSWER + b"first\n" + PROMPT


def test_file_closed_while_there_is_more_to_send(scripted):
    with started_client(scripted(close_in_the_middle), "--file",
                        "-") as client:
        client.stdin.write(b"sixsix")
        client.stdin.flush()            # without an end of input
        assert client.wait(IO_TIMEOUT) == 1
        assert client.stderr.read().startswith(
            b"echo_client: server closed the connection after 3 of 6 bytes")


def test_file_reset_while_the_sender_is_blocked(scripted, random_file):
    def script(conn):
        receive(conn, 1)
        reset(conn)

    result = run_client(scripted(script), "--file", random_file(16 * MB))
    assert_fails(result, LOST + "after 0 of [0-9]+ bytes")


def test_load_names_one_connection_and_counts_all(scripted):
    everybody = threading.Barrier(8, timeout=IO_TIMEOUT)

    def script(conn):
        receive(conn, 64)
        everybody.wait()                # all eight end together

    result = run_client(scripted(script), "--load", "--connections", 8)
    assert_fails(result, "connection [1-8]: server closed the connection "
                         r"after 0 of 64 bytes of message 1 came back "
                         r"\(8 of 8 connections failed\)")


def test_load_counts_a_connection_once(scripted):
    result = run_client(scripted(flip(100)), "--load", "--connections", 1)
    assert_fails(result, "connection 1: message 2: not identical: first "
                         "difference at offset 36 ")
    assert b"connections failed" not in result.stderr


def test_load_notices_answers_for_another_connection(scripted):
    first, second = [], []
    both = threading.Barrier(2, timeout=IO_TIMEOUT)

    def script(conn):
        mine, other = (first, second) if both.wait() else (second, first)
        mine.append(receive(conn, 64))
        both.wait()
        conn.sendall(other[0])
        test_over.wait(30)

    result = run_client(scripted(script), "--load", "--connections", 2)
    assert_fails(result, "message 1: not identical")


def test_load_notices_the_previous_message(scripted):
    def script(conn):
        message = receive(conn, 64)
        conn.sendall(message)
        receive(conn, 64)
        conn.sendall(message)
        test_over.wait(30)

    result = run_client(scripted(script), "--load", "--connections", 1)
    assert_fails(result, "connection 1: message 2: not identical")


# ---------------------------------------------------------------------------
# Korean: what the client says itself. Prompts, keys of JSON and what the
# server echoes stay. test_language.py compares the texts of the two languages.
# ---------------------------------------------------------------------------

KOREAN = {"LC_ALL": "ko_KR.UTF-8", "PYTHONIOENCODING": "utf-8"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("script, pattern", [
    (close_in_the_middle,
     "6바이트 중 3바이트가 돌아온 뒤에 서버가 연결을 닫았습니다"),
    (reset_in_the_middle,
     "6바이트 중 0바이트가 돌아온 뒤에 서버가 연결을 강제로 끊었습니다"),
    (flip(4), r"보낸 것과 다릅니다. 처음 다른 곳은 오프셋 4입니다\(보낸 값 "
     "0x[0-9a-f]+, 받은 값 0x[0-9a-f]+"),
    (one_too_many, "보낸 것보다 많은 바이트가 돌아왔습니다"),
    (stall_in_the_middle, "6바이트 중 3바이트가 돌아온 뒤에 서버가 "
     f"{PATIENCE}초 동안 응답하지 않았습니다"),
], ids=lambda value: getattr(value, "__name__", ""))
def test_failing_server_in_korean(scripted, mode, script, pattern):
    args, data = MODES[mode]
    patience = PATIENCE if script is stall_in_the_middle else 25
    result = run_client(scripted(script), "--timeout", patience, *args,
                        input=data, **KOREAN)
    assert_fails(result, "echo_client: "
                 + ("연결 1번: .*" if mode == "load" else "") + pattern)


def test_no_server_in_korean(closed_port):
    result = run_client(closed_port, "--lang", "ko", **{
        **KOREAN, "LC_ALL": "C.UTF-8"})
    assert_fails(result, f"127.0.0.1:{closed_port}에서 기다리는 서버가 "
                         "없습니다.* 서버를 먼저 실행하십시오")


def test_prompts_are_the_book_s_in_korean_too(server):
    result = run_client(server.port, input="하나\nQ\n".encode(), **KOREAN)
    assert result.stdout == PROMPT + ANSWER + "하나\n".encode() + PROMPT
    assert (result.returncode, result.stderr) == (0, b"")


def test_file_in_korean(server):
    result = run_client(server.port, "--file", "-", input=b"12345", **KOREAN)
    assert re.fullmatch(r"일치합니다: 5바이트가 \d+\.\d{3}초 만에 "
                        r"돌아왔습니다\(\d+\.\d MB/s\)\n",
                        result.stdout.decode()), result
    assert (result.returncode, result.stderr) == (0, b"")


def test_load_in_korean(server):
    load = server.port, "--load", "--connections", 5, "--messages", 2
    result = run_client(*load, **KOREAN)
    assert re.fullmatch(
        r"연결         5개\n"
        r"메시지       64바이트씩 10개, 모두 그대로 돌아왔습니다\n"
        r"걸린 시간    \d+\.\d{3}초\n"
        r"속도         초당 메시지 \d+개\n"
        r"처리량       \d+\.\d MB/s\n"
        r"지연 시간    p50 [\d.]+ [um]s, p99 [\d.]+ [um]s, "
        r"최대 [\d.]+ [um]s\n", result.stdout.decode()), result
    assert (result.returncode, result.stderr) == (0, b"")
    result = run_client(*load, "--json", **KOREAN)
    assert set(json.loads(result.stdout)) == KEYS


def test_help_in_korean():
    result = run_client("--help", **KOREAN)
    assert (result.returncode, result.stderr) == (0, b"")
    text = result.stdout.decode()
    assert text.startswith("사용법: ")
    assert "파일을 보내는 동시에 돌려받습니다" in text
    examples = [line for line in text.splitlines()
                if "echo_client.py 9190" in line]
    assert len(examples) == 7
    assert all(line.startswith("  ") for line in examples)  # not wrapped
    assert all(key in text for key in KEYS)
    assert max(map(language.width, text.splitlines())) < 80


@pytest.mark.parametrize("args, said", [
    (["0"], "'0' 값은 1에서 65535까지의 정수가 아닙니다"),
    (["9190", "--timeout", "nan"], "0보다 크고 86400 이하인 초가 아닙니다"),
    (["9190", "--json"], "--json 옵션은 --load와 함께 써야 합니다"),
], ids=["port", "timeout", "json"])
def test_wrong_command_line_in_korean(args, said):
    result = run_client(*args, **KOREAN)
    assert (result.returncode, result.stdout) == (2, b"")
    assert said in result.stderr.decode().splitlines()[-1]


def test_a_console_without_korean_gets_english(closed_port):
    result = run_client(closed_port, **{**KOREAN,
                                        "PYTHONIOENCODING": "cp437"})
    assert_fails(result, "nothing listens on ")


def test_a_console_of_korean_windows(server, closed_port):
    """Its code page is not UTF-8. The echo stays as it was sent."""
    korean = {**KOREAN, "PYTHONIOENCODING": "cp949"}
    result = run_client(closed_port, **korean)
    assert "기다리는 서버가 없습니다" in result.stderr.decode("cp949")
    result = run_client(server.port, "--file", "-", input=b"x", **korean)
    assert result.stdout.decode("cp949").startswith("일치합니다: 1바이트가")
    result = run_client(server.port, input="하나\n".encode(), **korean)
    assert ANSWER + "하나\n".encode() in result.stdout


def test_all_that_the_client_says_is_in_both_languages():
    """No text of several words is outside of a pair."""
    def find(node):
        if isinstance(node, ast.Dict):      # test_language.py compares these
            return
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.search("[a-z] [a-z]", node.value):
                yield node.lineno, node.value
        for child in ast.iter_child_nodes(node):
            is_docstring = isinstance(child, ast.Expr) and isinstance(
                child.value, ast.Constant)
            if not is_docstring:
                yield from find(child)

    assert not list(find(ast.parse(CLIENT.read_text(encoding="utf-8"))))


# ---------------------------------------------------------------------------
# Other failures, and the way out
# ---------------------------------------------------------------------------

@pytest.mark.parametrize("mode", MODES)
def test_no_server(closed_port, mode):
    args, data = MODES[mode]
    result = run_client(closed_port, *args, input=data)
    assert_fails(result, f"nothing listens on 127.0.0.1:{closed_port} .*"
                         "start the server first")


@pytest.fixture
def full_port():
    """A listener that never accepts and whose queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.skipif(WINDOWS, reason="Windows refuses when the queue is full")
@pytest.mark.parametrize("mode", MODES)
def test_no_answer_to_connect(full_port, mode):
    args, data = MODES[mode]
    result = run_client(full_port, "--timeout", 0.5, *args, input=data)
    assert_fails(result, f"cannot connect to 127.0.0.1:{full_port}: timed out")


@pytest.mark.skipif(WINDOWS, reason="Windows refuses when the queue is full")
def test_load_names_the_connection_that_was_not_opened():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        result = run_client(listener.getsockname()[1], "--load", "--timeout",
                            0.5, "--connections", 10)
    assert_fails(result, r"connection \d+: cannot connect: timed out "
                         r"\(\d of 10 connections failed\)")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("host", ["two..dots", "::1%nowhere"])
def test_unknown_host(mode, host):
    args, data = MODES[mode]        # resolving these hosts needs no network
    result = run_client(9190, "--host", host, *args, input=data)
    assert_fails(result, f"cannot resolve host '{host}'")


@pytest.mark.parametrize("mode", ["message", "load"])
@pytest.mark.parametrize("host", ["\uc11c\ubc84..", "x" * 300, "", "a\nb..",
                                  "\udcff.."], ids=ascii)
def test_odd_host(mode, host):
    args, data = MODES[mode]
    result = run_client(9190, "--host", host, *args, input=data)
    assert_fails(result, "cannot (resolve host|connect to) ")


def test_unreadable_file(server, tmp_path):
    result = run_client(server.port, "--file", tmp_path / "missing")
    assert_fails(result, "cannot open .*missing")
    assert_fails(run_client(server.port, "--file", tmp_path), "cannot open ")


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"),
                    reason="no file at hand that opens but cannot be read")
def test_file_that_opens_but_cannot_be_read(server):
    result = run_client(server.port, "--file", "/proc/self/mem")
    assert_fails(result, "cannot read '/proc/self/mem': ")


@pytest.mark.parametrize("args", [
    (), ("0",), ("65536",), ("-1",), ("echo",), ("",), ("9190", "9191"),
    ("9190", "--what"), ("9190", "--host"),
    ("9190", "--timeout", "0"), ("9190", "--timeout", "nan"),
    ("9190", "--timeout", "soon"),
    ("9190", "--message", "a", "--file", "b"), ("9190", "--load", "--file",
                                                "b"),
    ("9190", "--messages", "5"), ("9190", "--connections", "5"),
    ("9190", "--size", "5"), ("9190", "--duration", "5"), ("9190", "--json"),
    ("9190", "--message", "a", "--json"),
    ("9190", "--load", "--connections", "0"),
    ("9190", "--load", "--messages", "-5"),
    ("9190", "--load", "--messages", "1.5"),
    ("9190", "--load", "--size", "0"),
    ("9190", "--load", "--duration", "-1"),
    ("9190", "--load", "--mess", "5"),
], ids=" ".join)
def test_wrong_command_line(args):
    result = run_client(*args)
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.startswith(b"usage: ")
    assert b"Traceback" not in result.stderr


def test_help_shows_examples_and_the_keys_of_json():
    result = run_client("--help")
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"echo_client.py 9190 --message hello" in result.stdout
    for key in KEYS:
        assert key.encode() in result.stdout


@pytest.mark.parametrize("args", [["--message", "hello"], [], ["--file", "-"],
                                  ["--load"]], ids=" ".join)
def test_nobody_reads_the_output(server, args):
    reader, writer = os.pipe()
    os.close(reader)
    with started_client(server.port, *args, stdin=subprocess.DEVNULL,
                        stdout=writer) as client:
        os.close(writer)
        errors = client.stderr.read()
        assert client.wait(IO_TIMEOUT) == 1
    assert re.fullmatch(rb"echo_client: cannot write standard output: .*\s+",
                        errors)


@pytest.mark.skipif(WINDOWS, reason="there it interrupts the read of a "
                                    "console, but not that of a pipe")
def test_interrupt_at_the_prompt(server):
    with started_client(server.port) as client:
        assert client.stdout.read(len(PROMPT)) == PROMPT
        interrupt(client)
        assert_interrupted(client)


@pytest.mark.parametrize("args, script", [
    (["--message", "sixsix"], never_answer),
    (["--file", "-"], never_answer),    # the sender waits for more input
    (["--file", str(CLIENT)], never_close),
    (["--load", "--size", "6"], never_answer),
    (["--load", "--size", "6", "--duration", "60"], echo),
], ids=["message", "file-waiting-for-input", "file-waiting-for-close",
        "load-stalled", "load-busy"])
def test_interrupt(scripted, args, script):
    busy = threading.Event()

    def tell(conn):
        conn.recv(1, socket.MSG_PEEK)
        busy.set()
        script(conn)

    with started_client(scripted(tell), *args) as client:
        client.stdin.write(b"sixsix")
        client.stdin.flush()
        assert busy.wait(IO_TIMEOUT)
        interrupt(client)
        assert_interrupted(client)


def test_interrupt_while_the_sender_is_blocked(scripted, random_file):
    connected = threading.Event()

    def script(conn):
        conn.recv(1)
        connected.set()
        never_read(conn)

    with started_client(scripted(script), "--file",
                        random_file(16 * MB)) as client:
        assert connected.wait(IO_TIMEOUT)
        interrupt(client)
        assert_interrupted(client)
