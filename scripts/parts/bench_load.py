#!/usr/bin/env python3
"""The load of bench.py, as a process of its own; bench.py starts several.

usage: bench_load.py load      connect, measure: a client
       bench_load.py echo N    the yardstick: N processes that only echo

The client takes commands on standard input, one JSON list a line, and answers
each with one JSON object a line. The end of its input ends either.

    ["connect", {"hosts": [...], "port": N, "count": N, "first": N}]
    ["ping" or "stream" or "churn", {"start": NS, "begin": NS, "end": NS, ...}]

Times are those of perf_counter_ns, which all processes have in common: from
`start` on there is load, from `begin` to `end` it counts. Every byte that
comes back is compared with what was sent.
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

SIZE = 64                   # of a message of ping and churn
HEAD = 16                   # of it, that no other connection has
CHUNK = 65536               # of a message of stream
WINDOW = 8 * CHUNK          # sent and not yet back, of one connection
SPAN = 1048573              # bytes before a stream repeats; a prime
CONNECTS_IN_FLIGHT = 50     # less than any listen queue takes
LAST_TIMEOUT = 10           # for what is under way at the end
TICK = 0.1                  # the longest wait in one go

UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)
FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, *clients.NO_PORT}

IN, OUT = 1, 4              # as epoll has them
clock = time.perf_counter_ns


class Failure(Exception):
    """The server did not do what an echo server does."""


class Unreached(Exception):
    """There can't be, or can't soon be, as many connections as wanted."""


# ------------------------------- the content --------------------------------
#
# A message is its connection's head and one of many tails, in turn. So neither
# another connection's bytes nor the message before pass for the right ones,
# and it costs no more than to join two strings.

NOISE = random.Random(862).randbytes(SPAN)
TAILS = [NOISE[i:i + SIZE - HEAD] for i in range(0, 1021 * 64, 64)]
STREAM = NOISE + NOISE[:WINDOW]  # from any start there is enough


def head(connection):
    return b"#%-*d" % (HEAD - 1, connection)


def difference(expected, actual):
    """Where two strings that differ do so first."""
    for at, (old, new) in enumerate(zip(expected, actual)):
        if old != new:
            return (f"a wrong byte came back: at offset {at} sent "
                    f"0x{old:02x}, received 0x{new:02x}")
    return "more came back than was sent"


# ------------------------------ waiting for many ----------------------------

class SelectPoll:
    """What select.epoll does, where there is none."""

    MOST = 500  # a set of Windows takes 512

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
        # On Windows a failed connect is an exception, in select's sense.
        ready = select.select(self.reading, self.writing, self.writing,
                              timeout)
        return ([(handle, IN) for handle in ready[0]]
                + [(handle, OUT) for handle in {*ready[1], *ready[2]}])


new_poll = getattr(select, "epoll", SelectPoll)


# ------------------------------ one connection ------------------------------

class Talk:
    """A connection and what it has said: `expected` is to come back."""

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
        """For what is not all that is expected. Whether that is all now."""
        if not data:
            raise Failure("the server closed a connection")
        if not self.expected.startswith(data):
            raise Failure(difference(self.expected, data))
        self.expected = self.expected[len(data):]
        return not self.expected

    def hear_all(self, until):
        """Wait for what is still expected. socket.timeout: it did not come."""
        while self.expected:
            self.sock.settimeout(max((until - clock()) / 1e9, 0.001))
            self.heard(self.receive(SIZE))


def connect_timeout(count):
    """Seconds for so many connections: some ten times what they take."""
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
        """Each sends a message at once, and has its echo: it is accepted."""
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
        """How many have had an echo: others may only be in a queue."""
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
        """The loop that has to be fast: it has no call that can be spared."""
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
        """All that was sent comes back, also after the last that counted."""
        until = clock() + LAST_TIMEOUT * 10**9
        for talk in self.talks.values():
            try:
                talk.hear_all(until)
            except socket.timeout:
                raise Failure("no echo of the last message within "
                              f"{LAST_TIMEOUT} seconds") from None

    # ------------------------------- stream --------------------------------

    def stream(self, start, begin, end):
        """Each connection sends and receives at once, with a window."""
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
            flow.limit = flow.sent  # no more; what is out comes back
        late = clock() + LAST_TIMEOUT * 10**9
        while any(flow.received < flow.sent for flow in flows.values()):
            if clock() > late:
                raise Failure("the echo of a stream is not complete after "
                              f"{LAST_TIMEOUT} seconds")
            stream_until(0, flows, poll)
        return summary(count, cpu, [])

    # -------------------------------- churn --------------------------------

    def churn(self, start, begin, end, hosts, port, first, in_flight):
        """Connect, echo one message, close; so many at once."""
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
    """One connection of a stream: positions in endless content."""

    def __init__(self, sock, offset, poll):
        self.sock, self.offset, self.poll = sock, offset, poll
        self.sent = self.received = 0
        self.limit = float("inf")  # to `sent`
        self.stuck = False
        self.buffer = bytearray(4 * CHUNK)
        poll.register(sock.fileno(), IN)

    def send(self):
        """As much as window and socket take."""
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
    """Connections that come and go; `took` is how long each needed."""

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
        """Connected: send. The echo: close, which this side does first.
        Whether it is done."""
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
    """Its percent-wide bucket: processes add theirs up."""
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
            words = clients.NO_PORT_LEFT
        if error.errno in FULL:
            return {"unreached": f"{words} (the load)",
                    "connections": client.reached()}
        return {"error": words}
    except Exception as error:  # a mistake here is not the server's
        return {"error": f"bench_load.py: {error!r}"}


def load():
    client = Client()
    gc.disable()  # it has nothing to find, and would stop the clients
    for line in sys.stdin:
        print(json.dumps(answer(client, line)), flush=True)
    client.close()


# --------------------------------- echo -------------------------------------

def end_with_input():
    """Nobody is to leave this behind."""
    def wait():
        sys.stdin.read()
        os._exit(0)
    threading.Thread(target=wait, daemon=True).start()


def echo(processes):
    """As little as an echo can be. Where processes can't share a listening
    socket by fork there is one."""
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
    """Back-pressure: what is left of the last send comes first."""
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
        return  # else another process was quicker, or the client is gone
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
