"""--trace, and the options made for it: --work and --post.

Each test makes the server do something, stops it, and lets Trace.check compare
the whole file with what the server printed.
"""

import collections
import contextlib
import decimal
import functools
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
                     together, wait_until, windows_path)

OPERATIONS = {"READ", "WRITE", "failed READ", "failed WRITE"}
LIFE = {  # the instants, and the names of their arguments
    "accept": ["conn", "peer"],
    "close": ["conn", "reason", "received", "sent"],
    "stop": ["reason"],
    "listener closed": [],
    "cancel": ["conn", "what", "why"],
    "sentinel posted": [],
    "drain over": [],
    "cut": [],
}


def parse(text):
    """Returns the events; their times are whole nanoseconds."""
    events = json.loads(text, parse_float=decimal.Decimal)
    for event in events:
        if "ts" in event:
            ns = event["ts"] * 1000
            assert ns == int(ns) >= 0, event
            event["ts"] = int(ns)
    return events


def repair(text):
    """Does what readers do with the file of a killed server: drops the last
    line if it is cut, and closes the bracket."""
    *lines, last = text.split("\n")
    try:
        json.loads(last)
        lines.append(last)
    except ValueError:
        pass
    return "\n".join(lines).rstrip(",") + "\n]\n"


class Trace:
    """A trace file, and the checks that every one must pass."""

    def __init__(self, text):
        assert text.startswith("[\n{") and text.isascii()
        # Each line is an event, with a comma after all but the last.
        lines = text.split("\n")
        assert text.endswith("}\n]\n") and lines[-2:] == ["]", ""]
        assert all(re.fullmatch(r"\{.*\},", x) for x in lines[1:-3])
        written = parse(text)
        assert len(written) == len(lines) - 3
        assert all(x["pid"] == 1 for x in written)
        # Sort by time; events of the same time keep their order.
        self.events = sorted(written, key=lambda x: x.get("ts", 0))
        self.read_metadata(written)
        self.check_order(written)
        self.read_slices()

    def read_metadata(self, written):
        process, info = written[:2]
        assert re.fullmatch(r"iocp_echo_server \d+\.\d+\.\d+",
                            process["args"]["name"])
        assert [process["name"], info["name"]] == ["process_name",
                                                   "trace_info"]
        self.info = info["args"]
        self.workers = self.info["workers"]
        self.lanes, places = {}, {}
        for event in self.select("M")[2:]:
            (value,) = event["args"].values()
            kind = {"thread_name": self.lanes,
                    "thread_sort_index": places}[event["name"]]
            assert event["tid"] not in kind
            kind[event["tid"]] = value
        order = [self.lanes[tid] for tid in sorted(places, key=places.get)]
        assert len(order) == len(self.lanes)
        assert order[:1 + self.workers] == [
            "main", *(f"worker {i + 1}" for i in range(self.workers))]
        assert order[1 + self.workers:] in ([], ["sweep"])

    def check_order(self, written):
        """The events of a thread, and those of a connection, are written in
        the order of time, so sorting them changes nothing."""
        last = {}
        for event in written:
            if event["ph"] in "BEbe":
                key = event.get("id", event["tid"])
                assert last.get(key, 0) <= event["ts"]
                last[key] = event["ts"]

    def read_slices(self):
        """A slice ends on the thread where it began, the inner before the
        outer."""
        self.slices, open_ones = [], collections.defaultdict(list)
        for event in self.events:
            stack = open_ones[event.get("tid")]
            if event["ph"] == "B":
                stack.append({**event, "end": None})
                self.slices.append(stack[-1])
            elif event["ph"] == "E":
                assert stack and stack[-1]["cat"] == event["cat"]
                stack.pop()["end"] = event["ts"]
        assert not any(open_ones.values())
        self.slices.sort(key=lambda x: x["ts"])

    def lane(self, event):
        return self.lanes[event["tid"]]

    def select(self, phase, category=None, *names):
        """Returns the events of that kind, in order of time."""
        return [x for x in self.events if x["ph"] == phase
                and category in (None, x.get("cat"))
                and (not names or x["name"] in names)]

    def packets(self, *names):
        """Returns the packets that workers took, in order of time."""
        return [x for x in self.slices if x["cat"] == "packet"
                and (not names or x["name"] in names)]

    def works(self):
        return [x for x in self.slices if x["cat"] == "work"]

    def life(self, name):
        """Returns the instants of that name."""
        return self.select("i", "life", name)

    def most_live(self):
        """Returns the most connections that were live at once."""
        ups = [1 if x["name"] == "accept" else -1
               for x in self.select("i", "life", "accept", "close")]
        live = list(itertools.accumulate(ups))
        assert min(live) >= 0 and live[-1] == 0
        return max(live)

    # ------------------------------- all of it -----------------------------

    def check(self, server):
        """Checks that it is complete and agrees with what the server
        printed."""
        self.totals = server.check_end()
        assert self.workers == int(server.ready["workers"])
        assert self.info["concurrency"] == int(server.ready["concurrency"])
        self.check_shapes()
        self.check_packets(server)
        self.check_connections()
        self.check_posts(server)
        self.check_stop(server)
        return self

    def check_shapes(self):
        for event in self.events[1:]:
            phase, category = event["ph"], event.get("cat")
            keys = set(event) - {"ph", "pid", "tid", "ts", "cat"}
            args = list(event.get("args", []))
            name = event.get("name")
            assert event["tid"] in self.lanes and event["ts"] >= 0
            if phase == "M":
                continue
            if phase in "BE":
                assert self.lane(event).startswith("worker ")
                assert category in ("packet", "work")
            if category == "work":
                assert keys == {"name"}
                assert name in ("work sleep", "work spin")
            elif phase == "B":
                assert keys == {"name", "args"}
                assert args == (["conn", "bytes", "error"]
                                if name in OPERATIONS else ["bytes"])
                assert name in OPERATIONS | {"sentinel", "posted"}
                assert (event["args"].get("error", 0) != 0) == (
                    name.startswith("failed "))
            elif phase == "E":
                assert not keys
            elif phase in "be":
                assert keys == {"name", "args", "id"} and category == "kernel"
                assert event["id"] == str(event["args"]["conn"])
                assert name in ("READ", "WRITE")
                assert args == ["conn", "bytes", "error"]
                assert phase == "e" or event["args"]["error"] == 0
            else:
                assert phase == "i" and keys == {"name", "args", "s"}
                assert event["s"] == "t" and category == "life"
                assert args == LIFE[name]

    def check_packets(self, server):
        """Each worker has the packets that it counted, then its sentinel."""
        printed = {"worker " + fields(x)["id"]: int(fields(x)["completions"])
                   for x in server.matching("^worker ")}
        of_worker = collections.defaultdict(list)
        for each in self.packets():
            of_worker[self.lane(each)].append(each["name"])
        assert set(of_worker) == set(printed)
        for worker, names in of_worker.items():
            assert sum(x in OPERATIONS for x in names) == printed[worker]
            assert names.index("sentinel") == len(names) - 1
        reads = self.packets("READ")
        for work in self.works():
            assert any(x["tid"] == work["tid"] and x["ts"] <= work["ts"]
                       and work["end"] <= x["end"] for x in reads)

    def check_connections(self):
        """Main accepts a connection; then the kernel and a thread own it in
        turn. The thread that took its last packet posts or closes it."""
        accepts, closes = self.life("accept"), self.life("close")
        assert [x["args"]["conn"] for x in accepts] == [
            i + 1 for i in range(self.totals["connections"])]
        assert sorted(x["args"]["conn"] for x in closes) == [
            i + 1 for i in range(self.totals["connections"])]
        assert all(self.lane(x) == "main" for x in accepts)
        for key in ("received", "sent"):
            assert sum(x["args"][key] for x in closes) == self.totals[key]
        if accepts:
            self.most_live()
        tracks = collections.defaultdict(list)
        for event in self.events:
            if event["ph"] in "be" or event.get("name") in ("accept", "close"):
                tracks[event["args"]["conn"]].append(event)
        for accept, *track, close in tracks.values():
            assert (accept["name"], close["name"]) == ("accept", "close")
            self.check_track(accept, track, close)

    def check_track(self, accept, track, close):
        begins, ends = track[::2], track[1::2]
        assert len(begins) == len(ends)
        for before, begin, end in zip([accept, *ends], begins, ends):
            assert (begin["ph"], end["ph"]) == ("b", "e")
            assert begin["name"] == end["name"]
            assert begin["tid"] == before["tid"]
        assert close["tid"] == (ends[-1] if ends else accept)["tid"]
        # READ -> WRITE of the same bytes -> READ. After a short WRITE, another
        # one sends the rest.
        received = sent = 0
        for begin, end, following in itertools.zip_longest(begins, ends,
                                                           begins[1:]):
            offered, done = begin["args"]["bytes"], end["args"]["bytes"]
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
        """Each packet ends an operation. An operation without a packet failed
        as it was posted. A worker posts or closes only while it has that
        connection's packet."""
        def key(event):
            return tuple(event["args"].items()), event["tid"], event["ts"]
        packets = [x for x in self.packets() if x["name"] in OPERATIONS]
        taken = collections.Counter(map(key, packets))
        ended = collections.Counter(map(key, self.select("e", "kernel")))
        assert not taken - ended
        self.failed_posts = list((ended - taken).elements())
        assert all(dict(args)["error"] != 0
                   for args, _, _ in self.failed_posts)
        logged = server.matching("at-once=1$")
        assert not logged or len(logged) == len(self.failed_posts)
        held = collections.defaultdict(list)
        for each in packets:
            held[each["tid"], each["args"]["conn"]].append(each)
        for event in self.select("b", "kernel") + self.life("close"):
            mine = held[event["tid"], event["args"]["conn"]]
            assert self.lane(event) == "main" or any(
                x["ts"] <= event["ts"] <= x["end"] for x in mine)

    def check_stop(self, server):
        """The order is: stop, listener closed, all closed, sentinels."""
        (stop,), (closed,) = self.life("stop"), self.life("listener closed")
        (over,), posts = self.life("drain over"), self.life("sentinel posted")
        assert fields(server.matching("^stopping ")[0])["reason"] == (
            stop["args"]["reason"])
        assert stop["ts"] <= closed["ts"] <= over["ts"]
        assert {self.lane(x) for x in (stop, closed, over, *posts)} == {"main"}
        sentinels = self.packets("sentinel")
        assert len(posts) == len(sentinels) == self.workers
        assert all(x["ts"] <= y["ts"] for x, y in zip(posts, sentinels))
        for close in self.life("close"):
            assert close["ts"] <= over["ts"] <= posts[0]["ts"]
        for cancel in self.life("cancel"):
            assert cancel["args"]["what"] in ("READ", "everything")
            assert self.lane(cancel) == {
                "stop": "main", "idle": "sweep"}[cancel["args"]["why"]]


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
    """Returns a behaviour for Load."""
    def behaviour(again):
        # Before Load gives up: a killed server may never answer.
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
    assert [(x["name"], x["args"]["bytes"]) for x in trace.packets()
            if x["name"] != "sentinel"] == [
        ("READ", 12), ("WRITE", 12), ("READ", 0)]
    accepted = fields(server.matching("^accept ")[0])
    (accept,), (close,) = trace.life("accept"), trace.life("close")
    assert accept["args"] == {"conn": 1, "peer": accepted["peer"]}
    assert close["args"] == {"conn": 1, "reason": "eof", "received": 12,
                             "sent": 12}
    assert trace.life("stop")[0]["args"] == {"reason": STOP_REASON}
    assert not trace.life("cancel") and not trace.life("cut")
    assert trace.info["cpus"] == os.cpu_count()
    assert trace.info["work"] == 0
    assert re.fullmatch(
        r"Windows \d+\.\d+\.\d+" if WINDOWS else r"Wine \S+",
        trace.info["system"])
    started = time.strptime(trace.info["started"], "%Y-%m-%dT%H:%M:%SZ")
    assert started.tm_year >= 2024
    assert server.errors == []


