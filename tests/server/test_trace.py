"""--trace, and what it is for: --work and --post.

Trace.check goes through a whole file: each test makes the server do something
else, stops it and has the file checked against what the server printed.
"""

import collections
import decimal
import itertools
import json
import os
import re
import shutil
import time

import pytest

from clients import Load, offer
from support import (BUF_SIZE, IO_TIMEOUT, LARGE_BUFFER, STOP_REASON, WINDOWS,
                     closing_all, connect, echo, exchange, fields, reset,
                     wait_until, windows_path)

OPERATIONS = {"READ", "WRITE", "failed READ", "failed WRITE"}
LIFE = {  # instants: the names of their arguments
    "accept": ["conn", "peer", "live"],
    "close": ["conn", "reason", "received", "sent", "live"],
    "stop": ["reason"],
    "listener closed": [],
    "cancel": ["conn", "what", "why"],
    "sentinel posted": ["worker"],
    "drain over": [],
    "cut": [],
}
COUNTERS = {"connections": "live", "busy workers": "busy"}


def parse(text):
    """The events, their times as whole nanoseconds."""
    events = json.loads(text, parse_float=decimal.Decimal)
    for event in events:
        for key in {"ts", "dur"} & set(event):
            ns = event[key] * 1000
            assert ns == int(ns) >= 0, event
            event[key] = int(ns)
    return events


def repair(text):
    """What readers do with the file of a server that was killed: drop the
    last line if it is cut, and the comma; close the bracket."""
    return text[:text.rindex("\n")].rstrip(",\n") + "\n]\n"


