#!/usr/bin/env python3
"""Measure the server: its modes, the chapter's steps and others, side by side.

usage: bench.py [--quick] [--scale] [--json FILE] [--html FILE] ...

Each measurement starts a server, drives it over loopback with processes of
bench_load.py, which compare every byte, and stops it. A round measures all
servers in turn; each round begins with a different one. The table shows
medians over the rounds, and ratios to the plain server within a round, since
measurements made close together share the machine's noise.

The yardstick, bench_load.py as a native echo, shows how fast the load can be.
"""

import os
import sys

if __name__ == "__main__":  # first: the other imports take their time
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from parts import words
    words.begin("bench.py")

import argparse
import contextlib
import datetime
import json
import math
import pathlib
import platform
import queue
import re
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time

import launch
from parts import (bench_load, bench_report, costs, descriptors, files,
                   process_info, program)
from parts.arguments import within
from parts.clients import free_port
from parts.server import OWN_GROUP, Server
from parts.words import Failure, one_line

PROGRAM = launch.ROOT / "build" / "iocp_echo_server.exe"
STEPS = launch.ROOT / "build" / "steps"
SOURCES = launch.ROOT / "src" / "steps"
LOAD = pathlib.Path(bench_load.__file__).resolve()

PLAIN, NATIVE = "plain", "native"
MODES = {
    PLAIN: "",
    "buffer-4k": "--buffer 4096",
    "batch": "--batch 256",
    "inline": "--inline 1",
    "zero-byte": "--zero-byte-recv",
    "workers-4": "--workers 4",
    "together": "--workers 4 --batch 256 --inline 7",
}

# Addresses of this machine. A churn needs many ports; each address has all.
HOSTS = ([f"127.0.0.{i}" for i in range(1, 9)]
         if launch.WINDOWS or sys.platform == "linux" else ["127.0.0.1"])

# The lines that a server prints when nothing is wrong.
EVENT = re.compile("(ready|accept|read|write|close|stopping|worker|stopped) ")

SPARE = 64            # descriptors for other things than connections
STOP_TIMEOUT = 15     # seconds, for Wine to end
LEAD = 0.05           # seconds from the command until all begin
GRACE = 15            # seconds for a load process, beyond its own limits
SETTLE = 0.2          # seconds until memory use is stable
IN_FLIGHT = 8         # connections that a churn has at once
STREAMS = 4
FEW = 10              # connections before the idle ones are counted
SLOWEST = 5000        # messages/s, to estimate how long one turn takes
SCALES = (10, 100, 1000, 10000)
COSTS = "costs"       # what needs no load: see costs.py


class Unreached(Exception):
    """A limit was met before all connections were there."""


# ------------------------------- the servers --------------------------------

class Target:
    """A server to measure: how it is started, and how it ends."""

    def __init__(self, name, kind, line, shown):
        self.name, self.kind, self.line, self.shown = name, kind, line, shown
        # Where it listens: found at the first start, but our echo's is known.
        self.hosts = HOSTS[:1] if kind == NATIVE else None

    def command(self, port):
        return [word.replace("{port}", str(port)) for word in self.line]

    @property
    def chooses_port(self):
        """Whether it chooses its port and prints it; others are given one."""
        return not any("{port}" in word for word in self.line)


def accepts(host, port):
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