def test_no_connection(traced):
    server = traced("--workers", 1)
    server.stop()
    trace = traced.read().check(server)
    assert [x["name"] for x in trace.packets()] == ["sentinel"]


def test_a_file_that_is_there_is_replaced(traced):
    traced.path.write_text("old\n" * 100_000, encoding="ascii")
    server = traced()
    server.check_serves()
    server.stop()
    traced.read().check(server)


def test_long_streams_of_many_clients(traced):
    """Full buffers, several threads at once, READs of every length."""
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
    """READs fail, and WRITEs, most of those when they are posted."""
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
    failed = trace.packets("failed READ", "failed WRITE")
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
    (failed,) = trace.packets("failed READ")
    assert cancel["ts"] <= failed["ts"]
    assert "sweep" in trace.lanes.values()


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
    assert trace.most_live() == 3
    # Their READs, to tell the clients; and what a client does not answer.
    cancels = [x["args"] for x in trace.life("cancel")]
    assert {x["conn"] for x in cancels} == {1, 2, 3}
    assert {x["why"] for x in cancels} == {"stop"}
    assert len(trace.packets("failed READ")) >= 3


def test_places_are_given_out_again(traced):
    """A place is free once its connection's close is in the trace."""
    server = traced("--max-connections", 2, "--workers", 3)
    load = Load(server, 6, lambda again: again() and server.check_serves())
    server.stop()
    load.end()
    trace = traced.read().check(server)
    assert trace.most_live() <= 2