class Trace:
    """A trace file, and what has to be true of each."""

    def __init__(self, text):
        assert text.startswith("[\n{") and text.isascii()
        # An event a line, with a comma but after the last.
        lines = text.split("\n")
        assert text.endswith("}\n]\n") and lines[-2:] == ["]", ""]
        assert all(re.fullmatch(r"\{.*\},", x) for x in lines[1:-3])
        written = parse(text)
        assert len(written) == len(lines) - 3
        assert all(x["pid"] == 1 for x in written)
        # Sorted by time; of equals the first written comes first.
        self.events = sorted(written, key=lambda x: x.get("ts", 0))
        self.check_metadata(written)
        self.check_connection_order(written)

    def check_metadata(self, written):
        first = list(itertools.takewhile(lambda x: x["ph"] == "M", written))
        assert first == self.select("M")
        named = collections.defaultdict(list)
        for event in first:
            named[event["name"]].append(event)
        (info,) = named.pop("trace_info")
        (process,) = named.pop("process_name")
        self.info = info["args"]
        self.workers = self.info["workers"]
        assert process["args"] == {
            "name": f"iocp_echo_server {self.info['version']}"}
        names = {0: "main", self.workers + 1: "idle sweep",
                 self.workers + 2: "console control"}
        self.lanes = {x["tid"]: x["args"]["name"]
                      for x in named.pop("thread_name")}
        expected = {lane: names.get(lane, f"worker {lane}")
                    for lane in range(self.workers + 3)}
        if self.workers + 1 not in self.lanes:
            del expected[self.workers + 1]
        assert self.lanes == expected
        assert {x["tid"]: x["args"] for x in named.pop("thread_sort_index")
                } == {lane: {"sort_index": lane} for lane in expected}
        assert not named

    def check_connection_order(self, written):
        """What happens to one connection is written in that order, so that
        sorting (with equals in the order of the file) can't spoil it."""
        last = {}
        for event in written:
            if event["ph"] in "be":
                assert last.get(event["id"], 0) <= event["ts"]
                last[event["id"]] = event["ts"]

    def select(self, phase, category=None, *names):
        """Events of that kind, in order of time."""
        return [x for x in self.events if x["ph"] == phase
                and category in (None, x.get("cat"))
                and (not names or x["name"] in names)]

    def life(self, name):
        """The instants of that name."""
        return self.select("i", "life", name)

    # ------------------------------- all of it -----------------------------

    def check(self, server):
        """It is complete, and agrees with what the server printed."""
        self.totals = server.check_end()
        assert self.workers == int(server.ready["workers"])
        assert self.info["concurrency"] == int(server.ready["concurrency"])
        self.check_shapes()
        self.check_slices(server)
        self.check_connections()
        self.check_posts(server)
        self.check_counters()
        self.check_stop(server)
        return self

    def check_shapes(self):
        for event in self.events:
            phase, category = event["ph"], event.get("cat")
            keys = set(event) - {"ph", "pid", "tid", "name", "args"}
            args = list(event["args"])
            assert event["tid"] in self.lanes
            if phase == "M":
                continue
            if phase == "X":
                assert keys == {"ts", "dur", "cat"}
                assert 1 <= event["tid"] <= self.workers
                if category == "packet":
                    assert args == ["conn", "bytes", "error"]
                    assert event["name"] in OPERATIONS | {"sentinel", "posted"}
                    assert (event["args"]["error"] != 0) == (
                        event["name"].startswith("failed "))
                else:
                    assert category == "work" and args == ["conn"]
                    assert event["name"] in ("work sleep", "work spin")
            elif phase in "be":
                assert keys == {"ts", "cat", "id"}
                assert event["id"] == str(event["args"]["conn"])
                if category == "kernel":
                    assert event["name"] in ("READ", "WRITE")
                    assert args == ["conn", "bytes", "error"][:2 + (
                        phase == "e")]
                else:
                    assert category == "worker"
                    assert event["name"] == self.lanes[event["tid"]]
            elif phase == "i":
                assert keys == {"ts", "cat", "s"}
                assert event["s"] == "t" and category == "life"
                assert args == LIFE[event["name"]]
            else:
                assert phase == "C" and keys == {"ts"} and event["tid"] == 0
                assert args == [COUNTERS[event["name"]]]

    def check_slices(self, server):
        """One slice for each packet, one after the other."""
        printed = {int(fields(x)["id"]): int(fields(x)["completions"])
                   for x in server.matching("^worker ")}
        of_worker = collections.defaultdict(list)
        for each in self.select("X", "packet"):
            of_worker[each["tid"]].append(each)
        for worker in range(1, self.workers + 1):
            slices = of_worker[worker]
            for one, next_one in zip(slices, slices[1:]):
                assert one["ts"] + one["dur"] <= next_one["ts"]
            counts = collections.Counter(
                "operation" if x["name"] in OPERATIONS else x["name"]
                for x in slices)
            assert counts["operation"] == printed[worker]
            assert counts["sentinel"] == 1
            assert slices[-1]["name"] == "sentinel"
        for each in self.select("X", "packet", "sentinel", "posted"):
            assert each["args"]["conn"] == 0
        reads = {(x["tid"], x["args"]["conn"]): [] for x in self.events
                 if x["ph"] == "X"}
        for each in self.select("X", "packet", "READ"):
            reads[each["tid"], each["args"]["conn"]].append(each)
        for work in self.select("X", "work"):
            assert any(x["ts"] <= work["ts"]
                       and work["ts"] + work["dur"] <= x["ts"] + x["dur"]
                       for x in reads[work["tid"], work["args"]["conn"]])

    def check_connections(self):
        """The kernel and the workers have each connection in turn: from the
        accept to the close somebody has it, and never two."""
        accepts = {str(x["args"]["conn"]): x for x in self.life("accept")}
        closes = {str(x["args"]["conn"]): x for x in self.life("close")}
        tracks = collections.defaultdict(list)
        for event in self.events:
            if event["ph"] in "be":
                tracks[event["id"]].append(event)
        assert list(accepts) == [str(i + 1) for i in range(len(accepts))]
        assert set(accepts) == set(closes) == set(tracks)
        assert len(accepts) == self.totals["connections"]
        assert all(x["tid"] == 0 for x in accepts.values())
        for key, total in (("received", "received"), ("sent", "sent")):
            assert sum(x["args"][key] for x in closes.values()) == (
                self.totals[total])
        for conn, track in tracks.items():
            self.check_track(track, accepts[conn], closes[conn])

    def check_track(self, track, accept, close):
        begins, ends = track[::2], track[1::2]
        assert len(begins) == len(ends)
        for begin, end in zip(begins, ends):
            assert (begin["ph"], end["ph"]) == ("b", "e")
            assert begin["cat"] == end["cat"] and begin["name"] == end["name"]
        for end, begin in zip(ends, begins[1:]):
            assert end["ts"] == begin["ts"] and end["tid"] == begin["tid"]
            assert end["cat"] != begin["cat"]
        assert begins[0]["name"] == "main" and ends[-1]["cat"] == "worker"
        assert begins[0]["ts"] == accept["ts"]
        assert (ends[-1]["ts"], ends[-1]["tid"]) == (close["ts"], close["tid"])
        # READ -> WRITE of as much -> READ, or the rest after a short WRITE.
        received = sent = 0
        kernel = [(b, e) for b, e in zip(begins, ends) if b["cat"] == "kernel"]
        for (begin, end), after in itertools.zip_longest(kernel, kernel[1:]):
            offered, done = begin["args"]["bytes"], end["args"]["bytes"]
            following = after[0] if after else None
            assert done <= offered
            if end["args"]["error"] != 0:
                continue
            if begin["name"] == "READ":
                assert offered in (BUF_SIZE, LARGE_BUFFER)
                if following and following["name"] == "WRITE":
                    assert following["args"]["bytes"] == done > 0
                    received += done
            else:
                sent += done
                if following and following["name"] == "WRITE":
                    assert following["args"]["bytes"] == offered - done > 0
        assert received == close["args"]["received"]
        assert sent == close["args"]["sent"]

    def check_posts(self, server):
        """A packet's slice is the end of an operation. An operation that ends
        without is one whose post failed at once."""
        def key(event):
            return tuple(event["args"].items()), event["tid"], event["ts"]
        packets = collections.Counter(map(key, (
            x for x in self.select("X", "packet") if x["name"] in OPERATIONS)))
        ended = collections.Counter(map(key, self.select("e", "kernel")))
        assert not packets - ended
        self.failed_posts = list((ended - packets).elements())
        assert all(dict(args)["error"] != 0
                   for args, _, _ in self.failed_posts)
        logged = server.matching("at-once=1$")
        assert not logged or len(logged) == len(self.failed_posts)

    def check_counters(self):
        """Each step is one up or down, and the last is back at nothing."""
        for name, key in COUNTERS.items():
            values = [x["args"][key] for x in self.select("C")
                      if x["name"] == name]
            for one, following in zip([0, *values], [*values, 0]):
                assert abs(following - one) == bool(one or following)
            assert all(x >= 0 for x in values)
            assert name != "busy workers" or max(values) <= self.workers
        live = 0
        for event in self.select("i", "life", "accept", "close"):
            live += 1 if event["name"] == "accept" else -1
            assert event["args"]["live"] == live
        assert len(self.select("C")) == (
            len(self.life("accept")) + len(self.life("close"))
            + 2 * len(self.select("X", "packet")))

    def check_stop(self, server):
        """Stop, listener closed, everything closed, and then the sentinels."""
        (stop,), (closed,) = self.life("stop"), self.life("listener closed")
        (over,), posts = self.life("drain over"), self.life("sentinel posted")
        assert fields(server.matching("^stopping ")[0])["reason"] == (
            stop["args"]["reason"])
        assert stop["ts"] <= closed["ts"]
        assert stop["tid"] == self.workers + 2 and over["tid"] == 0
        assert [x["args"]["worker"] for x in posts] == list(
            range(1, self.workers + 1))
        assert all(x["tid"] == 0 for x in posts)
        sentinels = self.select("X", "packet", "sentinel")
        assert len(sentinels) == self.workers
        assert all(x["ts"] <= y["ts"] for x, y in zip(posts, sentinels))
        assert over["ts"] <= posts[0]["ts"]
        for close in self.life("close"):
            assert close["ts"] <= over["ts"] <= sentinels[0]["ts"]
        for cancel in self.life("cancel"):
            assert cancel["args"]["what"] in ("READ", "everything")
            why = cancel["args"]["why"]
            assert cancel["tid"] == {"stop": 0,
                                     "idle": self.workers + 1}[why]


