#!/usr/bin/env python3
"""Makes a page that shows a trace of the echo server, packet by packet.

usage: trace_view.py TRACE [-o OUT.html] [--svg OUT.svg] [--open]

`iocp_echo_server --trace FILE` writes a TRACE. The page is one file that needs
neither network nor server, in English and Korean. --svg also writes a still
picture, of the whole trace or of a part of it.

This script computes what the page shows (the model);
parts/trace_view_page.html draws it.
"""

import os
import sys

if __name__ == "__main__":  # first: the other imports take their time
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from parts import words
    words.begin("trace_view.py")

import bisect
import html
import json
import math
import pathlib
import re
import webbrowser

from parts import files, language, program
from parts.arguments import Parser
from parts.language import say
from parts.words import Failure

PAGE = pathlib.Path(__file__).resolve().with_name("parts") / (
    "trace_view_page.html")

KINDS = ("READ", "WRITE", "failed READ", "failed WRITE", "sentinel", "posted")
OPERATIONS = KINDS[:4]  # those that the server counts as completions

MAX_TEXT = 200  # characters kept of any text in the trace
MAX_TIME = 1e13  # microseconds, over 100 days: no trace lasts longer

AT_LEAST, FOR_NUMBER, IDLE = 0.4, 1.4, 5.0  # see make_clock


class NotATrace(Failure):
    """The file is not a trace of the server. The text says why."""


# ------------------------------- reading ----------------------------------

def read_events(data):
    """Returns the events of a trace, given as bytes, and remarks on its state.

    A server that was killed leaves no `]`, and perhaps half a line.
    """
    text = data.decode("utf-8-sig", errors="replace").strip("\0 \t\r\n")
    if not text.startswith(("[", "{")):
        raise NotATrace(say({"en": "it does not begin like JSON",
                             "ko": "JSON의 시작이 아닙니다"}))
    remarks = {}
    try:
        events = json.loads(text)
        if isinstance(events, dict):  # the object form of other tools
            events = events.get("traceEvents")
    except RecursionError:
        raise NotATrace(say({
            "en": "it is nested too deeply",
            "ko": "중첩이 너무 깊습니다"})) from None
    except ValueError:
        events = read_lines(text, remarks)
    if not isinstance(events, list):
        raise NotATrace(say({"en": "it holds no list of events",
                             "ko": "이벤트 목록이 없습니다"}))
    events = [each for each in events
              if isinstance(each, dict) and isinstance(each.get("ph"), str)]
    if not events:
        raise NotATrace(say({"en": "there is no event in it",
                             "ko": "이벤트가 하나도 없습니다"}))
    return events, remarks


def read_lines(text, remarks):
    """Reads one event a line and skips what it can't read."""
    lines, events, bad = text.splitlines(), [], []
    for place, line in enumerate(lines):
        line = line.strip("\0 \t").lstrip("[").rstrip("],").strip()
        if line:
            try:
                events.append(json.loads(line))
            except (ValueError, RecursionError):
                bad.append(place)
    if not lines[-1].endswith("]"):
        remarks["killed"] = True
        bad = [place for place in bad if place != len(lines) - 1]
    if bad:
        remarks["unreadable"] = len(bad)
    return events


# -------------------------------- the model -------------------------------
#
# All that the page and the picture show, in microseconds. Tables are lists of
# dicts here; the page has columns and rows, which take half the space.

