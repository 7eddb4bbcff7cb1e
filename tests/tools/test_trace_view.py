"""scripts/trace_view.py: from a trace to a page, and the page in a browser."""

import json
import os
import random
import re
import subprocess
import sys
import xml.etree.ElementTree

import pytest

import trace_view
from browser import MARKED_SIZES, SIZES, check_layout, in_browser, use
from support import ROOT

SCRIPT = ROOT / "scripts" / "trace_view.py"

RUN_TIMEOUT = 60      # seconds; a large trace takes the script about two
EVENTS = 100_000      # a large trace


# ----------------------------- made-up traces -----------------------------

class Trace:
    """Builds a trace like the server's, event by event, in microseconds. A
    thread is a worker's number; 0 is main."""

    def __init__(self, workers=2, concurrency=1, system="Wine 8.0", work=0):
        self.events = []
        self.meta("process_name", 0, name="iocp_echo_server 1.0.0")
        self.meta("trace_info", 0, system=system, workers=workers,
                  concurrency=concurrency, cpus=2, work=work, spins=False,
                  started="2026-11-22T10:00:00Z")
        self.meta("thread_name", 0, name="main")
        for worker in range(1, workers + 1):
            self.meta("thread_name", worker, name=f"worker {worker}")

    def event(self, ph, thread, ts, **more):
        self.events.append({"ph": ph, "pid": 1, "tid": 4000 + 4 * thread,
                            "ts": round(ts, 3), **more})

    def meta(self, kind, thread, **args):
        self.event("M", thread, 0, name=kind, args=args)

    def life(self, ts, name, thread=0, **args):
        self.event("i", thread, ts, s="t", cat="life", name=name, args=args)

    def kernel(self, ph, ts, thread, operation, conn, size, **error):
        self.event(ph, thread, ts, cat="kernel", name=operation, id=str(conn),
                   args={"conn": conn, "bytes": size, **error})

    def accept(self, ts, conn, peer="127.0.0.1:50123"):
        self.life(ts, "accept", conn=conn, peer=peer)
        self.kernel("b", ts + 5, 0, "READ", conn, 4096)

    def take(self, ts, worker, name, **args):
        self.event("B", worker, ts, cat="packet", name=name, args=args)

    def done(self, ts, worker):
        self.event("E", worker, ts, cat="packet")

    def posted(self, ts, worker, name, length=5):
        self.take(ts, worker, name, bytes=0)
        self.done(ts + length, worker)

    def packet(self, ts, worker, name, conn, size, then, length=20, error=0,
               reason="eof", hold=5, work=None):
        """Adds a packet of an operation, and the post or close after it.

        `then` is ("WRITE", bytes) or "close", and comes after `hold`. `work`
        is a kind of --work with its begin and end."""
        self.kernel("e", ts, worker, name.split()[-1], conn, size, error=error)
        self.take(ts, worker, name, conn=conn, bytes=size, error=error)
        if work:
            self.event("B", worker, work[1], cat="work", name=work[0])
            self.event("E", worker, work[2], cat="work", name=work[0])
        if then == "close":
            self.life(ts + hold, "close", worker, conn=conn, reason=reason,
                      received=64, sent=64)
        else:
            self.kernel("b", ts + hold, worker, then[0], conn, then[1])
        self.done(ts + length, worker)

    def text(self):
        return "[\n" + ",\n".join(map(json.dumps, self.events)) + "\n]\n"

    def model(self):
        return trace_view.make_model(
            *trace_view.read_events(self.text().encode()))


def small_trace(**options):
    """Has two workers and two connections: one echo, an end of file, a
    stop."""
    trace = Trace(**options)
    trace.accept(100, 1)
    trace.packet(200, 2, "READ", 1, 64, ("WRITE", 64), length=30)
    trace.packet(240, 1, "WRITE", 1, 64, ("READ", 4096))
    trace.accept(300, 2)
    trace.packet(400, 1, "READ", 1, 0, "close", hold=10)
    trace.life(500, "stop", reason="ctrl-c")
    trace.life(505, "listener closed")
    trace.life(510, "cancel", conn=2, what="READ", why="stop")
    trace.packet(520, 2, "failed READ", 2, 0, "close", length=30, error=995,
                 reason="stopped", hold=20)
    trace.life(560, "drain over")
    trace.life(561, "sentinel posted")
    trace.life(562, "sentinel posted")
    trace.posted(570, 1, "sentinel")
    trace.posted(575, 2, "sentinel")
    return trace


def large_trace(events=EVENTS, workers=8, conns=40):
    """Has connections that echo over and over, on any worker that is free."""
    dice, trace, now = random.Random(23), Trace(workers, 4), 1000.0
    free = dict.fromkeys(range(1, workers + 1), 0.0)
    ready, pending = {}, {}
    for conn in range(1, conns + 1):
        now += dice.uniform(5, 50)
        trace.accept(now, conn)
        ready[conn], pending[conn] = now + 40, ("READ", 64)
    while len(trace.events) < events:
        conn = min(ready, key=ready.get)
        worker = min(free, key=free.get)
        now = max(ready[conn], free[worker])
        operation, size = pending[conn]
        length = dice.uniform(10, 60)
        then = ("WRITE", size) if operation == "READ" else ("READ", 4096)
        trace.packet(now, worker, operation, conn, size, then, length,
                     hold=length / 5)
        free[worker] = now + length + 1
        ready[conn] = now + length + dice.expovariate(1 / 200)
        pending[conn] = (then[0], size if then[0] == "WRITE"
                         else dice.randrange(1, 4096))
    return trace