class Running(Server):
    """The server of one measurement: start it, then finish or kill it."""

    name = ""  # messages name the target already

    def __init__(self, target, directory):
        super().__init__(target.line, directory / "server.log")
        self.target = target
        if target.kind == NATIVE:
            self.options["stdin"] = subprocess.PIPE  # closing it ends it

    def start(self):
        super().start()
        if self.target.hosts is None:
            self.target.hosts = [HOSTS[0], *(
                host for host in HOSTS[1:] if accepts(host, self.port))]

    def open(self):
        if not self.target.chooses_port:
            self.port = free_port()
            self.line = self.target.command(self.port)
        super().open()

    def is_ready(self):
        if self.target.chooses_port:
            return super().is_ready()
        return accepts(HOSTS[0], self.port)

    def last_line(self):
        """Returns the last line that is not an EVENT; if all are, the last."""
        lines = [x.strip() for x in self.text().split("\n") if x.strip()]
        return ([""] + lines + [x for x in lines if not EVENT.match(x)])[-1]

    def refused(self):
        """Returns the line in which a step says that it has no room for a
        client, or None."""
        return next(iter(self.printed("refused ")), None)

    def how_it_is(self):
        """Returns the server's state, to be added to a client's message."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.5)  # connections end before their process
        status, said = self.process.poll(), self.last_line()
        if status is not None:
            return (f"; the server ended with status {status}: "
                    f"{said or 'no message'}")
        return f"; the server's last line: {said}" if said and not (
            EVENT.match(said)) else ""

    # What it uses. If a server has several processes, all of them count.

    def cpu(self):
        return self.ask(process_info.cpu_time, process_info.family_cpu_time)

    def memory(self):
        return self.ask(process_info.memory, process_info.family_memory)

    def threads(self):
        """Returns how many it has; None if it has several processes."""
        return self.ask(process_info.threads, lambda _: None)

    def ask(self, of_process, of_family):
        several = self.target.kind in (NATIVE, "against")
        try:
            return (of_family if several else of_process)(self.process.pid)
        except OSError:
            raise Failure("is gone" + self.how_it_is()) from None

    def finish(self):
        """Stops it if it can be stopped. Raises Failure if it has ended."""
        if self.process.poll() is not None:
            raise Failure("is gone" + self.how_it_is())
        if self.target.kind == "mode":
            self.stop()

    def kill(self):
        """Kills it, and what it has started itself."""
        if self.process is None:
            return
        family = [] if self.target.kind == "mode" else (
            process_info.family(self.process.pid))
        super().kill()
        for pid in set(family) - {self.process.pid}:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if self.process.stdin:
            self.process.stdin.close()


# --------------------------------- the load ---------------------------------

class Loader:
    """One process of the load, and its answers."""

    def __init__(self):
        self.answers = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, str(LOAD), "load"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            encoding="ascii", **OWN_GROUP)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        with contextlib.suppress(ValueError):  # killed within a line
            for line in self.process.stdout:
                self.answers.put(json.loads(line))
        self.answers.put({"error": "the load ended (bench_load.py)"})

    def tell(self, name, **arguments):
        try:
            self.process.stdin.write(json.dumps([name, arguments]) + "\n")
            self.process.stdin.flush()
        except OSError:
            pass  # the process is gone: answer() will say so

    def answer(self, timeout):
        try:
            return self.answers.get(timeout=timeout)
        except queue.Empty:
            return {"error": f"nothing moves for {timeout:.0f} seconds"}

    def dismiss(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def close(self):
        """Ends the process, and with it its clients."""
        try:
            self.process.wait(1)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join()
        self.process.stdout.close()


class Load:
    """All processes of the load against one server."""

    def __init__(self, options):
        self.options, self.loaders = options, []

    def start(self, connections):
        wanted = max(self.options.load_processes,
                     math.ceil(connections / most_of_one_process()))
        for _ in range(min(wanted, connections)):
            with program.interrupts.later():
                self.loaders.append(Loader())

    def shares(self, count):
        """Divides `count`: yields (loader, its share, its first number)."""
        first = 0
        for i, loader in enumerate(self.loaders):
            share = (count + i) // len(self.loaders)
            yield loader, share, first
            first += share

    def connect(self, server, count, first=0):
        for loader, share, offset in self.shares(count):
            loader.tell("connect", hosts=server.target.hosts,
                        port=server.port, count=share, first=first + offset)
        collect(server, self.loaders,
                bench_load.connect_timeout(count) + GRACE)

    def run(self, server, wineserver, name, count, **arguments):
        """Loads the server for one measurement. Returns a sample: how much
        was done, and the CPU time that took."""
        # With very many connections, time for each to have several turns.
        more_time = count / SLOWEST if count >= 1000 else 0
        seconds = self.options.seconds + more_time
        start = bench_load.clock() + int(LEAD * 1e9)
        begin = start + int((self.options.warm_up + more_time) * 1e9)
        end = begin + int(seconds * 1e9)
        for loader, share, first in self.shares(count):
            if arguments:  # a churn, which connects by itself
                arguments.update(first=first * 10**6, in_flight=share)
            loader.tell(name, start=start, begin=begin, end=end, **arguments)
        bench_load.wait_for(begin)
        before = server.cpu(), cpu_of(wineserver), process_info.busy_time()
        bench_load.wait_for(end)
        after = server.cpu(), cpu_of(wineserver), process_info.busy_time()
        answers = collect(server, self.loaders,
                          bench_load.LAST_TIMEOUT + GRACE)
        return sample(answers, seconds, before, after)

    def close(self):
        for loader in self.loaders:
            loader.dismiss()
        for loader in self.loaders:
            loader.close()


def most_of_one_process():
    """Returns how many connections one process of the load can have."""
    if bench_load.new_poll is bench_load.SelectPoll:
        return bench_load.SelectPoll.MOST
    return max(descriptors.limit() - SPARE, SPARE)


def collect(server, loaders, timeout):
    """Returns all answers. Raises what one of them reports."""
    answers = [loader.answer(timeout) for loader in loaders]
    if any("error" in x or "unreached" in x for x in answers):
        if server.refused():
            raise Unreached(f"it has no room for them: {server.refused()}")
    for answer in answers:
        if "error" in answer:
            raise Failure(answer["error"] + server.how_it_is())
    for answer in answers:
        if "unreached" in answer:
            reached = sum(each["connections"] for each in answers)
            raise Unreached(f"{reached} connections, then: "
                            f"{answer['unreached']}{server.how_it_is()}")
    return answers


def cpu_of(wineserver):
    """Returns its CPU time; None if there is no wineserver, or it has gone."""
    try:
        return process_info.cpu_time(wineserver) if wineserver else None
    except OSError:
        return None


def find_wineserver():
    """Returns the pid of wineserver, Wine's kernel, or None."""
    if launch.WINDOWS or not pathlib.Path("/proc/self/environ").exists():
        return None
    prefix = b"WINEPREFIX=" + os.fsencode(launch.PREFIX)
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if ((path / "comm").read_bytes().startswith(b"wineserver")
                    and prefix in
                    (path / "environ").read_bytes().split(b"\0")):
                return int(path.name)
    return None