def number(value, default=0):
    """Returns `value` if a trace can hold it as a number, else `default`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return default
    return value if -1e18 < value < 1e18 else default  # refuses NaN too


def count(value):
    return int(number(value))


def text_of(value):
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def arguments(event):
    args = event.get("args")
    return args if isinstance(args, dict) else {}


def name_of(event):
    return text_of(event.get("name"))


def timed(events):
    """Returns the events that have a time, in order of time."""
    good = [event for event in events
            if event["ph"] != "M" and number(event.get("ts"), None) is not None
            and 0 <= event["ts"] < MAX_TIME]
    return sorted(good, key=lambda event: event["ts"])


def kind_of(event):
    """Returns phase and category, such as ("B", "packet")."""
    return event["ph"], event.get("cat")


def worker_number(name):
    """Returns 3 for "worker 3", 0 for any other name."""
    match = re.fullmatch(r"worker (\d{1,9})", name)
    return int(match[1]) if match else 0


class Lanes:
    """Which thread is which, by tid, and trace_info."""

    def __init__(self):
        self.names, self.workers, self.info = {}, {}, {}

    def add(self, event):
        if event["ph"] == "M" and event.get("name") == "thread_name":
            tid = count(event.get("tid"))
            self.names[tid] = text_of(arguments(event).get("name"))
            self.workers[tid] = worker_number(self.names[tid])
        elif event["ph"] == "M" and event.get("name") == "trace_info":
            self.info = arguments(event)

    def worker_of(self, event):
        """Returns the worker's number; 0 for another thread with a name."""
        tid = count(event.get("tid"))
        return self.workers.get(tid, tid)


def read_info(info):
    system, work = text_of(info.get("system")), count(info.get("work"))
    return {
        "system": system,
        "wine": system.startswith("Wine"),
        "simulated": system.startswith("simulated"),
        "workers": count(info.get("workers")),
        "concurrency": max(count(info.get("concurrency")), 0),
        "cpus": count(info.get("cpus")),
        "work": (f"{work}:{'spin' if info.get('spins') else 'sleep'}"
                 if work else ""),
        "started": text_of(info.get("started")),
    }


class Packets:
    """The packets that workers take. `rows` has one for each: what it was,
    whose, when, and which part of the time was --work. An unfinished one ends
    at `end`."""

    def __init__(self, worker_of, end):
        self.worker_of, self.end = worker_of, end
        self.rows, self.at_hand = [], {}

    def add(self, event):
        kind, time = kind_of(event), event["ts"]
        worker = self.worker_of(event)
        packet = self.at_hand.get(worker)
        if kind == ("B", "packet") and event.get("name") in KINDS:
            if packet is not None:
                packet["end"] = time
            args = arguments(event)
            self.at_hand[worker] = {
                "start": time, "end": self.end, "worker": worker,
                "kind": KINDS.index(event["name"]),
                "conn": count(args.get("conn")),
                "bytes": count(args.get("bytes")),
                "error": count(args.get("error")),
                "work": 0, "work_start": 0, "work_end": 0,
                "then": "", "then_error": 0, "offered": 0}
            self.rows.append(self.at_hand[worker])
        elif packet is None:
            pass
        elif kind == ("E", "packet"):
            self.at_hand.pop(worker)["end"] = time
        elif kind == ("B", "work"):
            packet["work"] = 2 if "sleep" in name_of(event) else 1
            packet["work_start"], packet["work_end"] = time, self.end
        elif kind == ("E", "work"):
            packet["work_end"] = time


def group(rows, column):
    groups = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    return groups


