#!/usr/bin/env python3
"""Shows one thing about completion ports: runs the server, says what it saw.

usage: demo.py LESSON [-o DIR] [--server EXE] [--open] [--live]
       demo.py --list

A lesson starts the server with a trace, sends it some clients and stops it
with Ctrl+C. What it prints as observed is computed only from the trace and
from what the server printed. Then it prints what Windows documents. It writes
DIR/LESSON.html, a page for the class, .json, the trace, and .log, the
server's output. DIR is build/demo if not given. --live first shows the lesson
while it runs, in slow motion, on live.py's page.

The server's source also plays the lessons lifo, limit and paused on the
simulated Windows (tests/README.md), where that can be built. Its page and its
trace are DIR/LESSON-simulated.html and .json.
"""

import os
import sys

if __name__ == "__main__":  # first: the other imports take their time
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from parts import words
    words.begin("demo.py")

import argparse
import contextlib
import html
import pathlib
import socket
import subprocess
import textwrap
import threading
import time
import webbrowser

import launch
import live
import trace_view
from parts import costs, files, program
from parts.arguments import Parser
from parts.clients import connect, receive, receive_all, reset
from parts.server import Server, fields
from parts.words import Failure, one_line

PROGRAM = launch.ROOT / "build" / "iocp_echo_server.exe"
DIRECTORY = launch.ROOT / "build" / "demo"

IO_TIMEOUT = 10     # seconds, of a client: far more than any echo takes
STUCK = 0.4         # seconds: if a send waits this long, the server is stuck
LIMIT = 60          # seconds for a lesson, from the server's ready line on
SLEEPS = 2          # the kind of a packet's work, in trace_view's model


# -------------------------------- the server --------------------------------

class LessonServer(Server):
    """The server of one lesson, and its clients."""

    def __init__(self, program, directory, name, options):
        # A relative name, so that the directory's letters, whatever they are,
        # need not pass through a command line.
        super().__init__(
            launch.command(program, 0, "--bind", "127.0.0.1", "--trace",
                           f"{name}.json", *options),
            directory / f"{name}.log", cwd=directory)
        self.clients, self.stopped, self.late = [], False, False
        self.timer = threading.Timer(LIMIT, self.expire)
        self.timer.daemon = True

    def start(self):
        super().start()
        self.timer.start()

    def expire(self):
        """Kills the server, so that no client goes on waiting."""
        self.late = True
        with contextlib.suppress(OSError):
            self.kill()

    def signal_stop(self):
        """Presses Ctrl+C once only: a second one would cut the drain short."""
        if not self.stopped:
            self.stopped = True
            super().signal_stop()

    def reported(self):
        """Returns the sum of the completions that the workers report."""
        try:
            return sum(int(fields(line)["completions"])
                       for line in self.printed("worker "))
        except (KeyError, ValueError):
            raise Failure("the server's last lines can't be read") from None

    def close(self):
        """Ends everything that was started."""
        self.timer.cancel()
        for client in self.clients:
            client.close()
        self.kill()

    def connect(self, receive_buffer=None):
        self.clients.append(connect("127.0.0.1", self.port, receive_buffer,
                                    IO_TIMEOUT))
        return self.clients[-1]


def receive_whole(client, size):
    data = receive(client, size)
    if len(data) < size:
        raise Failure(f"the echo ended after {len(data)} of {size} bytes")
    return data


def echo(client, message):
    """Sends a message. Returns whether it comes back unchanged."""
    client.sendall(message)
    return receive_whole(client, len(message)) == message


def leave(*leaving):
    """Sends end of file and waits for the server's, so that the server is
    done with them too."""
    for client in leaving:
        client.shutdown(socket.SHUT_WR)
        receive_all(client)
        client.close()


def send_until_stuck(client, most=1 << 26):
    """Sends without reading until the server's WRITE is stuck."""
    client.settimeout(STUCK)
    sent = 0
    while sent < most:
        try:
            sent += client.send(b"x" * 4096)
        except socket.timeout:
            return
    raise Failure(f"the server took {sent} bytes of a client that never reads")