def sample(answers, seconds, before, after):
    count = sum(answer["count"] for answer in answers)
    if not count:
        raise Failure(f"no echo within {seconds:g} seconds")
    histogram = {}
    for answer in answers:
        for key, number in answer["histogram"].items():
            histogram[int(key)] = histogram.get(int(key), 0) + number
    used = [None if a is None or b is None else b - a
            for a, b in zip(before, after)]
    load_cpu = sum(answer["cpu"] for answer in answers)
    others = None
    if used[2] is not None:
        others = used[2] - used[0] - (used[1] or 0) - load_cpu
    return {"count": count, "seconds": seconds, "value": count / seconds,
            "server_cpu": used[0], "wineserver_cpu": used[1],
            "load_cpu": load_cpu,
            "others_busy": None if others is None
            else max(others, 0) / seconds,
            "load_busy": max(a["cpu"] for a in answers) / seconds,
            "p50_us": percentile(histogram, 50),
            "p99_us": percentile(histogram, 99)}


def percentile(histogram, percent):
    """Returns microseconds, within one percent; None if nothing was timed."""
    rank = math.ceil(sum(histogram.values()) * percent / 100)
    for key in sorted(histogram):
        rank -= histogram[key]
        if rank <= 0:
            return math.exp((key + 0.5) / 100) / 1000
    return None


# ------------------------------- the workloads ------------------------------
#
# CPU time is given for each `per`. A sample's `value` is in `unit`.

class Workload:
    per, better = "message", "more"

    def __init__(self, name, title, unit, connections):
        self.name, self.title, self.unit = name, title, unit
        self.connections = connections


class Ping(Workload):
    def measure(self, server, load, wineserver):
        load.connect(server, self.connections)
        taken = load.run(server, wineserver, "ping", self.connections)
        return {**taken, "threads": server.threads()}


class Stream(Workload):
    per = "MB"

    def measure(self, server, load, wineserver):
        load.connect(server, self.connections)
        taken = load.run(server, wineserver, "stream", self.connections)
        return {**taken, "count": taken["count"] / 1e6,
                "value": taken["value"] / 1e6}


class Churn(Workload):
    per = "connection"

    def measure(self, server, load, wineserver):
        return load.run(server, wineserver, "churn", self.connections,
                        hosts=server.target.hosts, port=server.port)