def test_stop_with_sends_that_are_stuck(traced):
    server = traced("--drain-timeout", 1, "--workers", 2)
    with closing_all() as clients:
        for _ in range(10):
            clients.append(server.connect(receive_buffer=4096))
        offer(server, clients)
        server.stop()
    trace = traced.read().check(server)
    (cut,) = trace.life("cut")
    assert trace.lane(cut) == "main"
    assert cut["ts"] > trace.life("stop")[0]["ts"]
    assert {x["args"]["conn"] for x in trace.life("cancel")
            if x["args"]["what"] == "everything"} == set(range(1, 11))
    assert len(trace.packets("failed WRITE")) == 10


def test_a_thousand_workers(traced):
    server = traced("--workers", 1024)
    server.check_serves()
    server.stop()
    traced.read().check(server)


# ------------------------- what can happen to a file -----------------------

def test_the_file_is_written_while_nothing_happens(traced):
    """The server does not wait for the next event."""
    server = traced("--workers", 1)
    server.check_serves()

    def closed():
        text = traced.path.read_text(encoding="ascii")
        return '"name":"close"' in text and text
    assert wait_until(closed)
    text = closed()
    assert text.endswith("}")
    assert max(x["ts"] for x in parse(repair(text)) if "ts" in x) > 0
    server.stop()
    traced.read().check(server)