def slow_trace(packets=100):
    """Has one client that pauses for some milliseconds again and again."""
    trace = Trace()
    trace.accept(100, 1)
    for i in range(packets):
        trace.packet(5000 * i + 700 * (i % 5) + 5000, 1 + i % 2,
                     *(("WRITE", 1, 64, ("READ", 4096)) if i % 2 else
                       ("READ", 1, 64, ("WRITE", 64))))
    return trace


# ------------------------------ the command -------------------------------

def run(*arguments, **env):
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, encoding="utf-8",
                          timeout=RUN_TIMEOUT, env={**os.environ, **env})


def make_page(folder, text, *arguments):
    """Runs the script on this trace. Returns the page."""
    trace = folder / "trace.json"
    trace.write_text(text, encoding="utf-8")
    done = run(trace, *arguments)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return folder / "trace.html"


def data_of(page):
    """Reads the trace in a page as the browser does."""
    text = page.read_text(encoding="utf-8")
    data = text.split('<script type="application/json" id="trace">')[1]
    return json.loads(data.split("</script>")[0])


def rows_of(table):
    return [dict(zip(table["columns"], row)) for row in table["rows"]]


def test_page_beside_the_trace(tmp_path):
    page = make_page(tmp_path, small_trace().text())
    data = data_of(page)
    assert len(rows_of(data["packets"])) == 6
    assert data["info"]["system"] == "Wine 8.0"
    assert data["info"]["concurrency"] == 1


def test_page_where_asked(tmp_path):
    make_page(tmp_path, small_trace().text(), "-o", tmp_path / "a b.html")
    assert (tmp_path / "a b.html").exists()
    assert not (tmp_path / "trace.html").exists()