class Idle(Workload):
    per, better = "connection", "less"

    def measure(self, server, load, wineserver):
        load.connect(server, FEW)
        before = self.memory(server, wineserver)
        load.connect(server, self.connections, FEW)
        after = self.memory(server, wineserver)
        each = [None if a is None or b is None
                else max(b - a, 0) / self.connections
                for a, b in zip(before, after)]
        return {"count": self.connections, "value": each[0],
                "wineserver_bytes": each[1]}

    def memory(self, server, wineserver):
        time.sleep(SETTLE)
        try:
            services = process_info.memory(wineserver) if wineserver else None
        except OSError:
            services = None
        return server.memory(), services


def make_workloads(options):
    """Returns all workloads, by name."""
    pings = [Ping(f"ping-{n}", f"{bench_load.SIZE}-byte ping-pong on {n} "
                  f"connection{'s' * (n > 1)}", "messages/s", n)
             for n in (1, 64, 500)]
    scales = [Ping(f"scale-{n}", f"{bench_load.SIZE}-byte ping-pong on {n:,} "
                   "connections", "messages/s", n) for n in SCALES]
    every = [*pings,
             Stream("stream", f"64 KiB messages both ways at once on "
                    f"{STREAMS} connections", "MB/s", STREAMS),
             Churn("churn", f"connect, echo, close; {IN_FLIGHT} at once",
                   "connections/s", IN_FLIGHT),
             Idle("idle", f"memory of each of {options.idle:,} connections "
                  "that have echoed once", "bytes", options.idle), *scales]
    return {workload.name: workload for workload in every}


# ------------------------------- the measuring ------------------------------

class Progress:
    """Draws a bar on a terminal, nothing elsewhere."""

    def __init__(self, total):
        self.total, self.done, self.began = total, 0, time.monotonic()
        self.shown = sys.stderr.isatty()

    def show(self, what):
        if not self.shown:
            return
        width = min(shutil.get_terminal_size().columns - 1, 100)
        share = self.done / max(self.total, 1)
        left = ""
        if self.done:
            rest = ((time.monotonic() - self.began)
                    * (self.total - self.done) / self.done)
            left = f"{int(rest // 60)}:{int(rest % 60):02d} left  "
        bar = "#" * round(20 * share)
        line = f"[{bar:20}] {self.done}/{self.total}  {left}{what}"
        print("\r" + line[:width].ljust(width), end="", file=sys.stderr,
              flush=True)

    def step(self):
        self.done += 1

    def clear(self):
        if self.shown:
            width = min(shutil.get_terminal_size().columns - 1, 100)
            print("\r" + " " * width + "\r", end="", file=sys.stderr,
                  flush=True)


