#!/usr/bin/env python3
"""Load the server for a long time, watch it, and say whether it held.

Each part starts servers of its own and compares every byte that comes back:

  mixed    every kind of client at once for --seconds, good ones and bad ones,
           and a stop in the middle of it
  cycles   connect, echo, close, --cycles times
  volume   --gigabytes (of 10^9 bytes) through one connection
  stops    --stops times a stop under load
  input    --lines random command lines in one process, and --starts more with
           a process for each
  lives    --lives lives of its sources on the simulated Windows, one in ten of
           them with calls that fail

While clients are connected, memory, handles and threads are sampled. They must
stay flat: a line fitted through the samples of the second half (the first half
is for warming up) may not rise by more than a bound, if that lasts half a
second.

The server is build/iocp_echo_server.exe, or what SERVER names.
"""

import os
import sys

if __name__ == "__main__":  # first: the other imports take their time
    sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(
        os.path.dirname(os.path.abspath(__file__)), "..", "scripts")]
    from parts import words
    words.begin("soak")

import argparse
import pathlib
import random
import shutil
import subprocess
import tempfile
import time

import command_lines
import support
from parts import descriptors, process_info, program, words
from parts.arguments import Parser, within
from simulated import simulate
from soak_clients import CYCLES, MIXED, STOPS, Crowd, Wrong
from support import Server, launch, wait_until

STEP = 0.1    # seconds between two samples
EVERY = 30    # seconds between two lines of progress, without a terminal
WIDTH = 78
SHORT = 0.5   # seconds: a second half of less is still for warming up

# What is measured, in which unit, and how much it may rise in the second half.
MEASURES = {"memory": (process_info.memory, 1024, "KB", 1024),
            "handles": (process_info.handles, 1, "", 64),
            "threads": (process_info.threads, 1, "", 2)}

WARM = 20     # rounds before a stop
HURRY = 0.3   # seconds after them, at most: the stop comes at any moment


# --------------------------------- output -----------------------------------

class Screen:
    """Prints the report to standard output, and progress to standard error: on
    a terminal one line that is redrawn, else a line now and then."""

    def __init__(self):
        self.terminal = sys.stderr.isatty()
        self.next = 0.0

    def progress(self, text):
        now = time.monotonic()
        if now < self.next:
            return
        self.next = now + (0.5 if self.terminal else EVERY)
        text = f"soak: {text}"
        if self.terminal:
            text = f"\r{text[:WIDTH]:<{WIDTH}}"
        print(text, end="" if self.terminal else "\n", file=sys.stderr,
              flush=True)

    def clear(self):
        if self.terminal:
            print(f"\r{'':{WIDTH}}\r", end="", file=sys.stderr, flush=True)
        self.next = 0.0

    def say(self, text=""):
        self.clear()
        print(text, flush=True)


def one_line(error):
    """Returns one line that says what went wrong."""
    return words.one_line(words.reason(error))[:600]


# --------------------------------- samples ----------------------------------

def slope(points):
    """Returns the slope of the line through the points (time, value), by least
    squares."""
    count = len(points)
    mean_time = sum(time for time, _ in points) / count
    mean = sum(value for _, value in points) / count
    spread = sum((time - mean_time) ** 2 for time, _ in points)
    return sum((time - mean_time) * (value - mean)
               for time, value in points) / spread if spread else 0.0


class Samples:
    """What a process used from its start to its end."""

    def __init__(self, pid):
        self.pid, self.began = pid, time.monotonic()
        self.rows = {name: [] for name in MEASURES}

    def take(self):
        now = time.monotonic() - self.began
        for name, (measure, unit, _, _) in MEASURES.items():
            self.rows[name].append((now, measure(self.pid) / unit))

    def last(self):
        return ", ".join(f"{self.rows[name][-1][1]:.0f} {unit or name}"
                         for name, (_, _, unit, _) in MEASURES.items())

    def second_half(self, name):
        points = self.rows[name]
        middle = (points[0][0] + points[-1][0]) / 2
        return [point for point in points if point[0] >= middle]

    def judge(self):
        """Returns the lines of a table, and a list of what rose too much."""
        table = [f"  {'':<11}{'first':>9}{'last':>9}{'lowest':>9}"
                 f"{'highest':>9}{'a minute':>10}{'2nd half':>10}{'bound':>8}"]
        wrong = []
        for name, (_, _, unit, bound) in MEASURES.items():
            values = [value for _, value in self.rows[name]]
            half = self.second_half(name)
            rate = slope(half)
            seconds = half[-1][0] - half[0][0]
            rise = rate * seconds
            table.append(
                f"  {name + ' ' + unit:<11}{values[0]:>9,.0f}"
                f"{values[-1]:>9,.0f}{min(values):>9,.0f}{max(values):>9,.0f}"
                f"{60 * rate:>+10,.1f}{rise:>+10,.1f}{bound:>8,}")
            if rise > bound and seconds >= SHORT:
                wrong.append(f"{name} rose by {rise:,.0f} {unit or name} in "
                             f"the second half, more than {bound:,}")
        return table, wrong


