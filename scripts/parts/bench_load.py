#!/usr/bin/env python3
"""Puts load on a server. bench.py starts several of these processes.

usage: bench_load.py load      a client: connects and measures
       bench_load.py echo N    the yardstick: N processes that only echo

The client reads commands from standard input, one JSON list a line, and
answers each with a JSON object on one line. Both end when their input does.

    ["connect", {"hosts": [...], "port": N, "count": N, "first": N}]
    ["ping" or "stream" or "churn", {"start": NS, "begin": NS, "end": NS, ...}]

Times are those of perf_counter_ns, which all processes share. The load starts
at `start`; what happens from `begin` to `end` counts. Every byte that comes
back is compared with what was sent.
"""

import os
import sys

if __name__ == "__main__":  # first: the other imports take their time
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(
        __file__))))
    from parts import words
    words.begin("bench_load.py")

import collections
import errno
import gc
import json
import math
import random
import select
import socket
import threading
import time

from parts import clients, program

SIZE = 64                   # bytes of a message of ping and churn
HEAD = 16                   # its first bytes, unique to the connection
CHUNK = 65536               # bytes that a stream sends at once
WINDOW = 8 * CHUNK          # most bytes of a stream not yet echoed
SPAN = 1048573              # bytes before a stream repeats; a prime
CONNECTS_IN_FLIGHT = 50     # less than any listen queue takes
LAST_TIMEOUT = 10           # seconds for the last echoes
TICK = 0.1                  # seconds, the longest single wait

UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)
FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, *clients.NO_PORT}

IN, OUT = 1, 4              # as epoll has them
clock = time.perf_counter_ns


class Failure(Exception):
    """The server did not do what an echo server does."""


class Unreached(Exception):
    """The load can't open as many connections as wanted, or not in time."""


# ------------------------------- the content --------------------------------
#
# A message is its connection's head and one of many tails, in turn. So bytes
# of another connection or of the message before are noticed, and making a
# message costs no more than joining two strings.

NOISE = random.Random(862).randbytes(SPAN)
TAILS = [NOISE[i:i + SIZE - HEAD] for i in range(0, 1021 * 64, 64)]
STREAM = NOISE + NOISE[:WINDOW]  # a window fits after any start


def head(connection):
    return b"#%-*d" % (HEAD - 1, connection)


def difference(expected, actual):
    """Says where two strings first differ."""
    for at, (old, new) in enumerate(zip(expected, actual)):
        if old != new:
            return (f"a wrong byte came back: at offset {at} sent "
                    f"0x{old:02x}, received 0x{new:02x}")
    return "more came back than was sent"


# ------------------------------ waiting for many ----------------------------

class SelectPoll:
    """Replaces select.epoll where the system has none."""

    MOST = 500  # Windows' sets take 512

    def __init__(self):
        self.reading, self.writing = set(), set()

    def register(self, handle, events):
        self.modify(handle, events)

    def modify(self, handle, events):
        self.unregister(handle)
        if events & IN:
            self.reading.add(handle)
        if events & OUT:
            self.writing.add(handle)

    def unregister(self, handle):
        self.reading.discard(handle)
        self.writing.discard(handle)

    def poll(self, timeout):
        if not self.reading and not self.writing:
            time.sleep(timeout)  # Windows takes no empty sets
            return []
        # Windows reports a failed connect in the third set.
        ready = select.select(self.reading, self.writing, self.writing,
                              timeout)
        return ([(handle, IN) for handle in ready[0]]
                + [(handle, OUT) for handle in {*ready[1], *ready[2]}])


new_poll = getattr(select, "epoll", SelectPoll)


# ------------------------------ one connection ------------------------------

