"""The soak's clients: twelve kinds, and each compares every byte.

A connection sends NOISE from a random place on. So a client always knows which
bytes must come next, and notices those of another connection.
"""

import collections
import random
import select
import socket
import threading
import time

from support import IO_TIMEOUT, closing_all, connect, reset
from parts.clients import NO_PORT  # where support finds the scripts
from parts.words import Failure

SPAN = 1048573   # bytes of NOISE before it begins again: a prime
CHUNK = 65536    # most bytes in one send or receive
FITS = 49152     # bytes that the sockets hold for a client that does not read

NOISE = random.Random(SPAN).randbytes(SPAN)
NOISE += NOISE[:CHUNK]  # so that every chunk is one slice
VIEW = memoryview(NOISE)

# When a client closes first, the system keeps its port for a while. With
# several addresses to connect to, enough ports are left.
HOSTS = [f"127.0.0.{number}" for number in range(1, 9)]
PORT_PAUSE = 0.2  # seconds


class Wrong(Failure):
    """The server did something wrong. The text says what."""


class Ended(Exception):
    """A connection ended early, which is right only while the server stops."""


class Client:
    """One connection of a visitor. It compares bytes as they arrive."""

    def __init__(self, visitor, receive_buffer=None):
        self.visitor = visitor
        self.socket = connect(*visitor.address(), receive_buffer)
        self.origin = visitor.chance.randrange(SPAN)
        self.sent = self.got = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _next(self, size):
        """Returns at most `size` of the bytes to send next."""
        at = (self.origin + self.sent) % SPAN
        return VIEW[at:at + min(size, CHUNK)]

    def send_some(self, size):
        """Sends once. Returns how many bytes the socket took."""
        taken = self.socket.send(self._next(size))
        self.sent += taken
        self.visitor.sent += taken
        return taken

    def send(self, size):
        while size > 0:
            size -= self.send_some(size)

    def fill(self, seconds):
        """Sends, without reading, until nothing moved for `seconds`."""
        self.socket.settimeout(seconds)
        try:
            while self.sent - self.got < 1 << 24:
                self.send_some(CHUNK)
        except socket.timeout:
            pass
        self.socket.settimeout(IO_TIMEOUT)

    def end(self):
        """Sends end of file."""
        self.socket.shutdown(socket.SHUT_WR)

    def receive_some(self, size=CHUNK):
        """Receives once. Returns how many bytes; 0 is the end of file."""
        data = self.socket.recv(min(size, CHUNK))
        if self.got + len(data) > self.sent:
            raise Wrong(f"{self.got + len(data)} bytes came back of "
                        f"{self.sent} that were sent")
        if not NOISE.startswith(data, (self.origin + self.got) % SPAN):
            raise Wrong(f"a wrong byte among {len(data)} after {self.got} "
                        f"right ones ({self.sent} were sent)")
        self.got += len(data)
        self.visitor.back += len(data)
        return len(data)

    def receive_all(self):
        """Receives the rest of the echo, but not the end of file."""
        while self.got < self.sent:
            if self.receive_some() == 0:
                raise Ended(f"the connection ended after {self.got} of "
                            f"{self.sent} bytes")

    def finish(self):
        """Sends end of file, then receives the rest and the server's."""
        self.end()
        self.receive_all()
        self.receive_some()  # returns 0, or raises: those were too many

    def stream(self, size):
        """Sends and receives at the same time, and finishes."""
        self.socket.settimeout(0)
        try:
            while size > 0:
                size -= self._move(size)
        finally:
            self.socket.settimeout(IO_TIMEOUT)
        self.finish()

    def _move(self, size):
        """Receives or sends, whatever is possible. Returns how much it
        sent."""
        readable, writable, _ = select.select([self.socket], [self.socket], [],
                                              IO_TIMEOUT)
        if not readable and not writable:
            raise Ended(f"nothing has moved for {IO_TIMEOUT} seconds, after "
                        f"{self.got} of {self.sent} bytes")
        if readable and self.receive_some() == 0:
            raise Ended(f"the connection ended after {self.got} of "
                        f"{self.sent} bytes")
        return self.send_some(size) if writable else 0


# ----------------------------------- kinds ----------------------------------
#
# A kind is a function that plays one client. `me` is its Visitor, which
# connects, counts and draws random numbers.

def ping_pong(me):
    """Sends a message and receives its echo, over and over."""
    with me.connect() as client:
        for _ in range(me.chance.randrange(1, 200)):
            client.send(me.chance.choice([1, 64, 64, 1000, 4096, 4097, FITS]))
            client.receive_all()
            me.rounds += 1
            if me.over():
                break
        client.finish()


def stream(me):
    """Sends some megabytes and receives at the same time."""
    with me.connect() as client:
        client.stream(me.chance.randrange(1 << 20, 1 << 23))
        me.rounds += 1


def half_close(me):
    """Sends a burst and end of file, and only then reads."""
    with me.connect() as client:
        client.send(me.chance.randrange(FITS))
        client.finish()
        me.rounds += 1


def resetting(me):
    """Resets the connection before, in or after an echo."""
    with me.connect() as client:
        client.send(me.chance.choice([0, 1, 5000, FITS]))
        if client.sent and me.chance.random() < 0.5:
            client.receive_some()
        reset(client.socket)
        me.rounds += 1


def never_reads(me):
    """Sends until nothing moves, waits, and leaves in one of three ways."""
    with me.connect(receive_buffer=4096) as client:
        client.fill(0.2)
        me.pause(me.chance.uniform(0, 2))
        way = me.chance.randrange(3)
        if way == 0:
            reset(client.socket)
        elif way == 1:  # reads at last, and gets everything
            client.finish()
        me.rounds += 1


