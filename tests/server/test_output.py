"""What the server prints: the lines people read and scripts grep."""

import re
import subprocess

import launch
from support import (IO_TIMEOUT, PROGRAM, START_TIMEOUT, STOP_REASON,
                     STOP_SIGNAL, TEXT, connect, echo, exchange, fields,
                     free_port, start_process, wait_until)

PORT = r"port=\d+"
EVENTS = [
    rf"ready {PORT} address=\S+ workers=\d+ concurrency=\d+",
    r"accept conn=\d+ peer=\S+:\d+ live=\d+",
    r"read conn=\d+ worker=\d+ bytes=\d+",
    r"write conn=\d+ worker=\d+ bytes=\d+",
    r"failed conn=\d+ worker=\d+ mode=(READ|WRITE) code=\d+",
    r"close conn=\d+ reason=(eof|error|idle|stopped) received=\d+ sent=\d+ "
    r"live=\d+",
    r"stopping reason=\S+ live=\d+",
    r"worker id=\d+ completions=\d+",
    r"stopped connections=\d+ received=\d+ sent=\d+ failed=\d+ live=\d+",
]


def test_the_life_of_one_connection(start_server):
    server = start_server("-v", "--workers", 2)
    with server.connect() as client:
        assert echo(client, b"hello, world") == b"hello, world"
    server.wait_for("^close ")
    totals = server.stop()
    lines = [re.sub(r"worker=\d+", "worker=W", line) for line in server.lines]
    lines = [re.sub(r"peer=127\.0\.0\.1:\d+", "peer=P", x) for x in lines]
    assert lines[:8] == [
        f"ready port={server.port} address=[::] workers=2 concurrency="
        f"{server.ready['concurrency']}",
        "accept conn=1 peer=P live=1",
        "read conn=1 worker=W bytes=12",
        "write conn=1 worker=W bytes=12",
        "read conn=1 worker=W bytes=0",
        "close conn=1 reason=eof received=12 sent=12 live=0",
        f"stopping reason={STOP_REASON} live=0",
        f"worker id=1 completions={fields(lines[7])['completions']}",
    ]
    assert lines[-1] == ("stopped connections=1 received=12 sent=12 failed=0 "
                         "live=0")
    # One worker took each of its packets: READ, WRITE, end of file.
    assert totals["completions"] == 3


def test_every_line_is_an_event_and_ascii(start_server):
    server = start_server("-v")
    data = bytes(range(256)) * 1000
    for _ in range(5):
        with server.connect() as client:
            assert exchange(client, data) == data
    with server.connect() as client:
        assert echo(client, b"stopped") == b"stopped"
        server.stop()
    for line in server.lines:
        assert any(re.fullmatch(event, line) for event in EVENTS), line


def test_totals_add_up(start_server):
    server = start_server("-v")
    sizes = [0, 1, 4096, 70_000, 300_000]
    for size in sizes:
        data = b"t" * size
        with server.connect() as client:
            assert exchange(client, data) == data
    server.wait_for("^close ", count=len(sizes))
    totals = server.stop()
    assert totals["connections"] == len(sizes)
    assert totals["connections"] == len(server.matching("^accept "))
    assert totals["received"] == totals["sent"] == sum(sizes)
    assert totals["failed"] == 0
    packets = len(server.matching("^(read|write|failed) "))
    assert totals["completions"] == packets
    closes = [fields(line) for line in server.matching("^close ")]
    assert sum(int(each["received"]) for each in closes) == sum(sizes)
    reads = [int(fields(x)["bytes"]) for x in server.matching("^read ")]
    assert sum(reads) == sum(sizes)


def test_not_verbose_by_default(start_server):
    server = start_server()
    server.check_serves()
    server.stop()
    events = [line.split()[0] for line in server.lines]
    assert events == (["ready", "stopping"]
                      + ["worker"] * int(server.ready["workers"])
                      + ["stopped"])


def test_quiet_prints_nothing():
    port = free_port()
    process = start_process(
        launch.command(PROGRAM, port, "--quiet"), env=launch.environment(),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)

    def serves():
        try:
            with connect("127.0.0.1", port) as client:
                return echo(client, b"hello") == b"hello"
        except OSError:
            return False
    assert wait_until(serves, START_TIMEOUT)
    process.send_signal(STOP_SIGNAL)
    out, err = process.communicate(timeout=IO_TIMEOUT)
    assert (process.returncode, out, err) == (0, b"", b"")


def test_nobody_reads_the_output_any_more():
    """`server | head -1`: the server drops what it can't print, and goes
    on."""
    process = start_process(
        launch.command(PROGRAM, 0, "-v"), env=launch.environment(), **TEXT,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    port = int(fields(process.stdout.readline())["port"])
    process.stdout.close()
    for _ in range(20):
        with connect("127.0.0.1", port) as client:
            assert echo(client, b"hello") == b"hello"
    process.send_signal(STOP_SIGNAL)
    assert process.wait(IO_TIMEOUT) == 0