def test_a_killed_server_leaves_whole_lines(traced):
    whole = 0

    def stream(client):
        """Sends more than the server can have echoed by then. The Wine server
        does not survive a kill that it learns of with news of a socket
        (launch.end): these sockets have none. It may keep them."""
        with contextlib.suppress(OSError):
            client.sendall(b"s" * (32 << 20))
    for _ in range(3):
        server = traced("--workers", 2, "--buffer", BUF_SIZE)
        with closing_all() as clients:
            clients += [server.connect(timeout=2) for _ in range(8)]
            with together([functools.partial(stream, x) for x in clients]):
                assert wait_until(
                    lambda: traced.path.stat().st_size > 300_000)
                server.process.kill()
                server.wait_end()
        text = traced.path.read_text(encoding="ascii")
        events = parse(repair(text))
        assert {"M", "B", "E", "b", "e", "i"} == {x["ph"] for x in events}
        # The kill may cut a write in half.
        whole += text.endswith("}")
    assert whole >= 1


def check_goes_on(server, name, said):
    """Checks that the trace ended with one line that names the file, and that
    the server went on and stops as usual."""
    assert wait_until(lambda: server.errors)
    for _ in range(3):
        server.check_serves()
    load = Load(server, 4, ping_pong(server))
    server.stop()
    load.end()
    (line,) = server.errors
    said = "iocp_echo_server: " + said.format(re.escape(f"'{name}'"))
    assert re.fullmatch(said, line), line


