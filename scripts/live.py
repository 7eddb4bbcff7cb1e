#!/usr/bin/env python3
"""Runs the echo server and shows it live in a browser.

usage: live.py [PORT] [SERVER OPTIONS] [--http ADDRESS:PORT] [--open]
               [--trace FILE] [--server EXE]

PORT is 9190 if not given. The server writes a trace (--trace); this script
follows the file and tells the page what comes. The page can be frozen and
stepped while the server runs on. Ctrl+C stops the server; then the page is
trace_view.py's, of the whole run, and is written beside FILE. The page is for
this computer only unless --http names another ADDRESS.
"""

import os
import sys

if __name__ == "__main__":  # first: the other imports take their time
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from parts import words
    words.begin("live.py")

import contextlib
import json
import pathlib
import random
import re
import subprocess
import threading
import time
import webbrowser

import launch
import trace_view
from parts import descriptors, files, language, program
from parts.arguments import Parser
from parts.language import say
from parts.server import Server
from parts.watchers import Watchers
from parts.words import Failure, reason

PROGRAM = launch.ROOT / "build" / "iocp_echo_server.exe"
DIRECTORY = launch.ROOT / "build" / "live"
PAGE = trace_view.PAGE.with_name("live_page.html")
HTTP = "127.0.0.1:8190"

PAUSE = 0.02        # seconds between two looks at the file
CHUNK = 1 << 18     # bytes of the trace read at once
NICE = 5            # the server comes first; Linux counts this by thread
MOST = 2500         # steps a second that the page gets; else a sample
FEW = 20            # steps that it gets in any case
MAX_RUN = 50 << 20  # bytes of a trace that is made a page at the end


# --------------------------------- the run ----------------------------------

SILENT, TAKE, POST, WAIT, WORK, MOMENT = (
    "", "take", "post", "wait", "work", "moment")
COMMON = ("accept", "close", "cancel")  # moments that may be left out