class Starts:
    """The start times of rows, for bisect, whose key= came with Python
    3.10."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]["start"]


class Spans:
    """Who owned which connection when, in `rows`.

    From the post to the packet the kernel owns it; that span has an operation
    ("READ", "WRITE"). Otherwise the thread owns it that accepted it (main, 0)
    or took the packet (a worker). An open span ends at `end`.
    """

    def __init__(self, worker_of, end):
        self.worker_of, self.end = worker_of, end
        self.rows, self.latest = [], {}

    def add(self, event):
        kind, name, time = kind_of(event), name_of(event), event["ts"]
        if kind not in (("b", "kernel"), ("e", "kernel")) and not (
                kind == ("i", "life") and name in ("accept", "close")):
            return
        args = arguments(event)
        conn = count(args.get("conn"))
        before = self.latest.pop(conn, None)
        if before is not None:
            before["end"] = time
            if event["ph"] == "e" and before["operation"]:
                before["error"] = count(args.get("error"))
                before["ended_by"] = self.worker_of(event)
        if name != "close":
            kernel = event["ph"] == "b"
            self.latest[conn] = {
                "conn": conn, "start": time, "end": self.end,
                "operation": name if kernel else "",
                "worker": self.worker_of(event),
                "bytes": count(args.get("bytes")) if kernel else 0,
                "error": 0, "ended_by": 0}
            self.rows.append(self.latest[conn])


MOMENT_FIELDS = ((count, ("received", "sent")),
                 (text_of, ("peer", "reason", "what", "why")))


class Moments:
    """What takes no time: accept, close, cancel, stop, ... Accepts and closes
    have how many connections are left, main's sentinels their number."""

    def __init__(self, names):
        self.names, self.rows = names, []
        self.live = self.sentinels = 0

    def add(self, event):
        if kind_of(event) != ("i", "life"):
            return
        args = arguments(event)
        moment = {
            "start": event["ts"], "name": name_of(event),
            "lane": self.names.get(count(event.get("tid")), ""),
            "conn": count(args.get("conn")),
            **{key: read(args[key]) for read, keys in MOMENT_FIELDS
               for key in keys if key in args}}
        self.rows.append(moment)
        if moment["name"] in ("accept", "close"):
            self.live += 1 if moment["name"] == "accept" else -1
            self.live = moment["live"] = max(self.live, 0)
        elif (moment["name"] == "sentinel posted"
              and not worker_number(moment["lane"])):
            self.sentinels += 1
            moment["number"] = self.sentinels


def read_rows(reader, events):
    """Returns what one of the classes above makes of these events."""
    for event in events:
        reader.add(event)
    return reader.rows


def add_consequences(packets, spans, moments):
    """Adds what the worker did with each packet: the next post, or a
    close."""
    posts = group([s for s in spans if s["operation"]], "conn")
    closes = group([m for m in moments if m["name"] == "close"], "conn")
    for packet in packets:
        if KINDS[packet["kind"]] not in OPERATIONS:
            continue
        mine = posts.get(packet["conn"], [])
        index = bisect.bisect_left(Starts(mine), packet["start"])
        if index > 0:
            packet["offered"] = mine[index - 1]["bytes"]
        if index < len(mine) and mine[index]["start"] <= packet["end"]:
            post = mine[index]
            # A worker gets its next packet only after it is done with this
            # one: an operation that ends earlier failed without a packet.
            failed = (post["error"] != 0 and post["end"] <= packet["end"]
                      and post["ended_by"] == packet["worker"])
            packet["then"] = ("failed " if failed else "") + post["operation"]
            packet["then_error"] = post["error"] if failed else 0
        elif any(packet["start"] <= each["start"] <= packet["end"]
                 for each in closes.get(packet["conn"], [])):
            packet["then"] = "close"


def read_connections(spans, moments, end):
    """Returns when each connection began and ended."""
    found = {}
    for span in spans:
        one = found.setdefault(span["conn"], {
            "conn": span["conn"], "start": span["start"], "end": 0})
        one["start"] = min(one["start"], span["start"])
        one["end"] = max(one["end"], span["end"])
    for moment in moments:
        if moment["name"] in ("accept", "close") and moment["conn"]:
            one = found.setdefault(moment["conn"], {
                "conn": moment["conn"], "start": moment["start"], "end": end})
            if moment["name"] == "close":
                one["end"] = moment["start"]
            else:
                one["start"] = min(one["start"], moment["start"])
    return sorted(found.values(), key=lambda one: one["conn"])


def count_busy(packets):
    """Returns how many workers are busy, at each change."""
    some = [p for p in packets if p["start"] < p["end"]]
    edges = sorted([(p["end"], -1) for p in some]
                   + [(p["start"], 1) for p in some])
    changes, busy = [], 0
    for time, change in edges:
        busy += change
        changes.append([round(time, 3), busy])
    return changes