# ---------------------------------- a run -----------------------------------

class Soak:
    """What all parts share."""

    def __init__(self, options):
        self.options, self.screen = options, Screen()
        self.seed = options.seed

    def start(self, *arguments, **others):
        return Server(*arguments, *self.options.arguments, **others)

    def watch(self, part, server, crowd, seconds, done):
        """Samples until the clients are done or the time is over. `done()`
        says how far they are. Returns the samples."""
        samples = Samples(server.process.pid)
        end = time.monotonic() + seconds
        pause = crowd.ending
        while True:
            try:
                samples.take()
            except OSError:  # the process has ended
                server.wait_end()
                check(crowd, server)
            self.screen.progress(f"{part} {done()}, {samples.last()}")
            check(crowd, server)
            if not crowd.busy() or time.monotonic() >= end:
                return samples
            pause.wait(STEP)  # a pause: only this thread sets the event

    def report(self, heading, crowd, samples, stopped):
        """Prints a part's tables. Raises Wrong for what was not flat."""
        self.screen.say(heading)
        self.screen.say(f"  {'client':<13}{'number':>7}{'rounds':>12}"
                        f"{'connections':>13}{'bytes back':>17}")
        rows = crowd.table()
        if len(rows) > 1:
            rows["all"] = [sum(column) for column in zip(*rows.values())]
        for kind, (number, rounds, connections, back) in rows.items():
            self.screen.say(f"  {kind.replace('_', ' '):<13}{number:>7,}"
                            f"{rounds:>12,}{connections:>13,}{back:>17,}")
        table, wrong = samples.judge()
        for line in table:
            self.screen.say(line)
        self.screen.say(f"  {stopped}")
        if wrong:
            raise Wrong("; ".join(wrong))


def check(crowd, server):
    """Raises Wrong if a client has seen a mistake or the server has ended."""
    if crowd.wrong:
        raise Wrong(crowd.wrong[0])
    if not server.alive():
        raise Wrong(f"the server ended, status {server.process.poll()}: "
                    f"{server.errors[-3:]}")


def stop(server):
    """Stops the server with Ctrl+C. Returns its totals, and a line for the
    report."""
    began = time.monotonic()
    server.signal_stop()
    status = server.wait_end()
    seconds = time.monotonic() - began
    # A line about a client that left before it was accepted is all right.
    errors = [x for x in server.errors if "this client only" not in x]
    if status != 0 or errors:
        raise Wrong(f"the server ended with status {status}: {errors[-3:]}")
    try:
        totals = server.check_end()
    except AssertionError as error:
        raise Wrong("the last lines are not as they should be: "
                    f"{server.lines[-3:]} {error}") from None
    return totals, (f"stopped after {seconds:.1f} s, status 0: "
                    f"{server.lines[-1][len('stopped '):]}")


def stop_under_load(server, crowd):
    """Stops the server while the clients go on. They may lose connections, but
    must see no wrong byte. The totals must fit what they sent and got."""
    crowd.stopping = True
    totals, line = stop(server)
    crowd.end()
    if crowd.wrong:
        raise Wrong(crowd.wrong[0])
    sent, back = crowd.total("sent"), crowd.total("back")
    if not (back <= totals["sent"] <= totals["received"] <= sent
            and totals["connections"] <= crowd.total("connections")):
        raise Wrong(f"the totals do not add up: clients sent {sent} and got "
                    f"{back} on {crowd.total('connections')} connections; "
                    + line)
    return totals, line