class Talk:
    """A connection; `expected` is what the server has yet to echo."""

    __slots__ = ("sock", "head", "receive", "send", "count", "expected",
                 "sent_at")

    def __init__(self, sock, number):
        self.sock, self.head, self.count = sock, head(number), 0
        self.receive, self.send = sock.recv, sock.send
        self.expected, self.sent_at = b"", 0

    def say(self, now):
        """Send the next message."""
        self.count += 1
        self.expected = self.head + TAILS[self.count % len(TAILS)]
        self.sent_at = now
        self.send(self.expected)

    def heard(self, data):
        """Checks bytes that arrived. Returns whether the echo is complete."""
        if not data:
            raise Failure("the server closed a connection")
        if not self.expected.startswith(data):
            raise Failure(difference(self.expected, data))
        self.expected = self.expected[len(data):]
        return not self.expected

    def hear_all(self, until):
        """Waits for the rest of the echo. Raises socket.timeout if late."""
        while self.expected:
            self.sock.settimeout(max((until - clock()) / 1e9, 0.001))
            self.heard(self.receive(SIZE))


def connect_timeout(count):
    """Seconds for `count` connections, about ten times what they take."""
    return 5 + count / 250


def open_socket():
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Client:
    """The connections of this process."""

    def __init__(self):
        self.talks = {}

    def connect(self, hosts, port, count, first):
        """Connects, and waits for an echo on each, which proves that the
        server has accepted it."""
        timeout = connect_timeout(count)
        until = clock() + int(timeout * 1e9)
        waiting = []
        try:
            for i in range(count):
                waiting.append(self.connect_one(
                    hosts[i % len(hosts)], port, first + i, until))
                if len(waiting) == CONNECTS_IN_FLIGHT or i == count - 1:
                    for talk in waiting:
                        talk.hear_all(until)
                        talk.sock.setblocking(False)
                    waiting = []
        except socket.timeout:
            raise Unreached("no more of them within "
                            f"{timeout:.0f} seconds") from None
        return {"connections": self.reached()}

    def reached(self):
        """Counts those that had an echo; others may still be in a queue."""
        return sum(not talk.expected for talk in self.talks.values())

    def connect_one(self, host, port, number, until):
        sock = open_socket()
        try:
            sock.settimeout(max((until - clock()) / 1e9, 0.001))
            sock.connect((host, port))
        except BaseException:
            sock.close()
            raise
        talk = self.talks[sock.fileno()] = Talk(sock, number)
        talk.say(clock())
        return talk

    # -------------------------------- ping ---------------------------------

    def ping(self, start, begin, end):
        """Each connection sends a message, waits for it, sends the next."""
        poll = new_poll()
        for handle in self.talks:
            poll.register(handle, IN)
        wait_for(start)
        for talk in self.talks.values():
            talk.say(clock())
        self.ping_until(begin, poll.poll, [].append)
        took, cpu = [], time.process_time()
        self.ping_until(end, poll.poll, took.append)
        cpu = time.process_time() - cpu
        self.last_echoes()
        return summary(len(took), cpu, took)

    def ping_until(self, end, poll, record):
        """Echoes until `end`. It must be fast, so it makes few calls."""
        talks, tails, many, now = self.talks, TAILS, len(TAILS), clock()
        while now < end:
            for handle, _ in poll(TICK):
                talk = talks[handle]
                data = talk.receive(CHUNK)
                if data != talk.expected and not talk.heard(data):
                    continue
                now = clock()
                record(now - talk.sent_at)
                talk.count += 1
                talk.expected = talk.head + tails[talk.count % many]
                talk.sent_at = now
                talk.send(talk.expected)
            now = clock()

    def last_echoes(self):
        """Waits for the echoes still under way when measuring ended."""
        until = clock() + LAST_TIMEOUT * 10**9
        for talk in self.talks.values():
            try:
                talk.hear_all(until)
            except socket.timeout:
                raise Failure("no echo of the last message within "
                              f"{LAST_TIMEOUT} seconds") from None

    # ------------------------------- stream --------------------------------

    def stream(self, start, begin, end):
        """Each connection sends and receives at once, up to WINDOW ahead."""
        poll = new_poll()
        flows = {handle: Flow(talk.sock, i * 648056 % SPAN, poll)
                 for i, (handle, talk) in enumerate(self.talks.items())}
        wait_for(start)
        for flow in flows.values():
            flow.send()
        stream_until(begin, flows, poll)
        before = sum(flow.received for flow in flows.values())
        cpu = time.process_time()
        stream_until(end, flows, poll)
        cpu = time.process_time() - cpu
        count = sum(flow.received for flow in flows.values()) - before
        for flow in flows.values():
            flow.limit = flow.sent  # send no more, only receive
        late = clock() + LAST_TIMEOUT * 10**9
        while any(flow.received < flow.sent for flow in flows.values()):
            if clock() > late:
                raise Failure("the echo of a stream is not complete after "
                              f"{LAST_TIMEOUT} seconds")
            stream_until(0, flows, poll)
        return summary(count, cpu, [])

    # -------------------------------- churn --------------------------------

    def churn(self, start, begin, end, hosts, port, first, in_flight):
        """Connects, echoes one message, closes; `in_flight` at a time."""
        visits = Visits(hosts, port, first)
        wait_for(start)
        for _ in range(in_flight):
            visits.connect()
        visits.until(begin)
        visits.took.clear()
        cpu = time.process_time()
        visits.until(end)
        cpu = time.process_time() - cpu
        result = summary(len(visits.took), cpu, visits.took)
        visits.finish()
        return result

    def close(self):
        for talk in self.talks.values():
            talk.sock.close()