# --------------------------- what a trace has to say ------------------------
#
# Pure functions of the model that trace_view makes of a trace. Its times are
# in microseconds, the printed ones in milliseconds.

def of_kind(model, *kinds):
    """Returns the packets of these kinds, in the order they were taken."""
    return [p for p in model["packets"]
            if trace_view.KINDS[p["kind"]] in kinds]


def operations(model, conn=None):
    """Returns the packets that the server counts as completions."""
    return [p for p in of_kind(model, *trace_view.OPERATIONS)
            if conn in (None, p["conn"])]


def moments(model, name):
    return [m for m in model["moments"] if m["name"] == name]


def kernel_spans(model, operation=None):
    """Returns the spans from post to packet, in the order of posting."""
    return [s for s in model["spans"]
            if s["operation"] and operation in (None, s["operation"])]


def changes(values):
    """Counts how often a value differs from the one before."""
    return sum(a != b for a, b in zip(values, values[1:]))


def most_at_once(intervals):
    """Returns the most intervals (start, end) that overlap."""
    edges = sorted([(end, -1) for _, end in intervals]
                   + [(start, 1) for start, _ in intervals])
    most = now = 0
    for _, change in edges:
        now += change
        most = max(most, now)
    return most


def time_with_more(intervals, limit):
    """Returns for how long more than `limit` intervals overlap."""
    edges = sorted([(end, -1) for _, end in intervals]
                   + [(start, 1) for start, _ in intervals])
    total, now, last = 0, 0, 0
    for time_, change in edges:
        if now > limit:
            total += time_ - last
        now, last = now + change, time_
    return total


def who_woke(model):
    """Counts who got the packets that were taken while several workers
    waited: the one that had waited "shortest", "longest", or "another". A
    worker without a packet so far has waited longest; while all are like
    that, nothing is counted."""
    counts = {"shortest": 0, "longest": 0, "another": 0}
    parked = {row["worker"]: -1.0 for row in model["workers"]}
    for packet in of_kind(model, *trace_view.OPERATIONS, "posted"):
        waiting = {worker: since for worker, since in parked.items()
                   if since <= packet["start"]}
        since = waiting.get(packet["worker"])
        if since is not None and len(set(waiting.values())) > 1:
            if since == max(waiting.values()):
                counts["shortest"] += 1
            elif since == min(waiting.values()):
                counts["longest"] += 1
            else:
                counts["another"] += 1
        parked[packet["worker"]] = packet["end"]
    return counts


def overtaken(spans):
    """Counts the operations that a later one overtook."""
    earliest, count = float("inf"), 0
    for span in sorted(spans, key=lambda s: s["start"], reverse=True):
        count += earliest < span["end"]
        earliest = min(earliest, span["end"])
    return count


def overtaken_within_connections(spans):
    return sum(overtaken(mine)
               for mine in trace_view.group(spans, "conn").values())


def work_intervals(model):
    return [(p["work_start"], p["work_end"]) for p in operations(model)
            if p["work"]]


def running_intervals(model):
    """Returns when a worker had a packet and did not sleep."""
    packets = operations(model)
    awake = [p for p in packets if p["work"] != SLEEPS]
    asleep = [p for p in packets if p["work"] == SLEEPS]
    return ([(p["start"], p["end"]) for p in awake]
            + [(p["start"], p["work_start"]) for p in asleep]
            + [(p["work_end"], p["end"]) for p in asleep])


def taken_beside(model, limit):
    """Counts the packets taken while at least `limit` other workers were
    blocked in their work."""
    work = work_intervals(model)
    return sum(sum(start < p["start"] < end for start, end in work) >= limit
               for p in operations(model))


# --------------------------------- wording ----------------------------------

def ms(microseconds):
    return f"{microseconds / 1000:.1f}"