def test_page_needs_nothing_else(tmp_path):
    """Its only address is SVG's name, and its policy forbids loading."""
    text = make_page(tmp_path, small_trace().text()).read_text("utf-8")
    assert set(re.findall(r"\w+://[^\s\"'<]+", text)) == {
        "http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in text
    assert not re.search(r"<(link|img|iframe)\b|\bsrc=|@import", text)
    assert "{{" not in text


def test_open_shows_the_page(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(trace_view.webbrowser, "open", opened.append)
    trace = tmp_path / "trace.json"
    trace.write_text(small_trace().text(), encoding="utf-8")
    assert trace_view.main([str(trace)]) == 0
    assert opened == []
    assert trace_view.main([str(trace), "--open"]) == 0
    assert opened == [(tmp_path / "trace.html").as_uri()]


@pytest.mark.parametrize("content", [
    b"", b"\n", b"hello", b"\0" * 100, b"\xff\xfe\x00\x01", b"{", b"[", b"[\n",
    b"[1, 2, 3]", b"{}", b'{"a": [1]}', b"[[[[", b"[" * 200_000, b"null",
    b'[{"ph": "X"}]', b'[{"ph": "X", "ts": 1, "name": "other program"}]',
    b"port,workers\n9190,8\n", b"9" * 10_000, b"[" + b"9" * 10_000 + b"]",
    b'[{"ph": 1}]', b'{"traceEvents": {"ph": "M"}}'],
    ids=lambda content: repr(content[:40]))
def test_not_a_trace(tmp_path, content):
    path = tmp_path / "not a trace"
    path.write_bytes(content)
    done = run(path)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert str(path) in done.stderr and "not a trace" in done.stderr
    assert list(tmp_path.iterdir()) == [path]


def test_korean(tmp_path):
    path = tmp_path / "x"
    path.write_text("[]", encoding="ascii")
    done = run(path, "--lang", "ko", PYTHONIOENCODING="utf-8")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (f"trace_view.py: {path}: 서버의 트레이스가 "
                           "아닙니다(이벤트가 하나도 없습니다)\n")
    path.write_text(small_trace().text()[:-9], encoding="ascii")
    done = run(path, "--lang=ko", PYTHONIOENCODING="utf-8")
    assert (done.returncode, done.stdout) == (0, "")
    assert re.fullmatch("trace_view.py: 트레이스에 끝부분이 없습니다.*\n",
                        done.stderr)


def test_files_that_cannot_be_used(tmp_path):
    trace = tmp_path / "trace.json"
    trace.write_text(small_trace().text(), encoding="utf-8")
    nowhere = tmp_path / "nowhere"
    for arguments in ([nowhere], [tmp_path],
                      [trace, "-o", nowhere / "x"], [trace, "-o", tmp_path],
                      [trace, "--svg", nowhere / "x"]):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (1, ""), arguments
        assert len(done.stderr.splitlines()) == 1
        assert str(tmp_path) in done.stderr


def test_wrong_command_lines(tmp_path):
    trace = tmp_path / "trace.html"
    trace.write_text(small_trace().text(), encoding="utf-8")
    for arguments in ([], ["a", "b"], ["--bogus", trace], [trace, "-o"],
                      [trace, "--svg"], [trace], [trace, "-o", trace],
                      [trace, "-o", "x", "--svg", "x"]):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert "usage:" in done.stderr and "Traceback" not in done.stderr
    assert trace.read_text(encoding="utf-8") == small_trace().text()


# -------------------------- damaged and odd traces ------------------------

def test_killed_server(tmp_path):
    """`]` is missing, and the last line ends in a comma or is cut."""
    whole = small_trace().text()
    body = whole[:whole.rindex("\n]")]
    events, last = len(body.splitlines()) - 1, len(body.splitlines()[-1])
    for cut, lost in ((0, 0), (1, 1), (last // 2, 1), (last - 1, 1)):
        text = body[:len(body) - cut] + ("," if cut == 0 else "")
        page = make_page(tmp_path, text)
        data = data_of(page)
        assert data["remarks"] == {"killed": True}, cut
        assert data["events"] == events - lost, cut
    assert "no proper end" in run(tmp_path / "trace.json").stderr


def test_whole_trace_has_no_remark(tmp_path):
    assert small_trace().model()["remarks"] == {}
    make_page(tmp_path, small_trace().text())
    assert run(tmp_path / "trace.json").stderr == ""


def test_a_line_in_the_middle_is_left_out():
    lines = small_trace().text().splitlines()
    lines[8] = lines[8][:30]
    model = trace_view.make_model(
        *trace_view.read_events("\n".join(lines).encode()))
    assert model["remarks"] == {"unreadable": 1}
    assert len(model["packets"]) == 6


def test_cut_at_every_byte_without_a_traceback():
    data = small_trace().text().encode()
    for end in range(0, len(data), 7):
        try:
            model = trace_view.make_model(*trace_view.read_events(data[:end]))
        except trace_view.NotATrace:
            continue
        trace_view.make_page(model)
        xml.etree.ElementTree.fromstring(trace_view.make_picture(model))


def test_odd_values_without_a_traceback():
    """Any value of any field may be wrong; the rest is shown."""
    odd = [None, True, -1, 1e308, 10 ** 400, float("nan"), float("inf"),
           "text", "", [], {}, [[]], "\ud800", "\0", 3.5]
    dice = random.Random(4)
    for _ in range(800):
        events = json.loads(small_trace().text())
        for _ in range(3):
            event = dice.choice(events)
            where = dice.choice([event, event["args"]
                                 if isinstance(event.get("args"), dict)
                                 and event["args"] else event])
            where[dice.choice(list(where))] = dice.choice(odd)
        try:
            model = trace_view.make_model(
                *trace_view.read_events(json.dumps(events).encode()))
        except trace_view.NotATrace:
            continue
        trace_view.make_page(model)
        xml.etree.ElementTree.fromstring(trace_view.make_picture(model))


def test_any_bytes_without_a_traceback():
    """Damage from a disk or a copy, and impossible numbers."""
    whole, dice = small_trace().text().encode(), random.Random(5)
    odd = [b"1e999", b"-1e999", b"9" * 5000, b"NaN", b"null", b"{",
           b"[" * 5000, b'"\\ud800"', b"1e-400", b"\0", b"\xff"]
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(dice.choice([1, 3, 20])):
            place = dice.randrange(len(data))
            end = place + dice.choice([0, 1, 8, 200])
            data[place:end] = dice.choice([b"", dice.choice(odd),
                                           data[end:end + 100]])
        try:
            model = trace_view.make_model(*trace_view.read_events(bytes(data)))
        except trace_view.NotATrace:
            continue
        trace_view.make_page(model)
        xml.etree.ElementTree.fromstring(trace_view.make_picture(model))


def test_events_in_the_order_of_writing():
    """The file is not sorted, because threads write late."""
    trace, shuffled = small_trace(), small_trace()
    random.Random(1).shuffle(shuffled.events)
    first, second = trace.model(), shuffled.model()
    for part in ("packets", "spans", "connections", "workers", "clock"):
        assert first[part] == second[part], part


# -------------------------------- the model -------------------------------

def test_workers():
    assert small_trace().model()["workers"] == [
        {"worker": 1, "packets": 2, "busy": 45, "park": 240, "share": 0.5,
         "gone": 575},
        {"worker": 2, "packets": 2, "busy": 65, "park": 290, "share": 0.5,
         "gone": 580}]


def test_worker_without_a_packet_is_parked_all_the_time():
    trace = small_trace(workers=3)
    del trace.events[-4:]  # the sentinels
    workers = {row["worker"]: row for row in trace.model()["workers"]}
    assert workers[3] == {"worker": 3, "packets": 0, "busy": 0, "park": 562,
                          "share": 0, "gone": None}
    assert workers[1]["park"] == 240  # the one at the end has 142


def test_ownership_alternates():
    spans = [(span["start"], span["end"], span["operation"] or span["worker"])
             for span in small_trace().model()["spans"] if span["conn"] == 1]
    assert spans == [
        (100, 105, 0), (105, 200, "READ"), (200, 205, 2), (205, 240, "WRITE"),
        (240, 245, 1), (245, 400, "READ"), (400, 410, 1)]


def test_what_is_still_open_ends_with_the_trace():
    trace = Trace()
    trace.accept(10, 1)
    trace.packet(30, 1, "READ", 1, 5, ("WRITE", 5))
    model = trace.model()
    assert model["spans"][-1]["operation"] == "WRITE"
    assert model["spans"][-1]["end"] == model["end"] == 50
    assert model["connections"] == [{"conn": 1, "start": 10, "end": 50}]


def test_what_a_packet_leads_to():
    packets = small_trace().model()["packets"]
    assert [packet["then"] for packet in packets] == [
        "WRITE", "READ", "close", "close", "", ""]
    assert [packet["offered"] for packet in packets[:4]] == [
        4096, 64, 4096, 4096]


def test_a_post_that_fails_at_once():
    trace = Trace()
    trace.accept(10, 1)
    trace.packet(30, 1, "READ", 1, 5, ("WRITE", 5))
    trace.kernel("e", 36, 1, "WRITE", 1, 0, error=10054)
    packet = trace.model()["packets"][0]
    assert packet["then"] == "failed WRITE" and packet["then_error"] == 10054


def test_a_failed_packet_is_no_post_that_failed():
    trace = Trace()
    trace.accept(10, 1)
    trace.packet(30, 1, "READ", 1, 5, ("WRITE", 5))
    trace.packet(60, 1, "failed WRITE", 1, 0, "close", error=10054)
    trace.accept(110, 2)
    trace.packet(130, 1, "READ", 2, 5, ("WRITE", 5), length=90)
    # Another worker takes the packet before the first one's post returns.
    trace.packet(160, 2, "failed WRITE", 2, 0, "close", error=10054)
    assert [packet["then"] for packet in trace.model()["packets"]] == [
        "WRITE", "close", "WRITE", "close"]


def test_work_belongs_to_its_packet():
    trace = Trace(work=20)
    trace.accept(10, 1)
    trace.packet(20, 1, "READ", 1, 5, ("WRITE", 5), length=5, hold=1)
    trace.packet(26, 2, "WRITE", 1, 5, ("READ", 4096), length=2, hold=1)
    trace.packet(30, 1, "READ", 1, 5, ("WRITE", 5), length=90, hold=80,
                 work=("work sleep", 31, 101))
    trace.packet(200, 1, "WRITE", 1, 5, ("READ", 4096))
    packets = trace.model()["packets"]
    assert [(packet["work"], packet["work_start"], packet["work_end"])
            for packet in packets] == [(0, 0, 0), (0, 0, 0), (2, 31, 101),
                                       (0, 0, 0)]


def test_busy_workers():
    assert small_trace().model()["busy"] == [
        [200, 1], [230, 0], [240, 1], [260, 0], [400, 1], [420, 0],
        [520, 1], [550, 0], [570, 1], [575, 0], [575, 1], [580, 0]]


def test_a_packet_that_takes_no_time():
    """With a coarse clock a packet may take no time. Then its worker was never
    busy."""
    trace = Trace()
    trace.accept(10, 1)
    trace.packet(50, 1, "READ", 1, 0, "close", length=0, hold=0)
    model = trace.model()
    assert model["busy"] == []
    assert [(p["start"], p["end"]) for p in model["packets"]] == [(50, 50)]


def test_a_packet_that_is_not_done_ends_with_the_trace():
    """The server was killed, or the trace is damaged: a line is missing."""
    trace = Trace(work=20)
    trace.accept(10, 1)
    trace.packet(30, 1, "READ", 1, 5, ("WRITE", 5))
    del trace.events[-1]
    trace.packet(60, 1, "WRITE", 1, 5, ("READ", 4096))
    trace.packet(90, 2, "READ", 1, 5, ("WRITE", 5),
                 work=("work sleep", 91, 92))
    del trace.events[-3:]
    trace.life(200, "stop")
    assert [(p["start"], p["end"], p["work"], p["work_end"])
            for p in trace.model()["packets"]] == [
        (30, 60, 0, 0), (60, 80, 0, 0), (90, 200, 2, 200)]


def test_connections_are_counted():
    moments = small_trace().model()["moments"]
    assert [(m["name"], m["live"]) for m in moments if "live" in m] == [
        ("accept", 1), ("accept", 2), ("close", 1), ("close", 0)]


def test_sentinels_are_counted():
    """Main's sentinels count; one that a worker returns does not."""
    trace = small_trace()
    trace.life(572, "sentinel posted", 1)
    moments = trace.model()["moments"]
    assert [m.get("number") for m in moments
            if m["name"] == "sentinel posted"] == [1, 2, None]


def test_steps_are_in_the_order_of_time():
    model = small_trace().model()
    names = [model["kinds"][model["packets"][index]["kind"]] if kind == "p"
             else model["moments"][index]["name"]
             for kind, index in model["steps"]]
    assert names == [
        "accept", "READ", "WRITE", "accept", "READ", "close", "stop",
        "listener closed", "cancel", "failed READ", "close", "drain over",
        "sentinel posted", "sentinel posted", "sentinel", "sentinel"]


def test_clock_keeps_the_order_and_cuts_idleness():
    trace = Trace()
    trace.accept(10, 1)
    trace.packet(30, 1, "READ", 1, 5, ("WRITE", 5))
    trace.packet(60, 1, "WRITE", 1, 5, ("READ", 4096))
    trace.packet(9e6, 1, "READ", 1, 5, ("WRITE", 5))
    model = trace.model()
    corners = model["clock"]
    assert corners == sorted(corners)
    assert len({place for _, place in corners}) == len(corners)
    assert corners[0] == [0, 0] and corners[-1][0] == model["end"]
    assert model["folds"] == [[80, 9e6]]  # nine seconds are cut
    places = dict(map(tuple, corners))
    assert places[9e6] - places[80] < places[80]


# ------------------------------- the picture ------------------------------

def test_picture(tmp_path):
    for trace, packets in ((small_trace(), 6), (large_trace(20_000), None)):
        picture = tmp_path / "out.svg"
        make_page(tmp_path, trace.text(), "--svg", picture)
        assert picture.stat().st_size < 300_000
        text = picture.read_text(encoding="utf-8")
        root = xml.etree.ElementTree.fromstring(text)
        words = [node.text for node in root.iter()
                 if node.tag.endswith("text")]
        assert "Worker 1" in words and "Conn. 1" in words
        assert any("Wine 8.0" in word for word in words)
        assert not re.search(r"<script|<image|href|@import", text)
        if packets is None:
            assert re.search(r": \d\d of [\d,]+ packets", text)


def test_a_picture_that_begins_while_a_worker_is_busy():
    picture = trace_view.Picture(small_trace().model())
    picture.first = 210  # it is from 200 to 230
    trace_view.draw_busy(picture, 0, 60)
    path = next(part for part in picture.parts if part.startswith("<path"))
    assert f'd="M{trace_view.LEFT} 60V0.0H' in path
    assert path.count("V60.0H") == path.count("V0.0H") == 6


# -------------------------------- escaping --------------------------------

EVIL = ("<!--<script ></script x></script><script>document.title='broken'"
        "</script>&<b>\"'\u2028")


def evil_trace():
    trace = Trace(system=EVIL, work=EVIL)
    trace.accept(10, 1, peer=EVIL)
    trace.packet(30, 1, "READ", 1, 0, "close", reason=EVIL)
    trace.life(60, EVIL)
    trace.life(61, "cancel", conn=1, what=EVIL, why=EVIL)
    trace.life(62, "stop", reason="__proto__")
    trace.life(63, "constructor")
    return trace


def test_text_of_the_trace_is_text(tmp_path):
    page = make_page(tmp_path, evil_trace().text(),
                     "--svg", tmp_path / "a.svg")
    assert data_of(page)["info"]["system"] == EVIL
    text = page.read_text(encoding="utf-8")
    data = text.split('id="trace">')[1].split("</script>")[0]
    assert "<" not in data and data.isascii()
    assert text.count("</script>") == 3  # the trace's, the page's two
    assert "document.title" not in text.split("</script>")[-1]
    picture = (tmp_path / "a.svg").read_text(encoding="utf-8")
    xml.etree.ElementTree.fromstring(picture)
    assert "<script" not in picture and "&lt;script" in picture


# ----------------------------- a large trace ------------------------------

@pytest.fixture(scope="module")
def large_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    text = large_trace().text()
    return make_page(folder, text)


def test_large_trace(large_page):
    data = data_of(large_page)
    assert data["events"] >= EVENTS
    assert len(rows_of(data["packets"])) > 10_000
    assert large_page.stat().st_size < 12_000_000


# ------------------------------ in a browser ------------------------------

@pytest.fixture
def small_page(tmp_path):
    return make_page(tmp_path, small_trace().text())


@pytest.fixture(scope="module")
def crowded_page(tmp_path_factory):
    """A page with more busy workers and connections than lanes."""
    return make_page(tmp_path_factory.mktemp("crowded"),
                     large_trace(12_000, workers=64, conns=300).text())


@in_browser
def test_steps(small_page):
    """Every step has its sentence, in the order of time."""
    seen = use(small_page, """
      seen.sentences = [see("#sentence")];
      seen.places = [see("#place")];
      for (let i = 1; i < 16; i++) {
        press("#next");
        seen.sentences.push(see("#sentence"));
        seen.places.push(see("#place"));
      }
      press("#next");
      seen.end = see("#place");
      press("#back");
      seen.back = see("#place");
      seen.cursor = all("#chart .cursor").length;
    """)
    assert seen["places"] == [f"{n} / 16" for n in range(1, 17)]
    assert (seen["end"], seen["back"]) == ("16 / 16", "15 / 16")
    assert seen["cursor"] == 1
    assert seen["sentences"] == [
        "The main thread accepts connection 1 from 127.0.0.1:50123 and posts "
        "its first READ. From then on the kernel owns the buffer.",
        "Worker 2 takes the packet of connection 1's READ: 64 bytes. It posts "
        "a WRITE of them; from then on the kernel owns the buffer.",
        "Worker 1 takes the packet of connection 1's WRITE: all 64 bytes are "
        "sent. It posts the next READ; from then on the kernel owns the "
        "buffer.",
        "The main thread accepts connection 2 from 127.0.0.1:50123 and posts "
        "its first READ. From then on the kernel owns the buffer.",
        "Worker 1 takes the packet of connection 1's READ: 0 bytes, the end "
        "of file. All is echoed: it closes the connection.",
        "Worker 1 closes connection 1 (end of file): 64 bytes received, 64 "
        "sent. 1 connection is left.",
        "The server is asked to stop (Ctrl+C). It accepts no more clients and "
        "cancels the READs.",
        "The listening socket is closed: accept returns, and nobody is "
        "accepted any more.",
        "The main thread cancels the READ of connection 2 (the server stops). "
        "Its packet still comes, as a failed one.",
        "Worker 2 takes the packet of connection 2's cancelled READ (error "
        "995). It closes the connection.",
        "Worker 2 closes connection 2 (the server stops): 64 bytes received, "
        "64 sent. No connection is left.",
        "The drain is over: no connection is left. Only now may the workers "
        "go.",
        "The main thread posts sentinel 1 of 2: one for each worker.",
        "The main thread posts sentinel 2 of 2: one for each worker.",
        "Worker 1 takes a sentinel: no operation, only the word to go. It "
        "leaves its loop and ends.",
        "Worker 2 takes a sentinel: no operation, only the word to go. It "
        "leaves its loop and ends."]


@in_browser
def test_language(small_page):
    seen = use(small_page, """
      const page = "h1, h2, button, th, #sentence, #threads, #shown span, "
        + "#legend li, #keys, #notes p, #chart .label, #overview text";
      press("#next");
      seen.english = texts(page);
      press("#language");
      seen.korean = texts(page);
      seen.lang = document.documentElement.lang;
      seen.sentences = [];
      for (let i = 0; i < 16; i++) {
        seen.sentences.push(see("#sentence"));
        press("#next");
      }
      press("#language");
      type("Home");
      press("#next");
      seen.again = texts(page);
    """)
    hangul = re.compile("[\uac00-\ud7a3]")
    assert seen["lang"] == "ko"
    assert seen["again"] == seen["english"]
    assert len(seen["english"]) == len(seen["korean"]) > 30
    assert [x for x in seen["english"] if hangul.search(x)] == ["한국어"]
    untranslated = [text for text in seen["korean"] if not hangul.search(text)]
    assert sorted(untranslated) == ["English", "READ", "WRITE", "main"]
    assert all(hangul.search(sentence) for sentence in seen["sentences"])
    assert seen["sentences"][0] == (
        "작업자 2번이 연결 1번의 READ 완료 패킷을 꺼냅니다. "
        "64바이트를 받았습니다. 그대로 중첩(Overlapped) WRITE를 요청합니다. "
        "이제 버퍼는 커널의 것입니다.")


@in_browser
def test_keyboard(small_page):
    seen = use(small_page, """
      const view = () => document.querySelector("#overview .view").outerHTML;
      const place = (...keys) => {
        keys.forEach(key => type(key));
        return see("#place");
      };
      seen.right = place("ArrowRight", "ArrowRight");
      seen.left = place("ArrowLeft");
      seen.end = place("End");
      seen.home = place("Home");
      const views = [view()];
      for (const key of ["+", "+", "-", "0"]) {
        type(key);
        views.push(view());
      }
      seen.zoomed = views[1] !== views[0] && views[2] !== views[1];
      seen.all = views[4] === views[0];
      type("ArrowRight", document.body, {ctrlKey: true});
      seen.control = see("#place");
      // The slider and the buttons have keys of their own.
      type("ArrowRight", document.querySelector("#slider"));
      type(" ", document.querySelector("#next"));
      seen.own = see("#place");
      const slider = document.querySelector("#slider");
      slider.value = 7;
      slider.dispatchEvent(new Event("input"));
      seen.slider = see("#place");
      type(" ");
      const play = document.querySelector("#play");
      seen.plays = play.getAttribute("aria-pressed");
      await wait(4500);
      type(" ");
      seen.played = see("#place");
      await wait(4500);
      seen.paused = see("#place");
      type("l");
      seen.lang = document.documentElement.lang;
      type("t");
      seen.true = document.querySelector("#true").getAttribute("aria-pressed");
    """)
    assert seen == {
        "right": "3 / 16", "left": "2 / 16", "end": "16 / 16",
        "home": "1 / 16", "zoomed": True, "all": True, "control": "1 / 16",
        "own": "1 / 16", "slider": "8 / 16", "plays": "true",
        "played": "10 / 16", "paused": "10 / 16", "lang": "ko", "true": "true"}


@in_browser
def test_mouse(large_page):
    seen = use(large_page, """
      const chart = document.querySelector("#chart"), [x, y] = middle(chart);
      const shown = async () => {
        await wait(200);
        return see("#shown span");
      };
      const views = [await shown()];
      chart.dispatchEvent(new WheelEvent("wheel", {
        deltaY: -300, clientX: x, clientY: y, cancelable: true}));
      views.push(await shown());
      point("pointerdown", chart, x, y);
      point("pointermove", chart, x - 300, y);
      point("pointerup", chart, x - 300, y);
      views.push(await shown());
      seen.dragged = see("#place");
      const strip = document.querySelector("#overview"), at = middle(strip);
      point("pointerdown", strip, ...at);
      point("pointerup", strip, ...at);
      views.push(await shown());
      press("#later");
      views.push(await shown());
      seen.views = views;
      // A click on a slice, even at its end, goes to its packet.
      const width = node => node.getBoundingClientRect().width;
      const slice = all("#chart rect[fill='url(#k0)']")
        .sort((one, other) => width(other) - width(one))[0];
      const box = slice.getBoundingClientRect();
      const target = [box.right - 3, box.top + box.height / 2];
      point("pointerdown", chart, ...target);
      point("pointerup", chart, ...target);
      seen.clicked = see("#place");
      seen.sentence = see("#sentence");
      seen.outlined = all("#chart rect[fill=none]").some(node => {
        const outline = node.getBoundingClientRect();
        return Math.abs(outline.right - box.right) < 5
          && Math.abs(outline.top - box.top) < 5;
      });
    """)
    assert len(set(seen["views"])) == 5
    assert seen["dragged"].startswith("1 / ")
    assert not seen["clicked"].startswith("1 / ")
    assert seen["outlined"]
    assert re.match(r"Worker \d takes the packet of connection \d+'s READ",
                    seen["sentence"])


@in_browser
def test_large_trace_shows_a_window(large_page):
    seen = use(large_page, """
      seen.first = see("#shown span");
      press("#all");
      seen.all = see("#shown span");
      seen.elements = all("#chart *").length;
      type("End");
      seen.end = see("#shown span");
      press("#true");
      press("#all");
      seen.true = see("#shown span");
      press("#language");
      seen.korean = see("#shown span");
      const begin = performance.now();
      for (let i = 0; i < 20; i++) type("ArrowLeft");
      seen.steps = performance.now() - begin;
    """)
    shape = r"A window: ([\d,]+) of ([\d,]+) packets, .* At most 400 are drawn"
    for name in ("first", "all", "end", "true"):
        match = re.match(shape, seen[name])
        assert match, seen[name]
        assert int(match[1]) <= 400 < 10_000 < int(match[2].replace(",", ""))
    assert int(re.match(shape, seen["all"])[1]) > 300
    assert seen["elements"] < 6000
    assert "일부 구간" in seen["korean"]
    assert "최대 400개" in seen["korean"]


@in_browser
def test_lanes_and_legend(small_page):
    seen = use(small_page, """
      seen.labels = texts("#chart .label");
      seen.fills = all("#chart rect").map(node => node.getAttribute("fill"));
      seen.dashes = all("#chart [stroke-dasharray]").length;
      seen.legend = texts("#legend li");
      seen.table = all("tbody tr").map(
        row => [...row.cells].map(cell => cell.textContent));
      seen.badge = see("#badge");
      seen.notes = see("#notes");
      seen.shown = see("#shown span");
      seen.waiting = [];
      for (const key of ["Home", "ArrowRight", "ArrowRight"]) {
        type(key);
        seen.waiting.push(see("#threads"));
      }
    """)
    assert seen["labels"] == ["Worker 1", "Worker 2", "Conn. 1", "Conn. 2",
                              "Busy", "Main"]
    assert {"url(#k0)", "url(#k1)", "url(#k2)", "url(#k4)", "url(#q0)",
            "url(#q1)"} < set(seen["fills"])
    assert seen["dashes"] == 1
    assert "failed" in seen["legend"] and "--work" not in seen["legend"]
    assert seen["table"] == [
        ["Worker 1", "2", "45 µs", "240 µs", "50.0 %"],
        ["Worker 2", "2", "65 µs", "290 µs", "50.0 %"]]
    assert "Wine 8.0" in seen["badge"]
    assert "first in, first out" in seen["badge"]
    assert "Wine 8 wakes the first one (FIFO)" in seen["notes"]
    assert seen["shown"] == "All 6 packets are shown."
    assert seen["waiting"] == ["Busy –Waiting (latest first)12",
                               "Busy2Waiting (latest first)1",
                               "Busy1Waiting (latest first)2"]


@in_browser
def test_more_workers_than_lanes(tmp_path):
    page = make_page(tmp_path, large_trace(3000, workers=64, conns=200).text())
    seen = use(page, """
      seen.shown = see("#shown span");
      seen.lanes = all("#chart .label").length;
    """)
    assert re.search(r" \d+ of 64 workers\. \d+ of \d+ connections\.",
                     seen["shown"])
    assert seen["lanes"] < 25


@in_browser
def test_sentences_about_what_is_rare(tmp_path):
    trace = Trace(work=20)
    trace.accept(10, 1)
    trace.packet(50, 1, "READ", 1, 9, ("WRITE", 9), length=90, hold=80,
                 work=("work sleep", 51, 121))
    trace.packet(200, 2, "WRITE", 1, 4, ("WRITE", 5))
    trace.packet(300, 2, "WRITE", 1, 5, ("READ", 4096))
    trace.life(330, "stop", reason="ctrl-c")
    trace.packet(400, 1, "failed READ", 1, 0, ("READ", 4096), error=1236)
    trace.packet(500, 1, "READ", 1, 7, ("READ", 4096))
    trace.life(600, "cut")
    trace.packet(700, 1, "READ", 1, 1, ("WRITE", 1))
    trace.kernel("e", 706, 1, "WRITE", 1, 0, error=10054)
    trace.posted(800, 2, "posted")
    trace.life(850, "sentinel posted", 1)
    trace.life(900, "something new", 2)
    trace.packet(950, 2, "failed WRITE", 1, 0, "close", error=64)
    seen = use(make_page(tmp_path, trace.text()), """
      seen.sentences = [];
      for (let i = 0; i < 13; i++) {
        press("#next");
        seen.sentences.push(see("#sentence"));
      }
    """)
    expected = [
        "It sleeps 70 µs over it: a paused thread. It posts a WRITE of them",
        "4 of 9 bytes are sent. It posts a WRITE of the rest",
        "all 5 bytes are sent. It posts the next READ",
        "asked to stop (Ctrl+C)",
        "failed READ (error 1236). It tells the client that no more comes",
        "The server stops, so they are thrown away",
        "cut short",
        "1 byte. The WRITE can't be posted (error 10054): it closes",
        "posted by hand",
        "Worker 1 has taken more sentinels than one",
        "Worker 2: something new.",
        "failed WRITE (error 64). It closes the connection."]
    for sentence, part in zip(seen["sentences"], expected):
        assert part in sentence


@in_browser
def test_text_of_the_trace_does_nothing_in_the_browser(tmp_path):
    page = make_page(tmp_path, evil_trace().text())
    seen = use(page, """
      seen.title = document.title;
      seen.badge = see("#badge");
      seen.bold = all("#sentence b, #badge b, #notes b").length;
      seen.sentences = [];
      for (let i = 0; i < 8; i++) {
        seen.sentences.push(see("#sentence"));
        press("#next");
      }
    """)
    assert seen["title"] == "IOCP echo server: trace"
    assert seen["bold"] == 0
    assert EVIL.strip() in seen["badge"]
    assert any(EVIL in sentence for sentence in seen["sentences"])
    assert "asked to stop (__proto__)" in seen["sentences"][5]
    assert seen["sentences"][6] == "The main thread: constructor."


@in_browser
def test_killed_trace_says_so(tmp_path):
    whole = small_trace().text()
    page = make_page(tmp_path, whole[:len(whole) // 2])
    seen = use(page, 'seen.remark = see("#remark"); press("#language");'
                     'seen.korean = see("#remark");')
    assert "was killed" in seen["remark"]
    assert "강제로 종료" in seen["korean"]


@in_browser
def test_trace_without_packets(tmp_path):
    page = make_page(tmp_path, Trace().text())
    seen = use(page, """
      for (const key of ["ArrowRight", "End", "+", "-", "0", "t", "PageDown",
                         " "])
        type(key);
      seen.sentence = see("#sentence");
    """)
    assert seen["sentence"] == "No packet and no event in this trace."


@in_browser
def test_address_names_language_and_step(small_page):
    seen = use(small_page, 'seen.place = see("#place");'
               'seen.lang = document.documentElement.lang;',
               "#lang=ko&step=5")
    assert seen == {"place": "5 / 16", "lang": "ko"}


@in_browser
@pytest.mark.parametrize("size", ["1280,720", "1920,1080"])
def test_fits_the_screen(large_page, size):
    """What a class looks at is large and needs no scrolling."""
    seen = use(large_page, """
      const shown = all("#shown")[0].getBoundingClientRect();
      seen.over = shown.bottom - innerHeight;
      seen.text = parseFloat(getComputedStyle(all("#sentence")[0]).fontSize)
        / innerHeight;
    """, size=size)
    # Old headless Chromium counts its window's frame in the size.
    assert seen["over"] <= 100
    assert seen["text"] > 0.03


@in_browser
@pytest.mark.parametrize("size", MARKED_SIZES)
def test_layout(crowded_page, tmp_path, size):
    check_layout(crowded_page, size)
    words = "w" * trace_view.MAX_TEXT
    trace = small_trace(system=words, work=words)
    trace.life(1, words)
    check_layout(make_page(tmp_path, trace.text()), size)
    check_layout(make_page(tmp_path, slow_trace().text()), size)


@in_browser
def test_the_threads_are_all_in_one_line(crowded_page):
    """They are, even if most are busy, so that two lists are long."""
    seen = use(crowded_page, """
      seen.tops = [];
      type("End");
      for (let turn = 0; turn < 2; turn++) {
        for (let i = 0; i < 200; i++) type("ArrowLeft");
        seen.tops.push(all("#threads span").map(line => line.offsetTop));
        seen.ends = all("#threads span").map(
          line => line.getBoundingClientRect().right - innerWidth);
        press("#language");
      }
    """, size=SIZES[0])
    assert len(seen["tops"][0]) == 2
    assert all(first == second for first, second in seen["tops"])
    assert max(seen["ends"]) <= 0