def wait_for(start):
    time.sleep(max(start - clock(), 0) / 1e9)


class Flow:
    """One connection of a stream; its content repeats after SPAN bytes."""

    def __init__(self, sock, offset, poll):
        self.sock, self.offset, self.poll = sock, offset, poll
        self.sent = self.received = 0
        self.limit = float("inf")  # of `sent`
        self.stuck = False
        self.buffer = bytearray(4 * CHUNK)
        poll.register(sock.fileno(), IN)

    def send(self):
        """Sends as much as the window and the socket take."""
        view = memoryview(STREAM)
        while (self.sent - self.received <= WINDOW - CHUNK
               and self.sent < self.limit):
            at = (self.offset + self.sent) % SPAN
            try:
                self.sent += self.sock.send(view[at:at + CHUNK])
            except BlockingIOError:
                self.watch(True)
                return
        self.watch(False)

    def watch(self, stuck):
        if stuck != self.stuck:
            self.stuck = stuck
            self.poll.modify(self.sock.fileno(), IN | OUT if stuck else IN)

    def receive(self):
        size = self.sock.recv_into(self.buffer)
        at = (self.offset + self.received) % SPAN
        data = memoryview(self.buffer)[:size]
        if not size:
            raise Failure("the server closed a connection")
        if self.received + size > self.sent or not STREAM.startswith(data, at):
            raise Failure(difference(
                STREAM[at:at + self.sent - self.received], data))
        self.received += size


def stream_until(end, flows, poll):
    while True:
        for handle, events in poll.poll(TICK):
            flow = flows[handle]
            if events & ~OUT:
                flow.receive()
            flow.send()
        if clock() >= end:
            return


class Visits:
    """Connections that come and go; `took` has the time of each."""

    def __init__(self, hosts, port, first):
        self.hosts, self.port, self.number = hosts, port, first
        self.poll, self.open, self.took = new_poll(), {}, []

    def connect(self):
        sock = open_socket()
        sock.setblocking(False)
        talk = Talk(sock, self.number)
        talk.sent_at = clock()
        self.open[sock.fileno()] = talk
        self.number += 1
        code = sock.connect_ex((self.hosts[self.number % len(self.hosts)],
                                self.port))
        if code not in UNDER_WAY:
            raise OSError(code, os.strerror(code))
        self.poll.register(sock.fileno(), OUT)

    def step(self, handle):
        """Sends once connected; closes, before the server does, once the
        echo is complete. Returns whether the visit is over."""
        talk = self.open[handle]
        if not talk.count:
            talk.say(talk.sent_at)
            self.poll.modify(handle, IN)
        elif talk.heard(talk.receive(CHUNK)):
            self.took.append(clock() - talk.sent_at)
            self.leave(handle)
            return True
        return False

    def leave(self, handle):
        self.poll.unregister(handle)
        self.open.pop(handle).sock.close()

    def until(self, end):
        now = clock()
        while now < end:
            for handle, _ in self.poll.poll(TICK):
                if self.step(handle):
                    self.connect()
            now = clock()

    def finish(self):
        late = clock() + LAST_TIMEOUT * 10**9
        while self.open:
            if clock() > late:
                raise Failure("a new connection has no echo within "
                              f"{LAST_TIMEOUT} seconds")
            for handle, _ in self.poll.poll(TICK):
                self.step(handle)