@pytest.fixture
def traced(tmp_path, start_server):
    """traced(*arguments): a server that writes traced.path."""
    def start(*arguments, **options):
        return start_server("--trace", windows_path(start.path), *arguments,
                            **options)
    start.path = tmp_path / "trace.json"
    start.read = lambda: Trace(start.path.read_text(encoding="ascii"))
    return start


def ping_pong(server, size=64):
    """A behaviour for Load."""
    def behaviour(again):
        # In time for Load: what a killed server leaves may never answer.
        with connect(server.host, server.port, timeout=5) as client:
            while again():
                if echo(client, b"p" * size) != b"p" * size:
                    break
    return behaviour


# ------------------------------ a whole life -------------------------------

def test_one_connection(traced):
    server = traced("-v", "--workers", 2, "--concurrency", 1)
    with server.connect("127.0.0.1") as client:
        assert echo(client, b"hello, world") == b"hello, world"
    server.wait_for("^close ")
    server.stop()
    trace = traced.read().check(server)
    assert [(x["name"], x["args"]["bytes"]) for x in trace.select("X")
            if x["name"] != "sentinel"] == [
        ("READ", 12), ("WRITE", 12), ("READ", 0)]
    accepted = fields(server.matching("^accept ")[0])
    (accept,), (close,) = trace.life("accept"), trace.life("close")
    assert accept["args"] == {"conn": 1, "peer": accepted["peer"], "live": 1}
    assert close["args"] == {"conn": 1, "reason": "eof", "received": 12,
                             "sent": 12, "live": 0}
    assert trace.life("stop")[0]["args"] == {"reason": STOP_REASON}
    assert not trace.life("cancel") and not trace.life("cut")
    assert trace.info["cpus"] == os.cpu_count()
    assert trace.info["work"] == "" and trace.info["max_connections"] == 0
    assert trace.info["wine"] is not WINDOWS
    assert re.fullmatch(
        r"Windows \d+\.\d+\.\d+" if WINDOWS else r"Wine \S+ on \S+ \S+",
        trace.info["system"])
    started = time.strptime(trace.info["started"], "%Y-%m-%dT%H:%M:%SZ")
    assert started.tm_year >= 2024
    assert server.errors == []