def lagging(me):
    """Reads late, so that the server's WRITE is mostly pending."""
    with me.connect(receive_buffer=4096) as client:
        for _ in range(5):
            client.fill(0.05)
            client.receive_all()
            me.rounds += 1
        client.finish()


def come_and_go(me):
    """Connects, echoes, closes."""
    with me.connect() as client:
        client.send(5)
        client.receive_all()
        me.rounds += 1


def storm(me):
    """Connects many times at once; most connections close unused."""
    with closing_all() as sockets:
        clients = []
        for _ in range(30):
            clients.append(me.connect())
            sockets.append(clients[-1].socket)
        for client in clients[::5]:
            client.send(100)
            client.receive_all()
            me.rounds += 1


def scan(me):
    """Scans the port: ends connections as soon as they are there."""
    for _ in range(10):
        for leave in (reset, socket.socket.close):
            with me.connect() as client:
                leave(client.socket)
        with socket.socket() as half_open:
            half_open.setblocking(False)
            half_open.connect_ex(me.address())
            me.connections += 1
    come_and_go(me)  # served only after all of those were accepted


def dribble(me):
    """Sends one byte in each segment, and reads afterwards."""
    with me.connect() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(500):
            client.send(1)
        client.finish()
        me.rounds += 1


def slow(me):
    """Sends a byte now and then."""
    with me.connect() as client:
        for _ in range(10):
            client.send(1)
            me.pause(me.chance.uniform(0, 0.5))
            client.receive_all()
            me.rounds += 1
        client.finish()


def urgent(me):
    """Sends urgent data beside the stream; only the stream comes back."""
    with me.connect() as client:
        for _ in range(20):
            client.send(1000)
            client.receive_all()
            client.socket.send(b"!", socket.MSG_OOB)
            client.send(1000)
            client.receive_all()
            me.rounds += 1
        client.finish()


# The kinds of client in each part of the soak, and how many of each.
MIXED = {ping_pong: 8, stream: 4, half_close: 3, resetting: 3, never_reads: 8,
         lagging: 2, come_and_go: 2, storm: 2, scan: 1, dribble: 1, slow: 4,
         urgent: 1}
CYCLES = {come_and_go: 4}
STOPS = {ping_pong: 4, come_and_go: 2, half_close: 1, stream: 1, lagging: 2}


# ----------------------------------- crowd ----------------------------------

class Visitor:
    """A thread that plays one client after the other."""

    def __init__(self, crowd, kind, chance):
        self.crowd, self.kind, self.chance = crowd, kind, chance
        self.rounds = self.connections = self.sent = self.back = 0
        self.most = float("inf")  # rounds
        self.thread = threading.Thread(target=self._run, daemon=True)

    def address(self):
        return self.chance.choice(HOSTS), self.crowd.port

    def connect(self, receive_buffer=None):
        while True:
            try:
                client = Client(self, receive_buffer)
                break
            except OSError as error:
                # All local ports are in use or closing, which is not the
                # server's fault.
                if error.errno not in NO_PORT or self.over():
                    raise
                self.pause(PORT_PAUSE)
        self.connections += 1
        return client

    def pause(self, seconds):
        """Sets the pace of a client; it waits for nothing."""
        self.crowd.ending.wait(seconds)

    def over(self):
        return self.crowd.ending.is_set()

    def _run(self):
        while (self.rounds < self.most and not self.over()
               and not self.crowd.wrong):
            try:
                self.kind(self)
            except Wrong as error:
                self.crowd.report(self.kind, error)
            except Exception as error:  # memory that is short, too
                if self.crowd.stopping and isinstance(error, (OSError, Ended)):
                    return  # what clients see then is theirs
                self.crowd.report(self.kind, error)


class Crowd:
    """All clients of a server. They go on until the end, or each does `rounds`
    rounds, and the first `more` of them one more."""

    def __init__(self, port, seed, kinds, rounds=None, more=0):
        self.port = port
        self.stopping = False
        self.ending = threading.Event()
        self.wrong = []
        self.visitors = [
            Visitor(self, kind, random.Random(f"{seed} {kind.__name__} {i}"))
            for kind, number in kinds.items() for i in range(number)]
        for number, visitor in enumerate(self.visitors):
            if rounds is not None:
                visitor.most = rounds + (number < more)
            visitor.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ending.set()

    def report(self, kind, error):
        words = str(error) or type(error).__name__
        self.wrong.append(f"{kind.__name__}: {words}")

    def busy(self):
        return any(each.thread.is_alive() for each in self.visitors)

    def wait(self, seconds):
        """Waits until every round is done, for at most `seconds`."""
        end = time.monotonic() + seconds
        for visitor in self.visitors:
            visitor.thread.join(max(end - time.monotonic(), 0))

    def end(self):
        """Ends every client. Raises Wrong if one does not end."""
        self.ending.set()
        self.wait(2 * IO_TIMEOUT)
        if self.busy():
            raise Wrong("a client does not end")

    def total(self, what):
        return sum(getattr(each, what) for each in self.visitors)

    def table(self):
        """Returns {kind: clients, rounds, connections, bytes back}."""
        rows = collections.OrderedDict()
        for each in self.visitors:
            row = rows.setdefault(each.kind.__name__, [0, 0, 0, 0])
            for column, value in enumerate((1, each.rounds, each.connections,
                                            each.back)):
                row[column] += value
        return rows