def listed(values):
    return " ".join(map(str, values)) or "none"


def codes(packets):
    return listed(sorted({p["error"] for p in packets}))


# --------------------------------- lessons ----------------------------------
#
# A lesson has the server's options. drive() is its clients; observe() reads
# the trace and returns a dict that fills in the text. The text holds only
# what was observed; `documented` is what Microsoft's `page` says.

class Lesson:
    options = []
    wine = ""   # how Wine differs, if that matters here
    paper = ""  # where the documented rules can be watched, if Wine hides them
    # drive() for the simulated Windows: how many clients, messages of each,
    # milliseconds between these, and between one client and the next.
    simulated = ()

    def drive(self, server):
        """Runs the clients. Returns a dict of what only they can know."""

    def observe(self, model):
        """Returns a dict of the numbers in the text."""

    def observed(self, model, clients):
        try:
            return self.text.format(**self.observe(model), **clients)
        except (LookupError, ValueError):
            # observe() does not check that the trace has what it reads.
            raise Failure("the trace does not show what happened") from None


def on_paper(preset):
    """Says where the same runs by the rules that Windows documents."""
    return ("Open this file in a browser to step through it as Windows "
            f"documents it: scripts/playground.html#preset={preset}")


class Cycle(Lesson):
    about = "one client: READ, WRITE, READ; which worker takes each step?"
    options = ["--workers", 4]
    text = ("Connection 1 had {packets} packets, in this order: {kinds}. "
            "{alternating} of {steps} times a READ was followed by a WRITE or "
            "a WRITE by a READ. The workers that took them: {workers}. "
            "{changed} of {steps} times the next packet went to another "
            "worker than the one before.")
    documented = ("A thread waits for a packet to be queued to the port, "
                  "rather than for an operation of its own. Any thread that "
                  "waits there may get it.")
    page = "I/O Completion Ports"
    wine = ("Which worker is next depends on the order in which they are "
            "woken, and Wine's is not that of Windows: see lesson lifo.")

    def drive(self, server):
        client = server.connect()
        for i in range(6):
            echo(client, b"message %d" % i)
            time.sleep(0.05)
        leave(client)
        return {}

    def observe(self, model):
        packets = operations(model, conn=1)
        kinds = [trace_view.KINDS[p["kind"]] for p in packets]
        workers = [p["worker"] for p in packets]
        return {"packets": len(packets), "kinds": listed(kinds),
                "steps": max(len(packets) - 1, 0),
                "alternating": changes(kinds),
                "workers": listed(workers), "changed": changes(workers)}


class Lifo(Lesson):
    about = "light load, many workers: who wakes?"
    options = ["--workers", 8]
    text = ("One client, {packets} packets, {workers} workers: {used} of them "
            "took any. Packets per worker: {shares}. {choices} times a packet "
            "came while two or more workers waited and could be told apart: "
            "{shortest} times the one that had waited shortest took it (last "
            "in, first out), {longest} times the one that had waited longest "
            "(first in, first out), {another} times another.")
    documented = ("Threads that block on a completion port are released in "
                  "last-in-first-out order; packets are queued "
                  "first-in-first-out.")
    page = "I/O Completion Ports"
    wine = ("Wine 8 wakes the worker that has waited longest, Wine 10 the one "
            "that has waited shortest.")
    paper = on_paper("lifo")
    simulated = (1, 20, 20, 0)

    def drive(self, server):
        client = server.connect()
        for i in range(20):
            echo(client, b"message %d" % i)
            time.sleep(0.02)
        leave(client)
        return {}

    def observe(self, model):
        shares = [row["packets"] for row in model["workers"]]
        woke = who_woke(model)
        return {"packets": len(operations(model)), "workers": len(shares),
                "used": sum(share > 0 for share in shares),
                "shares": listed(shares), "choices": sum(woke.values()),
                **woke}