# --------------------------------- answers ----------------------------------

def bucket(nanoseconds):
    """Returns its bucket, one percent wide; bench.py adds up the processes'
    counts."""
    return math.floor(math.log(max(nanoseconds, 1)) * 100)


def summary(count, cpu, took):
    return {"count": count, "cpu": cpu,
            "histogram": dict(collections.Counter(map(bucket, took)))}


def answer(client, line):
    name, arguments = json.loads(line)
    try:
        return getattr(client, name)(**arguments)
    except Failure as error:
        return {"error": str(error)}
    except Unreached as error:
        return {"unreached": str(error), "connections": client.reached()}
    except OSError as error:
        words = error.strerror or str(error)
        if error.errno in clients.NO_PORT:
            words = clients.NO_PORT_LEFT["en"]
        if error.errno in FULL:
            return {"unreached": f"{words} (the load)",
                    "connections": client.reached()}
        return {"error": words}
    except Exception as error:  # a mistake of this script
        return {"error": f"bench_load.py: {error!r}"}


def load():
    client = Client()
    gc.disable()  # it would pause the clients and find nothing
    for line in sys.stdin:
        print(json.dumps(answer(client, line)), flush=True)
    client.close()


# --------------------------------- echo -------------------------------------

def end_with_input():
    """Ends this process when its input ends, so that none is left over."""
    def wait():
        sys.stdin.read()
        os._exit(0)
    threading.Thread(target=wait, daemon=True).start()


def echo(processes):
    """Echoes and does nothing else. The processes share the listening socket
    by fork; without fork there is only one."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(socket.SOMAXCONN)
    listener.setblocking(False)
    print(f"ready port={listener.getsockname()[1]}", flush=True)
    for _ in range(processes - 1):
        if not hasattr(os, "fork") or os.fork() == 0:
            break
    end_with_input()
    serve(listener)


def serve(listener):
    poll, socks, rest = new_poll(), {}, {}
    poll.register(listener.fileno(), IN)
    while True:
        for handle, _ in poll.poll(TICK):
            sock = socks.get(handle)
            if sock is None:
                accept(listener, poll, socks)
                continue
            try:
                echo_some(sock, handle, poll, rest)
            except BlockingIOError:
                pass
            except OSError:
                poll.unregister(handle)
                rest.pop(handle, None)
                socks.pop(handle).close()


def echo_some(sock, handle, poll, rest):
    """Sends what the last send left over before it receives more."""
    late = rest.pop(handle, None)
    data = late or sock.recv(CHUNK)
    if not data:
        raise ConnectionError
    try:
        sent = sock.send(data)
    except BlockingIOError:
        sent = 0
    if sent < len(data):
        rest[handle] = data[sent:]
        poll.modify(handle, OUT)
    elif late:
        poll.modify(handle, IN)


def accept(listener, poll, socks):
    if new_poll is SelectPoll and len(socks) == SelectPoll.MOST:
        print("accept: select takes no more", flush=True)
        poll.unregister(listener.fileno())
        return
    try:
        sock = listener.accept()[0]
    except OSError as error:
        if error.errno in FULL:
            print(f"accept: {error.strerror}", flush=True)
            poll.unregister(listener.fileno())
        return  # otherwise another process took it, or the client has gone
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    socks[sock.fileno()] = sock
    poll.register(sock.fileno(), IN)


@program.entry
def main():
    if sys.argv[1:] == ["load"]:
        load()
    elif len(sys.argv) == 3 and sys.argv[1] == "echo":
        echo(int(sys.argv[2]))
    else:
        print("bench_load.py: bench.py starts it", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