def test_no_connection(traced):
    server = traced("--workers", 1, "--max-connections", 7)
    server.stop()
    trace = traced.read().check(server)
    assert trace.info["max_connections"] == 7
    assert [x["name"] for x in trace.select("X")] == ["sentinel"]


def test_a_file_that_is_there_is_replaced(traced):
    traced.path.write_text("old\n" * 100_000, encoding="ascii")
    server = traced()
    server.check_serves()
    server.stop()
    traced.read().check(server)


def test_long_streams_of_many_clients(traced):
    """Many buffers full, several threads at once, READs of every length."""
    server = traced("--workers", 4)
    data = bytes(range(256)) * 1000
    for _ in range(3):
        with closing_all() as clients:
            for _ in range(4):
                clients.append(server.connect())
            for number, client in enumerate(clients):
                assert exchange(client, data, [number * 999]) == data
    server.stop()
    trace = traced.read().check(server)
    assert trace.totals["received"] == 12 * len(data)


def test_resets(traced):
    """READs that fail, and WRITEs, most of them when they are posted."""
    server = traced("-v", "--workers", 2, "--work", 30)
    for number in range(1, 13):
        client = server.connect()
        client.sendall(b"r" * 100)
        server.wait_for(f"^read conn={number} ")  # and works at it now
        if number % 2:
            assert client.recv(100) == b"r" * 100
        reset(client)
    server.wait_for("^close ", count=12)
    totals = server.stop()
    trace = traced.read().check(server)
    failed = trace.select("X", "packet", "failed READ", "failed WRITE")
    # (A reset that a READ meets is an end of file for Wine 8.)
    assert len(failed) + len(trace.failed_posts) == totals["failed"] >= 6


def test_idle_timeout(traced):
    server = traced("--idle-timeout", 1, "-v", "--workers", 2)
    with server.connect() as client:
        assert echo(client, b"x") == b"x"
        assert client.recv(1) == b""
        server.wait_for("^close .* reason=idle")
        server.stop()
    trace = traced.read().check(server)
    (cancel,) = trace.life("cancel")
    assert cancel["args"] == {"conn": 1, "what": "everything", "why": "idle"}
    (failed,) = trace.select("X", "packet", "failed READ")
    assert cancel["ts"] <= failed["ts"]
    assert trace.lanes[trace.workers + 1] == "idle sweep"


# -------------------------------- the stop ---------------------------------

@pytest.mark.parametrize("workers", [1, 4])
def test_stop_under_load(traced, workers):
    server = traced("--workers", workers)
    load = Load(server, 16, ping_pong(server))
    server.stop()
    load.end()
    trace = traced.read().check(server)
    assert trace.totals["received"] == trace.totals["sent"] > 0
    assert server.errors == []