NOT_ON_A_DISK = (r"CreateFile {} \(trace\) failed: not the name of a file on "
                 r"a disk \(ERROR_INVALID_NAME 123\); no trace is written, "
                 "the server goes on")
FULL = (r"WriteFile {} \(trace\) failed: the disk is full \(ERROR_DISK_FULL "
        r"112\); the trace ends here, the server goes on")


def test_a_directory_that_is_not_there(traced):
    traced.path = traced.path.parent / "missing" / "trace.json"
    check_goes_on(traced(), windows_path(traced.path),
                  r"CreateFile {} \(trace\) failed: no such directory "
                  r"\(ERROR_PATH_NOT_FOUND 3\); no trace is written, .+")
    assert not traced.path.parent.exists()


def test_a_device(start_server):
    check_goes_on(start_server("--trace", "NUL"), "NUL", NOT_ON_A_DISK)


@pytest.mark.skipif(WINDOWS, reason="pipes are no files there")
@pytest.mark.parametrize("opened", [True, False])
def test_a_pipe_that_nobody_reads(traced, opened):
    """Neither clients nor the stop wait until somebody does."""
    os.mkfifo(traced.path)
    # Opened to read and write: then Linux does not wait for the other side.
    end = os.open(traced.path, os.O_RDWR) if opened else None
    try:
        server = traced()
        with server.connect() as client:
            for _ in range(200):
                assert echo(client, b"x" * 100) == b"x" * 100
        check_goes_on(server, windows_path(traced.path), NOT_ON_A_DISK)
    finally:
        if opened:
            os.close(end)


@pytest.mark.skipif(WINDOWS, reason="no limit to the size of a file")
def test_a_disk_that_gets_full(traced, tmp_path):
    """The last write that succeeds may be short and cut a line."""
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
    check_goes_on(server, windows_path(traced.path), FULL)
    text = traced.path.read_text(encoding="ascii")
    assert len(text) <= 512_000
    assert len(parse(repair(text))) > 1000


# ------------------------------ --work, --post -----------------------------

@pytest.mark.parametrize("value, kind", [
    ("40", "sleep"), ("40:sleep", "sleep"), ("40:spin", "spin")])
def test_work(traced, value, kind):
    # 40 ms, less a step of Windows' clock, which are up to 16 ms.
    server = traced("--workers", 3, "--work", value)
    with closing_all() as clients:
        for _ in range(4):
            clients.append(server.connect())
        started = time.monotonic()
        for client in clients:
            client.sendall(b"x" * 100)
        for client in clients:
            assert client.recv(1000) == b"x" * 100
            assert time.monotonic() - started >= 0.024
        for client in clients:
            client.close()
    server.stop()
    trace = traced.read().check(server)
    assert trace.info["work"] == 40
    assert trace.info["spins"] == (kind == "spin")
    # One for each message, as an end of file is no work.
    works = trace.works()
    assert [x["name"] for x in works] == [f"work {kind}"] * 4
    assert all(x["end"] - x["ts"] >= 24_000_000 for x in works)
    reads = [x for x in trace.packets("READ") if x["args"]["bytes"] > 0]
    assert len(reads) == 4


def test_no_work(traced):
    server = traced("--work", 0)
    server.check_serves()
    server.stop()
    trace = traced.read().check(server)
    assert trace.info["work"] == 0 and not trace.works()


@pytest.mark.parametrize("kind", ["sleep", "spin"])
def test_work_does_not_hold_the_stop(traced, kind):
    """The stop waits neither for work in progress nor for packets that wait
    for a worker, and the server echoes what it received."""
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
    works = trace.works()
    assert len(works) <= 2
    assert all(x["end"] - x["ts"] < 60_000_000_000 for x in works)
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
    assert sorted(x["args"]["bytes"]
                  for x in trace.packets("posted")) == expected


def test_nothing_is_posted_by_default(start_server):
    server = start_server("-v")
    server.check_serves()
    server.stop()
    assert not server.matching("^posted ")


def test_posted_packets_do_not_end_a_worker(start_server):
    """More posted packets than workers: their key is not a sentinel's."""
    server = start_server("-v", "--workers", 1, "--post", 1000)
    server.wait_for("^posted ", count=1000)
    server.check_serves()
    server.stop()