class Run:
    """The server as it is, by the events of its trace so far.

    read() returns steps: what happened, and the rows of workers and
    connections that have changed since the step before. With all rows of
    snapshot() they give the state at each step, whichever are left out. `n`
    is the number of steps that one stands for.
    """

    def __init__(self):
        self.lanes = trace_view.Lanes()
        self.packets = trace_view.Packets(self.lanes.worker_of, None)
        self.moments = trace_view.Moments(self.lanes.names)
        self.workers, self.conns, self.time, self.credit = {}, {}, 0, MOST
        self.totals = dict.fromkeys(
            ("accepted", "live", "packets", "received", "sent", "failed"), 0)
        self.changed = set(), set()  # workers, connections
        self.dice = random.Random(1)

    def read(self, events):
        """Returns the steps of these events, or a sample of them."""
        before = self.time
        self.time = max([before] + [each.get("ts", 0) for each in events])
        self.credit = min(self.credit + MOST * (self.time - before) / 1e6,
                          MOST)  # what was not used in the second before
        chance = min(max(self.credit, FEW) / max(len(events), 1), 1)
        steps, passed = [], 0
        for event in events:
            what, row = self.add(event)
            if what == SILENT:
                continue
            passed += 1
            if chance == 1 or self.dice.random() < chance or (
                    what == MOMENT and row["name"] not in COMMON):
                steps.append(self.step(what, row, event["ts"], passed))
                passed = 0
        if passed or any(self.changed):
            steps.append(self.step(SILENT, {}, self.time, passed))
        self.credit = max(self.credit - len(steps), 0)
        return steps

    def step(self, what, row, at, passed):
        workers, conns = self.changed
        step = {"what": what, "row": dict(row), "at": at, "n": passed,
                "workers": [dict(self.workers[one]) for one in workers],
                "conns": [dict(self.conns[one]) for one in sorted(conns)],
                "totals": list(self.totals.values())}
        for conn in conns:
            if self.conns[conn]["closed"]:
                del self.conns[conn]
        self.changed = set(), set()
        return step

    def snapshot(self):
        return {"what": SILENT, "row": {}, "at": self.time, "n": 0,
                "workers": list(self.workers.values()),
                "conns": list(self.conns.values()),
                "totals": list(self.totals.values())}

    def info(self):
        return {**trace_view.read_info(self.lanes.info),
                "kinds": trace_view.KINDS}

    # ----------------------------- one event -------------------------------

    def add(self, event):
        """Returns what it shows, and the packet or moment."""
        category = event.get("cat")
        if category == "kernel":
            return self.add_operation(event)
        if category == "life":
            return self.add_moment(event)
        if category in ("packet", "work"):
            return self.add_packet(event)
        if event["ph"] == "M":
            self.lanes.add(event)
            worker = self.lanes.workers.get(event.get("tid"))
            if worker and worker not in self.workers:
                self.worker(worker, does="waits", since=0)
        return SILENT, {}

    def worker(self, number, **news):
        row = self.workers.setdefault(number, {"worker": number, "last": None})
        row.update(news)
        self.changed[0].add(number)

    def conn(self, number):
        self.changed[1].add(number)
        return self.conns.setdefault(number, {
            "conn": number, "peer": "", "owner": 0, "asked": 0, "received": 0,
            "sent": 0, "closed": ""})

    def add_operation(self, event):
        """The kernel gets an operation, or gives it back."""
        args, worker = event["args"], self.lanes.worker_of(event)
        row, packet = self.conn(args["conn"]), self.packets.at_hand.get(worker)
        mine = packet is not None and packet["conn"] == args["conn"]
        if event["ph"] == "b":
            row["owner"], row["asked"] = event["name"], args["bytes"]
            if mine:
                packet["then"] = event["name"]
                return POST, packet
        else:
            row["owner"] = worker
            if mine and args["error"]:  # without a packet: the post failed
                packet["then"] = "failed " + event["name"]
                packet["then_error"] = args["error"]
                return POST, packet
        return SILENT, {}

    def add_packet(self, event):
        worker = self.lanes.worker_of(event)
        before = self.packets.at_hand.get(worker)
        self.packets.add(event)
        self.packets.rows.clear()
        packet = self.packets.at_hand.get(worker, before)
        if packet is None:
            return SILENT, {}
        ends = event["ph"] == "E"
        if event["cat"] == "work":
            if ends:
                self.worker(worker, does="runs")
                return SILENT, {}
            packet["work_end"] = event["ts"] + 1000 * trace_view.count(
                self.lanes.info.get("work"))
            self.worker(worker, does="sleeps" if packet["work"] == 2
                        else "computes")
            return WORK, packet
        if ends:
            gone = trace_view.KINDS[packet["kind"]] == "sentinel"
            self.worker(worker, does="gone" if gone else "waits",
                        since=event["ts"])
            return WAIT, packet
        self.count(packet)
        self.worker(worker, does="runs", last={
            key: packet[key] for key in ("kind", "conn", "bytes", "start")})
        return TAKE, packet

    def count(self, packet):
        kind = packet["kind"]
        if kind >= len(trace_view.OPERATIONS):
            return
        row, size = self.conn(packet["conn"]), packet["bytes"]
        packet["offered"] = row["asked"]
        self.totals["packets"] += 1
        if kind < 2:
            name = ("received", "sent")[kind]
            row[name] += size
            self.totals[name] += size

    def add_moment(self, event):
        self.moments.add(event)
        moment = self.moments.rows.pop()
        self.moments.rows.clear()
        if moment["name"] == "accept":
            row = self.conn(moment["conn"])
            row["peer"] = moment.get("peer", "")
            row["owner"] = "READ"  # which main posts in the same breath
            self.totals["accepted"] += 1
        elif moment["name"] == "close":
            self.close(moment)
        self.totals["live"] = self.moments.live
        return MOMENT, moment

    def close(self, moment):
        """The totals are the server's: what was thrown away does not
        count, and one that was cancelled has not failed."""
        row = self.conn(moment["conn"])
        row["closed"] = moment.get("reason") or "?"
        self.totals["failed"] += row["closed"] == "error"
        for key in ("received", "sent"):
            self.totals[key] += moment.get(key, 0) - row[key]
            row[key] = moment.get(key, 0)
        packet = self.packets.at_hand.get(
            trace_view.worker_number(moment["lane"]))
        if packet is not None and not packet["then"]:
            packet["then"] = "close"


# ------------------------------- to the page --------------------------------

def parse(text):
    """Returns the events in a piece of a trace, which begins and ends with
    whole ones."""
    text = text.strip("[], \r\n")
    try:
        events = json.loads(f"[{text}]")
    except (ValueError, RecursionError):
        events = trace_view.read_lines(text, {})
    return [each for each in events
            if isinstance(each, dict) and isinstance(each.get("ph"), str)]


def is_whole(line):
    try:
        json.loads(line)
        return True
    except ValueError:
        return False