def test_stop_at_the_connection_limit(traced):
    server = traced("--max-connections", 3)
    with closing_all() as clients:
        for _ in range(3):
            clients.append(server.connect())
            assert echo(clients[-1], b"hello") == b"hello"
        for _ in range(5):
            clients.append(server.connect())
        server.stop()
    trace = traced.read().check(server)
    assert max(x["args"]["live"] for x in trace.life("accept")) == 3
    # Cancelled to tell the clients, and what a client does not answer again.
    cancels = [x["args"] for x in trace.life("cancel")]
    assert {x["conn"] for x in cancels} == {1, 2, 3}
    assert {(x["what"], x["why"]) for x in cancels} == {("READ", "stop")}
    assert len(trace.select("X", "packet", "failed READ")) >= 3


def test_places_are_given_out_again(traced):
    """A place is free when its connection's close is in the trace."""
    server = traced("--max-connections", 2, "--workers", 3)
    load = Load(server, 6, lambda again: again() and server.check_serves())
    server.stop()
    load.end()
    trace = traced.read().check(server)
    assert max(x["args"]["live"] for x in trace.life("accept")) <= 2


def test_stop_with_sends_that_are_stuck(traced):
    server = traced("--drain-timeout", 1, "--workers", 2)
    with closing_all() as clients:
        for _ in range(10):
            clients.append(server.connect(receive_buffer=4096))
        offer(server, clients)
        server.stop()
    trace = traced.read().check(server)
    (cut,) = trace.life("cut")
    assert cut["tid"] == 0 and cut["ts"] > trace.life("stop")[0]["ts"]
    assert {x["args"]["conn"] for x in trace.life("cancel")
            if x["args"]["what"] == "everything"} == set(range(1, 11))
    assert len(trace.select("X", "packet", "failed WRITE")) == 10


def test_a_thousand_workers(traced):
    server = traced("--workers", 1024)
    server.check_serves()
    server.stop()
    traced.read().check(server)


# ------------------------- what can happen to a file -----------------------

def test_the_file_is_written_while_nothing_happens(traced):
    """Not only when the next event comes."""
    server = traced("--workers", 1)
    server.check_serves()

    def closed():
        text = traced.path.read_text(encoding="ascii")
        return '"name":"close"' in text and text
    assert wait_until(closed)
    text = closed()
    assert text.endswith("},\n")
    assert parse(repair(text))[-1]["ts"] > 0
    server.stop()
    traced.read().check(server)


def test_a_killed_server_leaves_whole_lines(traced):
    whole = 0
    for _ in range(3):
        server = traced("--workers", 2)
        load = Load(server, 8, ping_pong(server))
        assert wait_until(lambda: traced.path.stat().st_size > 300_000)
        server.process.kill()
        server.wait_end()
        load.end()
        text = traced.path.read_text(encoding="ascii")
        events = parse(repair(text))
        assert {"M", "X", "b", "e", "i", "C"} == {x["ph"] for x in events}
        # The system may cut a write in half that the kill interrupts.
        whole += text.endswith("},\n")
    assert whole >= 1


def check_goes_on(server, said):
    """The trace has ended, with one line; the server has not."""
    assert wait_until(lambda: server.errors)
    for _ in range(3):
        server.check_serves()
    load = Load(server, 4, ping_pong(server))
    server.stop()
    load.end()
    (line,) = server.errors
    assert re.fullmatch(r"iocp_echo_server: " + said, line), line


def test_a_directory_that_is_not_there(traced):
    traced.path = traced.path.parent / "missing" / "trace.json"
    check_goes_on(traced(), r"CreateFile \(trace\) failed: no such directory "
                  r"\(ERROR_PATH_NOT_FOUND 3\); no trace is written, .+")
    assert not traced.path.parent.exists()


@pytest.mark.skipif(WINDOWS, reason="there is no /dev/full")
def test_a_full_disk(traced):
    traced.path = "/dev/full"
    check_goes_on(traced(), r"WriteFile \(trace\) failed: the disk is full "
                  r"\(ERROR_DISK_FULL 112\); the trace ends here, .+")