class Limit(Lesson):
    about = "workers 8, concurrency 2: how many compute at once?"
    options = ["--workers", 8, "--concurrency", 2, "--work", "30:spin"]
    text = ("{conns} clients, {reads} READs with 30 ms of computing each. "
            "At most {most} of {workers} workers computed at once; the port's "
            "limit was {limit}. More than {limit} did so for {over} ms of the "
            "{some} ms in which any did.")
    documented = ("The concurrency value limits the number of runnable "
                  "threads of a port. Once it is reached, further threads are "
                  "blocked until the number falls below it.")
    page = "I/O Completion Ports"
    wine = "Wine 8 and Wine 10 ignore the limit."
    paper = on_paper("limit")
    simulated = (8, 3, 200, 0)

    def drive(self, server):
        clients = [server.connect() for _ in range(8)]
        for i in range(3):
            message = b"message %d" % i
            for client in clients:
                client.sendall(message)
            for client in clients:
                receive_whole(client, len(message))
        leave(*clients)
        return {}

    def observe(self, model):
        work, running = work_intervals(model), running_intervals(model)
        limit = model["info"]["concurrency"]
        return {"conns": len(model["connections"]), "reads": len(work),
                "most": most_at_once(work),
                "workers": len(model["workers"]), "limit": limit,
                "over": ms(time_with_more(work, limit)),
                "some": ms(time_with_more(work, 0)),
                "beside": taken_beside(model, limit),
                "running": most_at_once(running),
                "excess": ms(time_with_more(running, limit))}


class Paused(Limit):
    about = "the same, but they sleep: is a further worker released?"
    options = Limit.options[:-1] + ["30:sleep"]
    text = ("{conns} clients, {reads} READs in which the worker sleeps 30 "
            "ms. At most {most} of {workers} workers slept at once; the "
            "port's limit was {limit}. {beside} packets were taken while "
            "{limit} or more other workers slept. More than {limit} slept for "
            "{over} ms of the {some} ms in which any did. At most {running} "
            "ran at once, more than {limit} for {excess} ms.")
    documented = ("If a running thread of the port enters a wait state for "
                  "another reason, a waiting thread may be released to "
                  "process a packet. When the first runs again, there may for "
                  "a brief period be more active threads than the limit.")
    wine = ("Wine 8 and Wine 10 ignore the limit, so this picture looks like "
            "that of lesson limit; on Windows compare the two.")
    paper = on_paper("paused")


class Order(Lesson):
    about = "completion order is not issue order; within a connection it is"
    options = ["--workers", 4]
    text = ("The first READs were posted for connections {posted}; their "
            "packets were taken for connections {taken}. Of {operations} "
            "operations that succeeded, {overtaken} were overtaken: one "
            "posted later was complete earlier. Within one connection: "
            "{within}. "
            "{right} of {clients} clients got their bytes back in the order "
            "they sent them.")
    documented = ("Packets are queued in the order of completion, "
                  "first-in-first-out, but may be dequeued in a different "
                  "order.")
    page = "I/O Completion Ports"

    def drive(self, server):
        clients = [server.connect() for _ in range(6)]
        time.sleep(0.1)  # until all their READs are posted
        right = [True] * len(clients)
        for turn in range(4):
            # The last to connect speaks first; each turn starts elsewhere.
            for i in range(len(clients)):
                which = (len(clients) - 1 - i + turn) % len(clients)
                clients[which].sendall(b"turn %d client %d" % (turn, which))
                time.sleep(0.005)
            for which, client in enumerate(clients):
                expected = b"turn %d client %d" % (turn, which)
                got = receive_whole(client, len(expected))
                right[which] &= got == expected
        leave(*clients)
        return {"clients": len(clients), "right": sum(right)}

    def observe(self, model):
        spans = [s for s in kernel_spans(model) if s["error"] == 0]
        first = {}
        for span in spans:
            first.setdefault(span["conn"], span)
        by_end = sorted(first.values(), key=lambda span: span["end"])
        return {"posted": listed(first),
                "taken": listed(span["conn"] for span in by_end),
                "operations": len(spans), "overtaken": overtaken(spans),
                "within": overtaken_within_connections(spans)}