class Follower(threading.Thread):
    """Reads the trace while it grows and publishes what comes."""

    def __init__(self, path, watchers, state):
        super().__init__(daemon=True)
        self.path, self.watchers, self.state = path, watchers, state
        self.over = threading.Event()
        self.whole, self.rest = False, b""

    def run(self):
        with contextlib.suppress(AttributeError, OSError):  # Windows has none
            os.nice(NICE)
        while not self.path.exists():
            if self.over.wait(PAUSE) and not self.path.exists():
                return
        with open(self.path, "rb") as file:
            while True:
                over = self.over.is_set()
                data = file.read(CHUNK)
                if data:
                    self.take(data)
                elif over:
                    return
                else:
                    time.sleep(PAUSE)

    def take(self, data):
        """Publishes what these bytes say. An event may be cut, and its line
        ends only when the next one comes."""
        data = self.rest + data
        line = data.rfind(b"\n") + 1
        if is_whole(data[line:]):
            line = len(data)
        data, self.rest = data[:line], data[line:]
        events = parse(data.decode("utf-8", "replace"))
        self.whole = self.whole or data.rstrip().endswith(b"]")
        with self.watchers.lock:
            told = self.state.lanes.info
            steps = self.state.read(events)
            message = {"steps": steps, "time": self.state.time}
            if told is not self.state.lanes.info:
                message["info"] = self.state.info()
            if steps:
                self.watchers.publish(encode(message))

    def finish(self):
        """Reads the rest. The server has ended."""
        self.over.set()
        self.join()


def encode(message):
    return (b"data: " + json.dumps(message, separators=(",", ":")).encode()
            + b"\n\n")


def make_page():
    """Returns the page. Look, words and patterns are the viewer's."""
    page = PAGE.read_text(encoding="utf-8")
    viewer = trace_view.PAGE.read_text(encoding="utf-8")
    for name in ("look", "words"):
        part = re.search(rf'<(\w+) id="{name}">(.*?)</\1>', viewer, re.S)
        page = page.replace("{{%s}}" % name.upper(), part[2])
    return page.replace("{{PATTERNS}}", trace_view.PATTERNS)


class Taken(Failure):
    """There can be no page at this address."""

    status = 2


class Live:
    """Shows a trace that a server is about to write."""

    def __init__(self, trace, address):
        self.state, self.remark = Run(), ""
        self.address = address
        try:
            self.watchers = Watchers(address, self.beginning)
        except (OSError, OverflowError) as error:
            raise Taken(say({
                "en": "no page on {host}: {reason}; choose another address "
                      "with --http ADDRESS:PORT",
                "ko": "{host}에 페이지를 열 수 없습니다({reason}). --http "
                      "ADDRESS:PORT로 다른 주소를 고르십시오",
            }, host=self.host(), reason=reason(error))) from None
        self.watchers.pages["/"] = make_page().encode()
        self.follower = Follower(trace, self.watchers, self.state)

    def beginning(self):
        return encode({"steps": [self.state.snapshot()], "fresh": True,
                       "time": self.state.time, "info": self.state.info(),
                       "remark": self.remark})

    def host(self):
        """Returns where this computer finds the page."""
        host, port = self.address
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def start(self, show, place=""):
        """Prints the page's address; opens it in the browser if `show`."""
        with contextlib.suppress(FileNotFoundError):
            self.follower.path.unlink()  # of another run
        self.address = (self.address[0], self.watchers.server_address[1])
        self.watchers.start()
        self.follower.start()
        print(say({"en": "page {page}", "ko": "페이지 {page}"},
                  page=f"http://{self.host()}/{place}"), flush=True)
        if show:
            webbrowser.open(f"http://{self.host()}/{place}")

    def say(self, what):
        """Shows one of its remarks on the page."""
        with self.watchers.lock:
            self.remark = what
            self.watchers.publish(encode({"remark": what, "steps": [],
                                          "time": self.state.time}))

    def finish(self, page=None):
        """The server has ended. Gives the watchers what it did last, and the
        page of the whole run, if there is one."""
        self.follower.finish()
        self.watchers.end(page and page.encode(), encode({"end": True}))


def watching(options):
    """Returns what makes the page of a lesson and waits until it is seen."""
    def watch(trace):
        live = Live(trace, options.http)
        live.start(options.open, "#slow")
        print(say({
            "en": "the lesson begins when a browser shows this page",
            "ko": "브라우저에서 이 페이지를 열면 시연을 시작합니다"}), flush=True)
        while not live.watchers.watchers:
            time.sleep(PAUSE)
        return live
    return watch


# -------------------------------- the server --------------------------------

class LiveServer(Server):
    """The server with the console's output. Its errors pass through here, so
    that the page can say that the trace has ended."""

    def __init__(self, line, live, trace):
        # A relative name: it need not pass through a command line.
        super().__init__([*line, "--trace", trace.name], None,
                         cwd=trace.parent)
        self.live, self.errors = live, []

    def run(self):
        """Returns its exit status. Ctrl+C goes to it, each time."""
        with program.interrupts.later():
            self.process = self.start_process(
                self.line, stderr=subprocess.PIPE, **self.options)
        reader = threading.Thread(target=self.pass_on, daemon=True)
        reader.start()
        while True:
            try:
                while self.process.poll() is None:
                    time.sleep(PAUSE)
                reader.join(1)  # Wine's services may hold the pipe
                return self.process.returncode
            except KeyboardInterrupt:
                program.interrupts.over = False
                self.signal_stop()

    def pass_on(self):
        for line in self.process.stderr:
            text = line.decode("utf-8", "backslashreplace").rstrip()
            self.errors.append(text)
            print(text, file=sys.stderr, flush=True)
            if "(trace)" in text:
                self.live.say("trace")

    def never_started(self):
        return launch.never_started(self.process.returncode,
                                    "\n".join(self.errors))