@pytest.mark.skipif(WINDOWS, reason="no limit to the size of a file")
def test_a_disk_that_gets_full(traced, tmp_path):
    """The write before the one that fails is short: a line may be cut."""
    # Half a megabyte, in blocks of 512 bytes.
    wine = tmp_path / "bin" / "wine"
    wine.parent.mkdir()
    wine.write_text('#!/bin/sh\ntrap "" XFSZ\nulimit -f 1000\n'
                    f'exec {shutil.which("wine")} "$@"\n', encoding="ascii")
    wine.chmod(0o755)
    server = traced("--workers", 4, env={
        "PATH": f"{wine.parent}{os.pathsep}{os.environ['PATH']}"})
    load = Load(server, 8, ping_pong(server))
    assert wait_until(lambda: server.errors)
    load.end()
    check_goes_on(server, r"WriteFile \(trace\) failed: the disk is full "
                  r"\(ERROR_DISK_FULL 112\); the trace ends here, .+")
    text = traced.path.read_text(encoding="ascii")
    assert len(text) <= 512_000
    assert len(parse(repair(text))) > 1000


# ------------------------------ --work, --post -----------------------------

@pytest.mark.parametrize("value, kind", [
    ("40", "sleep"), ("40:sleep", "sleep"), ("40:spin", "spin")])
def test_work(traced, value, kind):
    server = traced("--workers", 3, "--work", value)
    with closing_all() as clients:
        for _ in range(4):
            clients.append(server.connect())
        started = time.monotonic()
        for client in clients:
            client.sendall(b"x" * 100)
        for client in clients:
            assert client.recv(1000) == b"x" * 100
            assert time.monotonic() - started >= 0.040
        for client in clients:
            client.close()
    server.stop()
    trace = traced.read().check(server)
    assert trace.info["work"] == f"40:{kind}"
    # An end of file is no work: one for each message.
    works = trace.select("X", "work")
    assert [x["name"] for x in works] == [f"work {kind}"] * 4
    assert all(x["dur"] >= 40_000_000 for x in works)
    reads = [x for x in trace.select("X", "packet", "READ")
             if x["args"]["bytes"] > 0]
    assert len(reads) == 4
    assert all(x["dur"] >= 40_000_000 for x in reads)


def test_no_work(traced):
    server = traced("--work", 0)
    server.check_serves()
    server.stop()
    trace = traced.read().check(server)
    assert trace.info["work"] == "" and not trace.select("X", "work")


@pytest.mark.parametrize("kind", ["sleep", "spin"])
def test_work_does_not_hold_the_stop(traced, kind):
    """Neither what is being worked at nor what waits for a worker; and what
    was received is echoed."""
    server = traced("--workers", 2, "--work", f"60000:{kind}")
    with closing_all() as clients:
        for _ in range(6):
            clients.append(server.connect())
            clients[-1].sendall(b"work")

        def all_read():
            text = traced.path.read_text(encoding="ascii")
            return text.count('"name":"accept"') == 6
        assert wait_until(all_read)
        time.sleep(0.1)
        server.stop(timeout=IO_TIMEOUT)
    trace = traced.read().check(server)
    works = trace.select("X", "work")
    assert len(works) <= 2
    assert all(x["dur"] < 60_000_000_000 for x in works)
    assert trace.totals["received"] == trace.totals["sent"] == 24


@pytest.mark.parametrize("count", [1, 30])
def test_posted_packets(traced, count):
    server = traced("-v", "--workers", 3, "--post", count)
    server.wait_for(r"^posted worker=[123] bytes=\d+$", count=count)
    server.check_serves()
    server.stop()
    expected = list(range(1, count + 1))
    assert sorted(int(fields(x)["bytes"])
                  for x in server.matching("^posted ")) == expected
    trace = traced.read().check(server)
    assert sorted(x["args"]["bytes"] for x in trace.select(
        "X", "packet", "posted")) == expected


def test_nothing_is_posted_by_default(start_server):
    server = start_server("-v")
    server.check_serves()
    server.stop()
    assert not server.matching("^posted ")


def test_posted_packets_do_not_end_a_worker(start_server):
    """More of them than workers: a sentinel's key is not theirs."""
    server = start_server("-v", "--workers", 1, "--post", 1000)
    server.wait_for("^posted ", count=1000)
    server.check_serves()
    server.stop()