class BackPressure(Lesson):
    about = "a client that never reads: one long WRITE; the others go on"
    options = ["--workers", 2, "--drain-timeout", 1]
    text = ("Connection 1 never read. Its last WRITE, of {bytes} bytes, was "
            "the kernel's for {long} ms. In that time the other {others} "
            "connections got {echoes} echoes; their longest WRITE took "
            "{other} ms. Of connection 1 the server took {received} bytes and "
            "sent {sent}; then it read no more. The long WRITE ended as a "
            "{end} packet, error {error}, after the server was stopped.")
    documented = ("A send that can't be completed at once is pending; its "
                  "completion is indicated later, and until then its buffers "
                  "and its OVERLAPPED have to stay.")
    page = "WSASend function"

    def drive(self, server):
        send_until_stuck(server.connect(receive_buffer=4096))
        clients = [server.connect() for _ in range(3)]
        for i in range(10):
            for client in clients:
                echo(client, b"message %d" % i)
        leave(*clients)
        return {}

    def observe(self, model):
        writes = kernel_spans(model, "WRITE")
        mine = [s for s in writes if s["conn"] == 1]
        rest = [s for s in writes if s["conn"] != 1]
        if not mine or not rest:
            raise Failure("the trace has no WRITE of all connections")
        last = mine[-1]
        packet = operations(model, conn=1)[-1]
        closed = next((m for m in moments(model, "close") if m["conn"] == 1),
                      {"received": "?", "sent": "?"})
        return {"bytes": last["bytes"],
                "long": ms(last["end"] - last["start"]),
                "others": len({s["conn"] for s in rest}),
                "echoes": sum(last["start"] < p["start"] < last["end"]
                              and p["conn"] != 1
                              for p in of_kind(model, "WRITE")),
                "other": ms(max(s["end"] - s["start"] for s in rest)),
                "received": closed["received"], "sent": closed["sent"],
                "end": trace_view.KINDS[packet["kind"]],
                "error": packet["error"]}