class Bench:
    """The samples of all workloads and servers, and what went wrong."""

    def __init__(self, options, targets, workloads, directory):
        self.options, self.targets = options, targets
        self.workloads, self.directory = workloads, directory
        self.samples = {(w.name, t.name): [] for w in workloads
                        for t in targets}
        self.notes, self.failures = [], []
        self.costs = {}        # by mode: what one echo costs
        self.started = []      # functions that end what was started
        self.left_out = set()  # targets, and (workload, target)
        self.progress = Progress(options.repeat * len(self.samples))

    def run(self):
        if COSTS in self.options.workloads and self.options.modes:
            self.count("calls", costs.why_no_calls(self.options.checked),
                       self.count_calls)
            self.count("instructions", costs.why_no_instructions(),
                       costs.instructions_of_one_echo)
        wineserver = find_wineserver()
        for i in range(self.options.repeat):
            for workload in self.workloads:
                turn = i % len(self.targets)
                for target in self.targets[turn:] + self.targets[:turn]:
                    self.progress.show(f"{workload.name} {target.name}")
                    self.measure(i, workload, target, wineserver)
                    self.progress.step()
        self.progress.clear()

    def measure(self, i, workload, target, wineserver):
        place = workload.name, target.name
        if target.name in self.left_out or place in self.left_out:
            return
        under_wine = target.line[0] == "wine"
        try:
            taken = self.measure_once(workload, target,
                                      wineserver if under_wine else None)
            self.samples[place].append({"round": i, **taken})
        except Unreached as why:
            self.left_out.add(place)
            self.notes.append(one_line(
                f"{target.name}, {workload.name}: {why}"))
        except Failure as why:
            self.left_out.add(target.name)
            self.fail(f"{target.name}, {workload.name}: {why}")

    def measure_once(self, workload, target, wineserver):
        load = Load(self.options)
        server = Running(target, self.directory)
        self.started = [load.close, server.kill]
        try:
            load.start(workload.connections)
            server.start()
            taken = workload.measure(server, load, wineserver)
            load.close()
            server.finish()
            return taken
        finally:
            self.end()

    def count(self, what, why_not, count):
        """Counts what an echo costs in each mode, if it can be done here."""
        if why_not:
            self.notes.append(f"{what} of one echo: {why_not}")
            return
        for mode in self.options.modes:
            self.progress.show(f"{what} {mode}")
            try:
                self.costs.setdefault(mode, {})[what] = count(
                    split(self.options.mode[mode]), self.directory)
            except Failure as why:
                self.fail(f"{mode}, {what}: {why}")
            finally:
                self.end()

    def count_calls(self, arguments, directory):
        def start(env):
            server = Server(
                launch.command(self.options.checked, 0, *arguments),
                directory / "checked.log",
                env={**launch.environment(), **env})
            self.started = [server.kill]
            server.start()
            return server
        return costs.calls_of_one_echo(start, directory)

    def end(self):
        """Ends what is left of a measurement."""
        for end in self.started:
            end()

    def fail(self, text):
        self.failures.append(one_line(text))
        self.progress.clear()
        print(f"bench.py: {self.failures[-1]}", file=sys.stderr, flush=True)


# --------------------------------- the result -------------------------------

def summarize(workload, target, samples, plain):
    """Returns one row: medians over the rounds."""
    def middle(key, scale=1, by_count=False):
        values = [s[key] / (s["count"] if by_count else 1) * scale
                  for s in samples if s.get(key) is not None]
        return statistics.median(values) if values else None
    values = [s["value"] for s in samples]
    ratios = [s["value"] / p["value"] for s in samples for p in plain
              if s["round"] == p["round"] and p["value"]]
    return {"name": target.name, "kind": target.kind,
            "median": statistics.median(values), "low": min(values),
            "high": max(values),
            "ratio": statistics.median(ratios) if ratios else None,
            "p50_us": middle("p50_us"), "p99_us": middle("p99_us"),
            "server_cpu_us": middle("server_cpu", 1e6, True),
            "wineserver_cpu_us": middle("wineserver_cpu", 1e6, True),
            "load_cpu_us": middle("load_cpu", 1e6, True),
            "load_busy": middle("load_busy"),
            "others_busy": middle("others_busy"),
            "wineserver_bytes": middle("wineserver_bytes"),
            "threads": middle("threads"),
            "samples": samples}


def make_result(bench, options, machine):
    workloads = []
    for workload in bench.workloads:
        def taken(name, workload=workload):
            return bench.samples.get((workload.name, name), [])
        workloads.append({
            "name": workload.name, "title": workload.title,
            "unit": workload.unit, "better": workload.better,
            "per": workload.per, "connections": workload.connections,
            "unreached": [target.name for target in bench.targets
                          if (workload.name, target.name) in bench.left_out
                          and not taken(target.name)],
            "servers": [summarize(workload, target, taken(target.name),
                                  taken(PLAIN))
                        for target in bench.targets if taken(target.name)]})
    return {"machine": machine,
            "settings": {"seconds": options.seconds,
                         "warm_up": options.warm_up,
                         "repeat": options.repeat,
                         "load_processes": options.load_processes},
            "servers": [{"name": target.name, "kind": target.kind,
                         "command": one_line(target.shown)}
                        for target in bench.targets],
            "workloads": workloads, "costs": bench.costs,
            "notes": bench.notes,
            "failures": bench.failures}