def serve(line, live, trace):
    """Runs the server to its end. Returns its exit status."""
    for _ in range(launch.START_TRIES):
        server = LiveServer(line, live, trace)
        try:
            status = server.run()
        finally:
            server.kill()
        if trace.exists() or not server.never_started():
            break
    live.follower.finish()
    if status < 0 or status and not (server.errors or live.follower.whole):
        print(say({
            "en": "live.py: the server was killed (status {status}); the page "
                  "shows what it had written",
            "ko": "live.py: 서버가 강제로 종료되었습니다(상태 {status}). "
                  "페이지는 그때까지 기록된 것을 보여 줍니다",
        }, status=status), file=sys.stderr)
        return 1
    return status


def show_run(trace, live):
    """Makes the page of the whole run, if there is a run and it is not too
    long. Gives it to the watchers and writes it beside the trace."""
    if not live.state.lanes.info:
        return
    if trace.stat().st_size > MAX_RUN:
        print(say({
            "en": "live.py: the run was long: trace_view.py {trace} may take "
                  "a while to make its page",
            "ko": "live.py: 기록이 깁니다. trace_view.py {trace}로 페이지를 "
                  "만들 수 있지만 시간이 걸립니다",
        }, trace=trace), file=sys.stderr)
        live.finish()
        return
    page = trace_view.make_page(trace_view.load(trace))
    live.finish(page)
    files.write(trace.with_suffix(".html"), page)


# ------------------------------- command line -------------------------------

def address(text):
    """ADDRESS:PORT, [ADDRESS]:PORT."""
    match = re.fullmatch(r"\[([0-9A-Fa-f:.%\w]+)\]:(\d{1,5})|([^:\s]+):"
                         r"(\d{1,5})", text)
    port = int(match[2] or match[4]) if match else -1
    if not 0 <= port < 65536:
        raise ValueError(text)
    return match[1] or match[3], port


def add_http(parser):
    parser.add_argument(
        "--http", metavar="ADDRESS:PORT", type=address, default=HTTP,
        help=say({"en": "where the page is; default: {http}, for this "
                        "computer only",
                  "ko": "페이지의 주소. 기본값은 이 컴퓨터에서만 볼 수 있는 "
                        "{http}입니다"}, http=HTTP))


def parse_arguments(arguments):
    """Returns our options; `rest` are the server's."""
    language.choose(arguments)
    parser = Parser(
        prog="live.py", allow_abbrev=False,
        usage="live.py [PORT] [SERVER OPTIONS] [OPTIONS]",
        description=say({
            "en": "Run the echo server and show it live in a browser. PORT is "
                  "9190 if not given. All other options are the server's.",
            "ko": "에코 서버를 실행하고 브라우저로 실시간으로 보여 줍니다. "
                  "PORT를 쓰지 않으면 9190입니다. 나머지 옵션은 모두 서버의 "
                  "옵션입니다."}))
    add_http(parser)
    language.add_option(parser)
    parser.add_argument("--open", action="store_true", help=say({
        "en": "show the page in the browser",
        "ko": "페이지를 브라우저로 엽니다"}))
    parser.add_argument("--trace", metavar="FILE", type=pathlib.Path,
                        help=say({"en": "default: build/live/PORT.json",
                                  "ko": "기본값: build/live/PORT.json"}))
    parser.add_argument("--server", metavar="EXE", type=pathlib.Path,
                        default=PROGRAM, help=say({
                            "en": "default: build/iocp_echo_server.exe",
                            "ko": "기본값: build/iocp_echo_server.exe"}))
    options, rest = parser.parse_known_args(arguments)
    if not rest or rest[0].startswith("-"):
        rest.insert(0, "9190")
    port = re.sub(r"\W", "_", rest[0])
    options.trace = (options.trace or DIRECTORY / f"{port}.json").absolute()
    options.rest = rest
    return options


@program.entry
def main(arguments=None):
    """Returns the exit status: the server's, if it ran."""
    options = parse_arguments(arguments)
    launch.check(options.server)
    descriptors.raise_limit()  # each client is one, and each watcher
    trace = options.trace
    trace.parent.mkdir(parents=True, exist_ok=True)
    live = Live(trace, options.http)
    launch.prepare()
    line = launch.command(options.server.resolve(), *options.rest)
    live.start(options.open)
    status = serve(line, live, trace)
    show_run(trace, live)
    return status


if __name__ == "__main__":
    sys.exit(main())