class HalfClose(Lesson):
    about = "half-close after a burst: everything comes back, then the end"
    options = ["--workers", 4]
    burst = 40000  # bytes; socket buffers hold them while it only sends
    text = ("The client sent {sent} bytes, then its end of file, then began "
            "to read. It got {got} bytes ({same}) and then the server's end "
            "of file. The server took {reads} READs with data, and {ends} of "
            "0 bytes, {after} ms after the last WRITE was complete; it closed "
            "with reason {reason}, received {received}, sent {echoed}.")
    documented = ("On a byte stream, a receive that completes with zero bytes "
                  "says that the peer has closed its side in good order, and "
                  "that no more will come.")
    page = "WSARecv function"

    def drive(self, server):
        data = bytes(range(256)) * (self.burst // 256 + 1)
        data = data[:self.burst]
        client = server.connect()
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        got = receive_all(client)
        client.close()
        return {"sent": len(data), "got": len(got),
                "same": "the same" if got == data else "NOT THE SAME"}

    def observe(self, model):
        reads = of_kind(model, "READ")
        ends = [p for p in reads if p["bytes"] == 0]
        writes = of_kind(model, "WRITE")
        closed = moments(model, "close")
        if not ends or not writes or not closed:
            raise Failure("the trace has no whole connection")
        return {"reads": len(reads) - len(ends), "ends": len(ends),
                "after": ms(ends[-1]["start"] - writes[-1]["start"]),
                "reason": closed[-1]["reason"],
                "received": closed[-1]["received"],
                "echoed": closed[-1]["sent"]}


class Reset(Lesson):
    about = "a client resets: a failed packet, FALSE with an OVERLAPPED"
    options = ["--workers", 4]
    text = ("{failed} failed packet(s): {kinds}, error {codes}, of connection "
            "{conns}. Worker {worker} took it and closed the connection, "
            "reason {reason}. {after} packets of connection 2 came after it, "
            "{bad} of them failed. The WRITE had been the kernel's for "
            "{pending} ms.")
    documented = ("If *lpOverlapped is not NULL and the return value is "
                  "FALSE, a packet of a failed operation was dequeued; "
                  "GetLastError says how it failed.")
    page = "GetQueuedCompletionStatus function"
    wine = ("The WRITE is pending on purpose: under Wine a reset that meets a "
            "pending READ can look like an end of file. The error's number "
            "depends on the system.")

    def drive(self, server):
        doomed, other = server.connect(receive_buffer=4096), server.connect()
        echo(other, b"before")
        send_until_stuck(doomed)
        reset(doomed)
        for i in range(3):
            echo(other, b"after %d" % i)
            time.sleep(0.05)
        leave(other)
        return {}

    def observe(self, model):
        failed = of_kind(model, "failed READ", "failed WRITE")
        closed = moments(model, "close")
        if not failed or not closed:
            raise Failure("no operation has failed: the reset came unnoticed")
        first = failed[0]
        after = [p for p in operations(model, conn=2)
                 if p["start"] > first["start"]]
        span = [s for s in kernel_spans(model) if s["conn"] == first["conn"]
                and s["start"] < first["start"]][-1]
        return {"failed": len(failed), "codes": codes(failed),
                "kinds": listed(trace_view.KINDS[p["kind"]] for p in failed),
                "conns": listed(p["conn"] for p in failed),
                "worker": first["worker"],
                "reason": next((m["reason"] for m in closed
                                if m["conn"] == first["conn"]), "?"),
                "after": len(after), "bad": sum(p["error"] != 0
                                                for p in after),
                "pending": ms(span["end"] - span["start"])}


class Shutdown(Lesson):
    about = "Ctrl+C: cancelled packets, then one sentinel for each worker"
    options = ["--workers", 4]
    text = ("Ctrl+C came with {clients} clients connected and a READ pending "
            "for each. {cancels} operations were cancelled; {failed} failed "
            "packets came, error {codes}. {closes} connections were closed, "
            "the last at {last} ms. {gap} ms after that the first of {posted} "
            "sentinels was posted. {takers} of {workers} workers took {taken} "
            "sentinels: {order}. The server's exit status was 0.")
    documented = ("A cancelled operation that was pending still queues its "
                  "packet; its OVERLAPPED may not be freed or used again "
                  "before that.")
    page = "CancelIoEx function"

    def drive(self, server):
        clients = [server.connect() for _ in range(3)]
        for client in clients:
            echo(client, b"message")
        time.sleep(0.2)  # until each READ is pending again
        server.signal_stop()
        for client in clients:
            receive_all(client)  # up to the server's end of file
            client.close()
        return {"clients": len(clients)}

    def observe(self, model):
        failed = of_kind(model, "failed READ", "failed WRITE")
        closed = moments(model, "close")
        posted = moments(model, "sentinel posted")
        taken = of_kind(model, "sentinel")
        if not closed or not posted:
            raise Failure("the trace has no whole stop")
        return {"cancels": len(moments(model, "cancel")),
                "failed": len(failed), "codes": codes(failed),
                "closes": len(closed), "last": ms(closed[-1]["start"]),
                "gap": ms(posted[0]["start"] - closed[-1]["start"]),
                "posted": len(posted), "taken": len(taken),
                "takers": len({p["worker"] for p in taken}),
                "workers": len(model["workers"]),
                "order": "workers " + listed(p["worker"] for p in taken)}


class Posted(Lesson):
    about = "packets posted by hand are packets like any other"
    options = ["--workers", 4, "--post", 5]
    text = ("{posted} packets that no operation had caused were taken from "
            "the port, by workers {workers}. They came with the byte counts "
            "{bytes}, as the poster made them up, and with no OVERLAPPED. "
            "{operations} packets of operations came from the same port; "
            "{both} worker(s) took packets of both kinds.")
    documented = ("A posted packet satisfies a wait in "
                  "GetQueuedCompletionStatus with the three values the poster "
                  "gave; the system neither uses nor validates them.")
    page = "PostQueuedCompletionStatus function"

    def drive(self, server):
        client = server.connect()
        for i in range(4):
            echo(client, b"message %d" % i)
            time.sleep(0.02)
        leave(client)
        return {}

    def observe(self, model):
        posted = of_kind(model, "posted")
        workers = {p["worker"] for p in posted}
        rest = operations(model)
        return {"posted": len(posted),
                "workers": listed(p["worker"] for p in posted),
                "bytes": listed(p["bytes"] for p in posted),
                "operations": len(rest),
                "both": len(workers & {p["worker"] for p in rest})}


LESSONS = {"cycle": Cycle, "lifo": Lifo, "limit": Limit, "paused": Paused,
           "order": Order, "backpressure": BackPressure,
           "halfclose": HalfClose, "reset": Reset, "shutdown": Shutdown,
           "posted": Posted}


def list_lessons():
    return "".join(f"  {name:13} {lesson.about}\n"
                   for name, lesson in LESSONS.items())


# --------------------------------- running ----------------------------------

def run(name, lesson, program, directory):
    """Runs the lesson. Returns what its clients know, and how many
    completions the server reports."""
    for suffix in (".html", ".json", ".log", "-simulated.html",
                   "-simulated.json"):  # or a failure leaves old ones
        path = directory / (name + suffix)
        if path.exists():
            path.unlink()
    server = LessonServer(program, directory, name, lesson.options)
    try:
        server.start()
        known = lesson.drive(server)
        server.stop()
        return known, server.reported()
    except (OSError, Failure) as error:
        if server.late:
            raise Failure(f"not done after {LIMIT} seconds") from None
        if isinstance(error, socket.timeout):
            raise Failure(f"no echo within {IO_TIMEOUT} seconds") from None
        raise
    finally:
        server.close()


def simulate(name, lesson, directory):
    """Plays the lesson on the simulated Windows. Returns its model. Raises
    Failure, saying why not."""
    simulation = costs.simulation()
    if simulation.why_not():
        raise Failure(simulation.why_not())
    path = directory / f"{name}-simulated.json"
    try:
        simulation.lesson(path, *lesson.simulated, *lesson.options)
    except subprocess.SubprocessError:
        raise Failure("gcc could not build it, or it did not end") from None
    except RuntimeError as error:
        raise Failure(one_line(error)) from None
    return trace_view.load(path)


def seen(model, observed):
    """Returns what was observed, under a heading that says on what."""
    info = model["info"]
    where = ("Simulated Windows, in virtual time" if info["simulated"]
             else f"Observed on {info['system']}")
    return (f"{where} ({info['cpus']} CPUs; {info['workers']} workers, limit "
            f"{info['concurrency']})", observed)


def tell(lesson, model, observed, simulated=()):
    """Returns what to say, as a list of (heading, text)."""
    parts = [seen(model, observed), *simulated,
             (f'Windows documents ("{lesson.page}", Microsoft)',
              lesson.documented)]
    if model["info"]["wine"] and lesson.wine:
        parts.append(("Wine is not Windows", lesson.wine))
    if lesson.paper:
        parts.append(("By the documented rules (computed, not recorded)",
                      lesson.paper))
    return parts


def make_page(model, title, parts):
    """Returns trace_view's page with the lesson's title and words on it."""
    title = html.escape(title)
    lesson = f"<h2>{title}</h2>" + "".join(
        f"<div><h2>{html.escape(heading)}</h2><p>{html.escape(text)}</p></div>"
        for heading, text in parts)
    page = trace_view.make_page(model)
    for old, new in (("<title>", f"<title>{title} - "),
                     ('<div id="below">', '<div id="below"><section id="lesson'
                      f'">{lesson}</section>')):
        page = page.replace(old, new, 1)
    return page


def show(title, parts):
    print(title + "\n")
    for heading, text in parts:
        print(heading)
        print(textwrap.fill(text, 76, initial_indent="    ",
                            subsequent_indent="    ") + "\n")


def demonstrate_simulated(name, lesson, directory):
    """Does the lesson on the simulated Windows, if it has one there. Returns
    what to say of it, as a list of (heading, text), and a list of its page, if
    it has one."""
    if not lesson.simulated:
        return [], []
    try:
        model = simulate(name, lesson, directory)
    except Failure as error:
        return [("Not simulated here", f"{error}; see the playground.")], []
    observed = lesson.observed(model, {})
    page = directory / f"{name}-simulated.html"
    files.write(page, make_page(model, f"{name}, simulated: {lesson.about}",
                                tell(lesson, model, observed)))
    return [seen(model, f"{observed} Its picture: {page.name}.")], [page]


def demonstrate(name, program, directory, watch=None):
    """Runs the lesson, prints its words, writes its pages. Returns the pages'
    paths. watch(TRACE) makes the page that shows it live."""
    lesson = LESSONS[name]()
    launch.check(program)
    directory.mkdir(parents=True, exist_ok=True)
    launch.prepare()
    live_page = watch and watch(directory / f"{name}.json")
    clients, reported = run(name, lesson, program.resolve(), directory)
    model = trace_view.load(directory / f"{name}.json")
    observed = (f"{lesson.observed(model, clients)} The server reports "
                f"{reported} completions in all, the trace has "
                f"{len(operations(model))}.")
    simulated, pages = demonstrate_simulated(name, lesson, directory)
    parts = tell(lesson, model, observed, simulated)
    title = f"{name}: {lesson.about}"
    pages.insert(0, directory / f"{name}.html")
    text = make_page(model, title, parts)
    files.write(pages[0], text)
    if live_page:
        live_page.finish(text)
    show(title, parts)
    for page in pages:
        print(f"Picture: {shown_path(page)}")
    return pages


def shown_path(path):
    """Returns the path as seen from here, if it is on the same drive."""
    try:
        return os.path.relpath(path)
    except ValueError:  # another drive
        return str(path)


def parse_arguments(arguments):
    parser = Parser(
        prog="demo.py", description="Run a lesson with the echo server.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="lessons:\n" + list_lessons())
    parser.add_argument("lesson", metavar="LESSON", nargs="?")
    parser.add_argument("-o", "--output", metavar="DIR", type=pathlib.Path,
                        default=DIRECTORY, help="default: build/demo")
    parser.add_argument("--server", metavar="EXE", type=pathlib.Path,
                        default=PROGRAM,
                        help="default: build/iocp_echo_server.exe")
    parser.add_argument("--open", action="store_true",
                        help="show the page in the browser")
    parser.add_argument("--live", action="store_true",
                        help="show it live, in slow motion: see live.py")
    live.add_http(parser)
    parser.add_argument("--list", action="store_true",
                        help="print the lessons and exit")
    return parser.parse_args(arguments)


@program.entry
def main(arguments=None):
    """Returns the exit status."""
    options = parse_arguments(arguments)
    if options.list:
        print(list_lessons(), end="")
        return 0
    if options.lesson not in LESSONS:
        wrong = (f"no lesson '{one_line(options.lesson)}'" if options.lesson
                 else "which lesson?")
        print(f"demo.py: {wrong}"
              + "; there are\n" + list_lessons(), end="", file=sys.stderr)
        return 2
    pages = demonstrate(options.lesson, options.server, options.output,
                        live.watching(options) if options.live else None)
    for page in pages if options.open and not options.live else ():
        webbrowser.open(page.resolve().as_uri())
    return 0


if __name__ == "__main__":
    sys.exit(main())