def stop_after(server, crowd):
    """Stops the server when all clients are done: no byte may be missing."""
    totals, line = stop(server)
    numbers = [totals["received"], totals["sent"], crowd.total("back")]
    if (numbers != 3 * [crowd.total("sent")] or totals["failed"]
            or totals["connections"] != crowd.total("connections")):
        raise Wrong(f"the totals do not add up: clients sent "
                    f"{crowd.total('sent')} and got {numbers[2]} on "
                    f"{crowd.total('connections')} connections; {line}")
    return line


# ---------------------------------- parts -----------------------------------

def mixed(soak):
    server, seconds = soak.start(), soak.options.seconds
    with Crowd(server.port, soak.seed, MIXED) as crowd:
        began = time.monotonic()
        samples = soak.watch(
            "mixed", server, crowd, seconds,
            lambda: f"{time.monotonic() - began:.0f} of {seconds:g} s, "
                    f"{crowd.total('connections'):,} connections, "
                    f"{crowd.total('back') / 1e6:,.0f} MB back")
        _, line = stop_under_load(server, crowd)
    soak.report(f"mixed: everything at once for {seconds:g} s", crowd,
                samples, line)


def cycles(soak):
    server, wanted = soak.start(), soak.options.cycles
    each, more = divmod(wanted, sum(CYCLES.values()))
    with Crowd(server.port, soak.seed, CYCLES, each, more) as crowd:
        samples = soak.watch(
            "cycles", server, crowd, float("inf"),
            lambda: f"{crowd.total('rounds'):,} of {wanted:,}")
        line = stop_after(server, crowd)
    soak.report(f"cycles: connect, echo, close, {wanted:,} times", crowd,
                samples, line)


def volume(soak):
    size = round(soak.options.gigabytes * 1e9)

    def one_connection(me):
        """Sends all of it, and receives at the same time."""
        with me.connect() as client:
            client.stream(size)
            me.rounds += 1
    server = soak.start()
    with Crowd(server.port, soak.seed, {one_connection: 1}, 1) as crowd:
        began = time.monotonic()
        samples = soak.watch(
            "volume", server, crowd, float("inf"),
            lambda: f"{crowd.total('back') / 1e6:,.0f} of "
                    f"{size / 1e6:,.0f} MB")
        seconds = time.monotonic() - began
        line = stop_after(server, crowd)
    soak.report(f"volume: {size:,} bytes through one connection, "
                f"{size / 1e6 / seconds:.1f} MB/s", crowd, samples, line)


def one_stop(soak, number, pause):
    """Starts, loads and stops a server. Returns the seconds that the stop
    took, the connections and the bytes."""
    server = soak.start("--workers", 1 + number % 4)
    with Crowd(server.port, f"{soak.seed} {number}", STOPS) as crowd:
        if not wait_until(lambda: crowd.wrong
                          or crowd.total("rounds") >= WARM):
            raise Wrong("no echo gets through")
        crowd.ending.wait(pause)
        check(crowd, server)
        began = time.monotonic()
        totals, line = stop_under_load(server, crowd)
        seconds = time.monotonic() - began
    # All of these clients read, so nothing that was received is lost.
    if totals["received"] != totals["sent"] or totals["failed"]:
        raise Wrong(f"not all was echoed: {line}")
    return seconds, totals["connections"], totals["sent"]


def stops(soak):
    chance = random.Random(f"{soak.seed} stops")
    wanted, done = soak.options.stops, []
    for number in range(wanted):
        soak.screen.progress(f"stops {number} of {wanted}")
        try:
            done.append(one_stop(soak, number, chance.uniform(0, HURRY)))
        except Wrong as error:
            raise Wrong(f"number {number + 1}: {error}") from None
        finally:
            support.kill_all()
    seconds, connections, size = zip(*done)
    soak.screen.say(
        f"stops: {wanted} under load, each with status 0\n"
        f"  longest {max(seconds):.1f} s; {sum(connections):,} connections, "
        f"{sum(size):,} bytes, all echoed")