def first_line(*command):
    """Returns the first line that a program prints, or None."""
    try:
        done = subprocess.run(command, env=launch.environment(), timeout=60,
                              stdin=subprocess.DEVNULL, encoding="utf-8",
                              errors="replace", stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = done.stdout.strip().splitlines()
    return one_line(lines[0]) if lines else None


def processor():
    """Returns the CPU's name as its maker gives it, where it can be read."""
    with contextlib.suppress(OSError):
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
        found = re.search(r"^model name\s*:\s*(.+)$", text, re.M)
        if found:
            return one_line(found[1])
    return platform.processor() or platform.machine()


def system():
    with contextlib.suppress(OSError):
        text = pathlib.Path("/etc/os-release").read_text(encoding="utf-8")
        found = re.search(r'^PRETTY_NAME="?([^"\n]+)', text, re.M)
        if found:
            return f"{one_line(found[1])}, Linux {platform.release()}"
    return f"{platform.system()} {platform.release()} {platform.version()}"


def describe_machine(options, arguments):
    now = datetime.datetime.now(datetime.timezone.utc)
    return {"processor": processor(), "cores": os.cpu_count(),
            "system": system(), "python": platform.python_version(),
            "wine": None if launch.WINDOWS else first_line("wine",
                                                           "--version"),
            "server": first_line(*launch.command(
                options.server, "--version")) or options.server.name,
            "date": now.strftime("%Y-%m-%d %H:%M UTC"),
            "command": one_line(" ".join(["bench.py", *arguments]))}


# ------------------------------- command line -------------------------------

class Parser(argparse.ArgumentParser):
    def error(self, message):
        print(f"bench.py: {one_line(message)}", file=sys.stderr)
        sys.exit(2)


def pair(text):
    """NAME=VALUE"""
    name, sign, value = text.partition("=")
    if not sign or not re.fullmatch(r"[A-Za-z0-9][\w.+-]{0,15}", name):
        raise argparse.ArgumentTypeError(
            f"'{text}' is not NAME=VALUE with a NAME of up to 16 letters, "
            "digits and .+-_")
    return name, value


def names(text):
    return [name for name in text.split(",") if name]


def make_parser():
    parser = Parser(prog="bench.py", allow_abbrev=False,
                    description="Measure the echo server, "
                    "its modes and others, side by side.")
    add = parser.add_argument
    add("--modes", metavar="LIST", type=names,
        help="of the server; default: " + ",".join(MODES))
    add("--mode", metavar="NAME=ARGS", type=pair, action="append",
        default=[], help="another mode, or another meaning of one")
    add("--no-steps", action="store_true",
        help="without the chapter's steps")
    add("--against", metavar="NAME=COMMAND", type=pair, action="append",
        default=[], help="another echo server; {port} in COMMAND is the port "
        "it is to listen on (not needed if it prints 'ready port=N'); an "
        ".exe runs under Wine where that is needed")
    add("--workloads", metavar="LIST", type=names,
        help="of ping-1,ping-64,ping-500,stream,churn,idle,costs,scale; "
        "default: all but scale")
    add("--scale", action="store_true",
        help="also 10, 100, 1,000 and 10,000 connections")
    add("--quick", action="store_true",
        help="seconds for all of it, to see that it works: no figures")
    add("--seconds", metavar="S", type=within(float, 0.05, 60),
        help="of each measurement (1)")
    add("--warm-up", metavar="S", type=within(float, 0, 60),
        help="before it (0.3)")
    add("--repeat", metavar="N", type=within(int, 1, 100), help="rounds (3)")
    add("--idle", metavar="N", type=within(int, 1, 60000),
        help="idle connections (1000)")
    add("--load-processes", metavar="N", type=within(int, 1, 64),
        default=max(2, min(8, (os.cpu_count() or 1) // 2)),
        help="that share the connections (half the CPUs, 2 to 8)")
    add("--server", metavar="EXE", type=pathlib.Path, default=PROGRAM,
        help="default: build/iocp_echo_server.exe")
    add("--steps", metavar="DIR", type=pathlib.Path, default=STEPS,
        help="default: build/steps")
    add("--checked", metavar="EXE", type=pathlib.Path, default=costs.CHECKED,
        help="that counts calls; default: build/checked/iocp_echo_server.exe")
    add("--json", metavar="FILE", type=pathlib.Path, help="all figures")
    add("--html", metavar="FILE", type=pathlib.Path, help="a page with plots")
    return parser


DEFAULTS = {"seconds": 1.0, "warm_up": 0.3, "repeat": 3, "idle": 1000}
QUICK = {"seconds": 0.2, "warm_up": 0.05, "repeat": 1, "idle": 50,
         "modes": [PLAIN]}


def parse_arguments(arguments):
    parser = make_parser()
    options = parser.parse_args(arguments)
    options.mode = {**MODES, **dict(options.mode)}
    for name, value in {**DEFAULTS, "modes": list(options.mode),
                        **(QUICK if options.quick else {})}.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    check_names(parser, "--modes", options.modes, options.mode)
    known = [*make_workloads(options), COSTS, "scale"]
    if options.workloads is None:
        options.workloads = [name for name in known if "scale" not in name]
    check_names(parser, "--workloads", options.workloads, known)
    if options.scale:
        options.workloads.append("scale")
    try:
        options.targets = make_targets(options)
    except ValueError as error:
        parser.error(str(error))
    return options


def check_names(parser, option, given, known):
    for name in given:
        if name not in known:
            parser.error(f"{option}: no '{name}'; there are "
                         + ", ".join(known))


def split(text):
    """Returns the words of a command line. On Windows a backslash is a plain
    letter."""
    words = shlex.split(text, posix=not launch.WINDOWS)
    return [word.strip('"') for word in words] if launch.WINDOWS else words


def make_targets(options):
    """Returns the servers to measure. Raises ValueError if one has no command
    or two have one name."""
    program = options.server.resolve()
    targets = [Target(name, "mode", launch.command(
        program, 0, *split(options.mode[name])),
        f"{program.stem} 0 {options.mode[name]}".strip())
        for name in options.modes]
    if not options.no_steps:
        targets += [Target(path.stem.split("_")[0], "step",
                           launch.command(path.resolve(), 0),
                           f"{path.stem} 0")
                    for path in sorted(options.steps.glob("step*.exe"))
                    if (SOURCES / f"{path.stem}.c").exists()]  # or it is old
    for name, command in options.against:
        words = split(command)
        if not words:
            raise ValueError(f"--against: {name} has no command")
        if words[0].lower().endswith(".exe"):
            words = launch.command(*words)
        targets.append(Target(name, "against", words, command))
    targets.append(Target(NATIVE, NATIVE, [
        sys.executable, str(LOAD), "echo", str(options.load_processes)],
        f"bench_load.py echo {options.load_processes}"))
    every = [target.name for target in targets]
    for name in every:
        if every.count(name) > 1:
            raise ValueError(f"two servers are named '{name}'")
    return targets


def chosen_workloads(options):
    every = make_workloads(options)
    return [workload for workload in every.values()
            if workload.name in options.workloads
            or ("scale" in options.workloads
                and workload.name.startswith("scale-"))]


def check(options):
    """Checks the files before anything starts. Raises Failure."""
    if not options.server.is_file():
        raise Failure(f"{options.server} is not there: build it first (make)")
    for path in (options.json, options.html):
        if path and not path.resolve().parent.is_dir():
            raise Failure(f"{path}: there is no such directory")


def run(options, arguments):
    """Measures and reports. Returns the exit status."""
    check(options)
    descriptors.raise_limit()
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(stack.enter_context(
            tempfile.TemporaryDirectory()))
        stack.enter_context(wine())
        machine = describe_machine(options, arguments)
        bench = Bench(options, options.targets, chosen_workloads(options),
                      directory)
        try:
            bench.run()
        finally:
            bench.end()  # again: Ctrl+C may have interrupted its own call
    result = make_result(bench, options, machine)
    print(bench_report.make_text(result), end="")
    if options.json:
        files.write(options.json, json.dumps(result, indent=1) + "\n")
    if options.html:
        files.write(options.html, bench_report.make_page(result))
    return 1 if bench.failures else 0


@contextlib.contextmanager
def wine():
    """Keeps Wine up. At the end waits until it is down, if it was before."""
    before = find_wineserver()
    try:
        with launch.wine_session():
            yield
    finally:
        end = time.monotonic() + STOP_TIMEOUT
        while (find_wineserver() not in (None, before)
               and time.monotonic() < end):
            time.sleep(0.1)


@program.entry
def main(arguments=None):
    """Returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    return run(parse_arguments(arguments), arguments)


if __name__ == "__main__":
    sys.exit(main())