def worker_table(numbers, packets, end):
    """Returns for each worker: packets, busy time, longest park, share.

    Only operations' packets count, as in the server's own report. A worker is
    parked from the start, between its packets, and, unless a sentinel ended
    it, to the end.
    """
    total = sum(KINDS[p["kind"]] in OPERATIONS for p in packets)
    by_worker, rows = group(packets, "worker"), []
    for worker in numbers:
        mine = by_worker.get(worker, [])
        done = sum(KINDS[p["kind"]] in OPERATIONS for p in mine)
        ended = bool(mine) and KINDS[mine[-1]["kind"]] == "sentinel"
        begins = [p["start"] for p in mine] + ([] if ended else [end])
        ends = [0] + [p["end"] for p in mine]
        rows.append({
            "worker": worker, "packets": done,
            "busy": round(sum(p["end"] - p["start"] for p in mine), 3),
            "park": round(max(b - e for b, e in zip(begins, ends)), 3),
            "share": round(done / total, 4) if total else 0,
            "gone": round(mine[-1]["end"], 3) if ended else None})
    return rows


def make_clock(packets, spans, moments, end):
    """Makes a time scale on which everything can be seen.

    A worker holds a connection for microseconds and is parked for seconds: on
    a true scale what matters is a hairline. Here each stretch between two
    changes takes AT_LEAST + log2(1 + t/unit), which keeps the order and evens
    out the lengths. Where a packet is taken there is room for the worker's
    number. A stretch in which all workers are parked is cut at IDLE. Returns
    the corners [time, position], between which the scale is straight, and the
    stretches that were cut.
    """
    lengths = sorted(p["end"] - p["start"] for p in packets)
    unit = max(lengths[len(lengths) // 4] if lengths else 0, 1)
    taken = {p["start"] for p in packets}
    edges = {0: 0, end: 0}  # time -> change in the number of busy workers
    for row in spans + moments:
        edges.setdefault(row["start"], 0)
    for packet in packets:
        edges[packet["start"]] = edges.get(packet["start"], 0) + 1
        edges[packet["end"]] = edges.get(packet["end"], 0) - 1
    times = sorted(edges)
    corners, folds, position, busy = [[0, 0]], [], 0.0, 0
    for time, following in zip(times, times[1:]):
        busy += edges[time]
        width = math.log2(1 + (following - time) / unit)
        if busy == 0 and width > IDLE:
            width = IDLE
            folds.append([round(time, 3), round(following, 3)])
        position += width + (FOR_NUMBER if time in taken else AT_LEAST)
        corners.append([round(following, 3), round(position, 3)])
    return corners, folds


def make_steps(packets, moments):
    """Returns where the cursor stops, in order: ["p" or "m", index]."""
    steps = ([(p["start"], "p", i) for i, p in enumerate(packets)]
             + [(m["start"], "m", i) for i, m in enumerate(moments)])
    return [[kind, index] for _, kind, index in sorted(steps)]


def make_model(events, remarks):
    """Returns the model of a trace; the functions above make its parts."""
    lanes = Lanes()
    for event in events:
        lanes.add(event)
    ordered = timed(events)
    end = max((event["ts"] for event in ordered), default=0)
    packets = read_rows(Packets(lanes.worker_of, end), ordered)
    if not lanes.info and not packets:
        raise NotATrace(say({
            "en": "it has no event of an iocp_echo_server",
            "ko": "iocp_echo_server의 이벤트가 없습니다"}))
    spans = read_rows(Spans(lanes.worker_of, end), ordered)
    moments = read_rows(Moments(lanes.names), ordered)
    add_consequences(packets, spans, moments)
    workers = sorted({n for n in lanes.workers.values() if n}
                     | {p["worker"] for p in packets})
    corners, folds = make_clock(packets, spans, moments, end)
    return {
        "info": read_info(lanes.info), "remarks": remarks,
        "events": len(events), "end": round(end, 3), "kinds": list(KINDS),
        "workers": worker_table(workers, packets, end),
        "packets": packets, "spans": spans, "moments": moments,
        "connections": read_connections(spans, moments, end),
        "busy": count_busy(packets),
        "clock": corners, "folds": folds,
        "steps": make_steps(packets, moments)}


def load(path):
    """Returns the model of a trace file. Raises OSError or NotATrace."""
    return make_model(*read_events(pathlib.Path(path).read_bytes()))


# -------------------------------- the page --------------------------------

# Okabe and Ito's colours, which the colour-blind can tell apart. Each has a
# pattern too, for black-and-white printers; READ is plain.
PATTERNS = """
<pattern id="k0" width="8" height="8" patternUnits="userSpaceOnUse">
<rect width="8" height="8" fill="#0072B2"/></pattern>
<pattern id="k1" width="9" height="9" patternUnits="userSpaceOnUse"
 patternTransform="rotate(45)"><rect width="9" height="9" fill="#E69F00"/>
<rect width="3.5" height="9" fill="#FBDD95"/></pattern>
<pattern id="k2" width="9" height="9" patternUnits="userSpaceOnUse"
 patternTransform="rotate(45)"><rect width="9" height="9" fill="#D55E00"/>
<path d="M0 1H9M1 0V9" stroke="#fff" stroke-width="2"/></pattern>
<pattern id="k4" width="9" height="9" patternUnits="userSpaceOnUse">
<rect width="9" height="9" fill="#CC79A7"/>
<circle cx="4.5" cy="4.5" r="2.4" fill="#fff"/></pattern>
<pattern id="k5" width="8" height="8" patternUnits="userSpaceOnUse">
<rect width="8" height="8" fill="#009E73"/>
<rect width="8" height="3" fill="#fff"/></pattern>
<pattern id="work" width="7" height="7" patternUnits="userSpaceOnUse"
 patternTransform="rotate(-45)">
<rect width="2.5" height="7" fill="#fff" fill-opacity=".6"/></pattern>
<pattern id="q0" width="8" height="8" patternUnits="userSpaceOnUse">
<rect width="8" height="8" fill="#DCEBF6"/></pattern>
<pattern id="q1" width="9" height="9" patternUnits="userSpaceOnUse"
 patternTransform="rotate(45)"><rect width="9" height="9" fill="#FDF0D2"/>
<rect width="2" height="9" fill="#F0CF85"/></pattern>
<pattern id="fold" width="6" height="6" patternUnits="userSpaceOnUse">
<circle cx="3" cy="3" r=".9" fill="#A8A39A"/></pattern>
"""


def as_table(rows):
    """Returns columns and rows; the page makes them objects again."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return {"columns": columns, "rows": [
        [round(value, 3) if isinstance(value, float) else value
         for value in (row.get(column) for column in columns)]
        for row in rows]}


def as_json(model):
    """Returns JSON that is safe inside <script>: no "<", and ASCII only."""
    shown = dict(model)
    for key in ("packets", "spans", "moments", "connections", "workers"):
        shown[key] = as_table(model[key])
    data = json.dumps(shown, separators=(",", ":"), allow_nan=False)
    return (data.replace("<", "\\u003c").replace(">", "\\u003e")
            .replace("&", "\\u0026"))


def make_page(model):
    page = PAGE.read_text(encoding="utf-8")
    return (page.replace("{{PATTERNS}}", PATTERNS)
            .replace("{{TRACE}}", as_json(model)))


# ------------------------------- the picture ------------------------------

WIDTH, LEFT, LANE = 1200, 120, 30
PICTURE_ALL = 45       # packets: a trace with at most this many is whole
PICTURE_SOME = 30      # packets shown of a longer one
PICTURE_LANES = 8      # connections, and workers twice as many

STYLE = """
text{font:15px "Segoe UI","Noto Sans",Arial,sans-serif;fill:#1B1B1B}
.h{font-weight:600}.s{font-size:13px;fill:#57534B}.w{fill:#fff;font-weight:600}
.m{text-anchor:middle}.e{text-anchor:end}
.o{paint-order:stroke;stroke:#fff;stroke-width:3.5px;font-weight:600}
.b{paint-order:stroke;stroke:#00507D;stroke-width:4px;font-weight:600;fill:#fff}
"""


def escape(text):
    """Escapes text for SVG, and drops characters that XML does not allow."""
    return html.escape("".join(c for c in str(text) if c.isprintable()))


def interesting(packets):
    """Returns where the first stretch with most to show begins."""
    def variety(first):
        some = packets[first:first + PICTURE_SOME]
        return (2 * min(len({p["conn"] for p in some}), 4)
                + min(len({p["worker"] for p in some}), 4)
                + len({p["kind"] for p in some[:-PICTURE_SOME // 3]}))
    return max(range(0, len(packets) - PICTURE_SOME, PICTURE_SOME // 2),
               key=variety)


class Picture:
    """SVG elements, and the part of the time they show."""

    def __init__(self, model):
        self.model, self.parts = model, []
        self.times = [corner[0] for corner in model["clock"]]
        packets = model["packets"]
        self.whole = len(packets) <= PICTURE_ALL
        if self.whole:
            self.first = min((row["start"] for row
                              in packets + model["moments"]), default=0)
            self.last = model["end"]
        else:
            first = interesting(packets)
            self.first = packets[first]["start"]
            self.last = packets[first + PICTURE_SOME]["start"]
        self.low = self.position(self.first) - 0.5
        self.scale = ((WIDTH - LEFT - 20)
                      / max(self.position(self.last) - self.low, 1))

    def position(self, time):
        """Returns where this time is on the squeezed clock."""
        corners = self.model["clock"]
        index = bisect.bisect_right(self.times, time)
        if index == 0:
            return 0
        if index == len(corners):
            return corners[-1][1]
        (t0, p0), (t1, p1) = corners[index - 1], corners[index]
        return p0 + (p1 - p0) * (time - t0) / (t1 - t0)

    def x(self, time):
        place = LEFT + (self.position(time) - self.low) * self.scale
        return min(max(place, LEFT), WIDTH - 20)

    def seen(self, rows):
        return [row for row in rows if row["start"] < self.last
                and row.get("end", row["start"]) >= self.first]

    def add(self, element):
        self.parts.append(element)

    def text(self, x, y, words, style=""):
        self.add(f'<text x="{x:.1f}" y="{y:.1f}" class="{style}">'
                 f'{escape(words)}</text>')

    def box(self, start, end, y, fill, label="", style="o", least=1.5):
        """Draws a stretch of time in a lane, with its label if it fits."""
        x0 = self.x(start)
        width = max(self.x(end) - x0, least)
        self.add(f'<rect x="{x0:.1f}" y="{y + 3}" width="{width:.1f}" '
                 f'height="{LANE - 6}" fill="{fill}" stroke="#1B1B1B" '
                 'stroke-width=".8"/>')
        if label and width >= (9 if len(label) == 1 else 6 + 8 * len(label)):
            self.text(x0 + width / 2, y + LANE - 10, label, style + " m")


def draw_workers(picture, y, rows):
    """Draws the workers' lanes; parked is white. Returns the next y."""
    model = picture.model
    by_worker = group(picture.seen(model["packets"]), "worker")
    for row in rows:
        picture.text(LEFT - 12, y + LANE - 10, f"Worker {row['worker']}", "e")
        gone = picture.last if row["gone"] is None else row["gone"]
        picture.add(f'<rect x="{LEFT}" y="{y + 3}" fill="#fff" '
                    f'stroke="#B9B4A9" height="{LANE - 6}" '
                    f'width="{picture.x(gone) - LEFT:.1f}"/>')
        for packet in by_worker.get(row["worker"], []):
            kind = packet["kind"]
            label = f"#{packet['conn']}" if packet["conn"] else ""
            picture.box(packet["start"], packet["end"], y,
                        f"url(#k{2 if kind == 3 else kind})",
                        "" if packet["work"] else label,
                        "w" if kind == 0 else "o")
            if packet["work"]:
                picture.box(packet["work_start"], packet["work_end"], y,
                            "url(#work)", label, "b")
        y += LANE
    return y


def draw_connections(picture, y, rows):
    """Draws the connections' lanes: light where the kernel owns one, dark
    where a worker does."""
    model = picture.model
    by_conn = group(picture.seen(model["spans"]), "conn")
    marks = group(picture.seen(model["moments"]), "conn")
    for row in rows:
        picture.text(LEFT - 12, y + LANE - 10, f"Conn. {row['conn']}", "e")
        for span in by_conn.get(row["conn"], []):
            if span["operation"]:
                fill = "q1" if span["operation"] == "WRITE" else "q0"
                picture.box(span["start"], span["end"], y, f"url(#{fill})",
                            span["operation"][0], "s")
            else:
                picture.box(span["start"], span["end"], y, "#222",
                            str(span["worker"] or "main"), "w")
        for mark in marks.get(row["conn"], []):
            draw_mark(picture, mark["name"], picture.x(mark["start"]), y)
        y += LANE
    return y


def draw_mark(picture, name, x, y):
    middle = y + LANE / 2
    shape = {
        "accept": f"M{x - 9:.1f} {middle - 8}l9 8l-9 8z",
        "close": f"M{x:.1f} {middle - 8}h8v16h-8z",
    }.get(name)
    if shape:
        picture.add(f'<path d="{shape}" fill="#1B1B1B"/>')
    elif name == "cancel":
        cross = f"M{x - 6:.1f} {middle - 6}l12 12m0 -12l-12 12"
        picture.add(f'<path d="{cross}" stroke="#fff" stroke-width="6"/>'
                    f'<path d="{cross}" stroke="#D55E00" stroke-width="3"/>')


def draw_busy(picture, y, height):
    """Draws how many workers are busy, and the concurrency limit."""
    model = picture.model
    limit = model["info"]["concurrency"]
    top = max([busy for _, busy in model["busy"]] + [limit, 1])
    base = y + height
    changes, at_first = [], 0
    for time, busy in model["busy"]:
        if time > picture.last:
            break
        if time < picture.first:
            at_first = busy
        else:
            changes.append((time, busy))
    path = [f"M{LEFT} {base}V{base - height * at_first / top:.1f}"]
    path += [f"H{picture.x(time):.1f}V{base - height * busy / top:.1f}"
             for time, busy in changes]
    path.append(f"H{picture.x(picture.last):.1f}V{base}z")
    picture.text(LEFT - 12, base - height / 2 + 5, "Busy", "e")
    picture.add(f'<path d="{"".join(path)}" fill="#C9C4BA" stroke="#57534B"/>')
    if limit:
        line = base - height * limit / top
        picture.add(f'<path d="M{LEFT} {line:.1f}H{WIDTH - 20}" stroke="#000"'
                    ' stroke-width="2" stroke-dasharray="8 6"/>')
        picture.text(WIDTH - 24, line - 6, f"limit {limit}", "e s o")
    return base


def draw_legend(picture, y):
    seen = picture.seen(picture.model["packets"])
    has = {f"k{packet['kind']}" for packet in seen}
    has |= {"work"} if any(packet["work"] for packet in seen) else set()
    has |= {"k2"} if "k3" in has else set()  # both failed look alike
    items = [item for item in (
        ("k0", "READ"), ("k1", "WRITE"), ("work", "--work"),
        ("k2", "failed"), ("k4", "sentinel"), ("k5", "posted by hand"))
        if item[0] in has]
    items += [("q0", "R: kernel has the READ"),
              ("q1", "W: kernel has the WRITE"), ("", "a worker has it")]
    x = 20
    for pattern, label in items:
        under = "#0072B2" if pattern == "work" else "#222"
        for fill in [under] + ([f"url(#{pattern})"] if pattern else []):
            picture.add(f'<rect x="{x}" y="{y}" width="26" height="16" '
                        f'fill="{fill}" stroke="#1B1B1B" stroke-width=".8"/>')
        picture.text(x + 33, y + 13, label, "s")
        x += 52 + 7 * len(label)
    for mark, label in (("accept", "accept"), ("cancel", "cancel"),
                        ("close", "close")):
        draw_mark(picture, mark, x, y - 7)
        picture.text(x + 14, y + 13, label, "s")
        x += 72


def make_picture(model):
    """Returns a still picture (SVG) of the trace, or of a part of it."""
    picture = Picture(model)
    busiest = group(picture.seen(model["packets"]), "worker")
    workers = sorted(sorted(
        model["workers"], key=lambda row: -len(busiest.get(row["worker"], [])))
        [:2 * PICTURE_LANES], key=lambda row: row["worker"])
    seen = picture.seen(model["connections"])
    info, shown = model["info"], len(picture.seen(model["packets"]))
    part = "" if picture.whole else (
        f": {shown} of {len(model['packets']):,} packets")
    how = "Computed" if info["simulated"] else "Recorded"
    picture.text(20, 32, f"{how} on {info['system'] or 'an unknown system'}"
                 + part, "h")
    picture.text(WIDTH - 20, 32, "time squeezed: order is true, lengths are "
                 "evened out", "s e")
    y = draw_workers(picture, 52, workers)
    y = draw_connections(picture, y + 14, seen[:PICTURE_LANES])
    y = draw_busy(picture, y + 22, 60)
    draw_legend(picture, y + 18)
    height = y + 52
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} '
            f'{height}" width="{WIDTH}" height="{height}" role="img" '
            'aria-label="Workers and connections of the echo server over '
            f'time"><style>{STYLE}</style><defs>{PATTERNS}</defs>'
            f'<rect width="{WIDTH}" height="{height}" fill="#FBFAF7"/>'
            + "\n".join(picture.parts) + "</svg>\n")


# ------------------------------ command line ------------------------------

def parse_arguments(arguments):
    language.choose(arguments)
    parser = Parser(prog="trace_view.py", description=say({
        "en": "Make a page that shows a trace of iocp_echo_server (--trace "
              "FILE), packet by packet.",
        "ko": "iocp_echo_server의 트레이스(--trace FILE)를 패킷 단위로 보여 "
              "주는 페이지를 만듭니다."}))
    parser.add_argument("trace", metavar="TRACE", type=pathlib.Path)
    language.add_option(parser)
    parser.add_argument(
        "-o", "--output", metavar="OUT.html", type=pathlib.Path, help=say({
            "en": "default: TRACE with .html",
            "ko": "기본값: TRACE의 확장자를 .html로 바꾼 이름"}))
    parser.add_argument(
        "--svg", metavar="OUT.svg", type=pathlib.Path, help=say({
            "en": "write a still picture too",
            "ko": "움직이지 않는 그림도 저장합니다"}))
    parser.add_argument("--open", action="store_true", help=say({
        "en": "show the page in the browser",
        "ko": "페이지를 브라우저로 엽니다"}))
    options = parser.parse_args(arguments)
    if options.output is None:
        if options.trace.name in ("", ".", ".."):
            parser.error(say({"en": "{trace} is no file",
                              "ko": "{trace}: 파일이 아닙니다"},
                             trace=options.trace))
        options.output = options.trace.with_suffix(".html")
    written = [path for path in (options.output, options.svg) if path]
    different = set(map(os.path.abspath, [options.trace, *written]))
    if len(different) != 1 + len(written):
        parser.error(say({
            "en": "the output would overwrite the trace, or the other output: "
                  "name another file with -o or --svg",
            "ko": "출력 파일이 트레이스나 다른 출력 파일을 덮어쓰게 됩니다. "
                  "-o나 --svg로 다른 파일을 고르십시오"}))
    return options


@program.entry
def main(arguments=None):
    """Returns the exit status."""
    options = parse_arguments(arguments)
    try:
        model = load(options.trace)
    except NotATrace as error:
        raise Failure(say({
            "en": "{trace} is not a trace of the server: {error}",
            "ko": "{trace}: 서버의 트레이스가 아닙니다({error})",
        }, trace=options.trace, error=error)) from None
    files.write(options.output, make_page(model))
    if options.svg:
        files.write(options.svg, make_picture(model))
    if model["remarks"]:
        print(say({
            "en": "trace_view.py: the trace has no proper end (was the server "
                  "killed?); shown is what could be read",
            "ko": "trace_view.py: 트레이스에 끝부분이 없습니다(서버가 강제로 "
                  "종료되었습니까?). 읽은 부분만 보여 줍니다"}),
              file=sys.stderr)
    if options.open:
        webbrowser.open(options.output.resolve().as_uri())
    return 0


if __name__ == "__main__":
    sys.exit(main())