def odd_input(soak):
    if not (shutil.which("x86_64-w64-mingw32-gcc") or shutil.which("gcc")):
        soak.screen.say("input: left out; it takes gcc")
        return
    ways, told = command_lines.options_here(), soak.screen.progress
    few = command_lines.Maker(soak.seed + 1, ways, 8000).lines(
        soak.options.starts)
    maker = command_lines.Maker(soak.seed, ways)
    counts, left = [0, 0, 0], soak.options.lines
    with tempfile.TemporaryDirectory() as directory:
        driver = command_lines.build_driver(pathlib.Path(directory))
        while left > 0:
            told(f"input {soak.options.lines - left:,} command lines")
            lines = maker.lines(min(left, 10_000))
            left -= len(lines)
            outcomes = command_lines.run_driver(driver, lines)
            for pair in zip(lines, outcomes):
                command_lines.check(*pair)
            counts = [a + b for a, b in zip(
                counts, command_lines.count_results(outcomes))]
        outcomes = command_lines.run_driver(driver, few)
        real = command_lines.run_all_real(
            few, outcomes, told=lambda done: told(f"input {done} processes"))
    soak.screen.say(
        "input: command lines that run, print something, are wrong\n"
        "  in one process  {:>11,} {:>11,} {:>11,}\n"
        "  one process each{:>11,} {:>11,} {:>11,}".format(*counts, *real))


def lives(soak):
    if simulate.why_not():
        soak.screen.say(f"lives: left out; {simulate.why_not()}")
        return
    wanted, done, first = soak.options.lives, 0, soak.seed * 1_000_000
    program = simulate.build()
    while done < wanted:
        count = min(wanted - done, 10_000)
        soak.screen.progress(f"lives {done:,} of {wanted:,}")
        faults = ["--faults"] if done // 10_000 % 10 == 9 else []
        told = simulate.run(program, "--seed", first + done, "--count", count,
                            *faults)
        if told.returncode != 0:
            failed = simulate.FAILED.search(told.stdout)
            raise Wrong(" ".join(failed[0].split()) if failed
                        else one_line(told.stdout))
        done += count
    soak.screen.say(f"lives: {wanted:,}, each as it should be")


PARTS = {"mixed": mixed, "cycles": cycles, "volume": volume, "stops": stops,
         "input": odd_input, "lives": lives}


# ------------------------------ command line --------------------------------

def parse_arguments(arguments):
    parser = Parser(
        prog="soak.py", description=__doc__, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="soak.py [OPTIONS] [-- OPTIONS OF THE SERVER...]",
        epilog="exit status: 0 it held, 1 it did not (one line says what), "
               "2 wrong command line,\n130 interrupted by Ctrl+C")
    parser.add_argument("--parts", default="", metavar="PARTS",
                        help="some of the above (default: all)")
    for name, kind, most, default in (
            ("seconds", float, 10**6, 1200), ("cycles", int, 10**9, 100_000),
            ("gigabytes", float, 10**6, 5), ("stops", int, 10**6, 200),
            ("lines", int, 10**8, 200_000), ("starts", int, 10**6, 1000),
            ("lives", int, 10**9, 1_000_000),
            ("seed", int, 10**9, 1)):
        parser.add_argument(
            f"--{name}", metavar="N", default=default,
            type=within(kind, 1 if kind is int else 0.001, most),
            help=f"(default: {default})")
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.parts = options.parts.replace(",", " ").split() or list(PARTS)
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"no part {part!r}; there are {' '.join(PARTS)}")
    return options


def run_parts(soak):
    """Runs each part, whether or not others failed. Returns what failed."""
    failures = []
    for part in soak.options.parts:
        try:
            PARTS[part](soak)
        except (words.Failure, AssertionError, OSError, MemoryError,
                subprocess.SubprocessError) as error:
            failures.append(f"{part}: {one_line(error)}")
        finally:
            support.kill_all()
        soak.screen.say()
    return failures


@program.entry
def main(arguments=None):
    """Returns the exit status."""
    options = parse_arguments(arguments)
    soak = Soak(options)
    try:
        launch.check(support.PROGRAM)
        descriptors.raise_limit()
        with launch.wine_session():
            soak.screen.say(" ".join([f"soak: seed {options.seed},",
                                      support.PROGRAM.name,
                                      *options.arguments]) + "\n")
            failures = run_parts(soak)
    except KeyboardInterrupt:
        support.kill_all()
        soak.screen.clear()
        raise
    except (OSError, AssertionError, subprocess.SubprocessError) as error:
        failures = [one_line(error)]
    soak.screen.say("soak: FAILED: " + "; ".join(failures) if failures
                    else "soak: passed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
