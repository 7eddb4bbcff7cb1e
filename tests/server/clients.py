"""Many clients at once, for several test modules."""

import contextlib
import socket
import threading

from parts import process_info
from support import (IO_TIMEOUT, echo, exchange, receive, reset, together,
                     wait_until)

OFFERED = 100 << 20  # bytes, to a server, by each client that never reads


def offer(server, clients, piece=b"\xa5" * 65536):
    """Sends pieces to all clients, without reading, until nothing moves.

    Returns how many bytes each one's socket took, at most OFFERED.
    """
    taken = [0] * len(clients)
    for client in clients:
        client.setblocking(False)

    def push():
        """Sends on all clients. Returns whether a socket took something."""
        before = sum(taken)
        for number, client in enumerate(clients):
            try:
                while taken[number] < OFFERED:
                    taken[number] += client.send(piece)
            except BlockingIOError:
                pass
        return sum(taken) > before

    def answered(client):
        with contextlib.suppress(BlockingIOError):
            return client.recv(1, socket.MSG_PEEK) != b""
        return False
    # No event says that nothing moves. So wait until all have some answer,
    # the sockets are full, and the server has used no CPU time for a while.
    used, quiet = -1.0, 0

    def stuck():
        nonlocal used, quiet
        now = process_info.cpu_time(server.process.pid)
        quiet = 0 if push() or now > used else quiet + 1
        used = now
        return quiet >= 20 and all(map(answered, clients))
    assert wait_until(stuck, 60, interval=0.05)
    return taken


def stream(client, size, rounds):
    """Sends pieces of `size` bytes, and receives them at the same time."""
    data = bytes(range(256)) * (size // 256)

    def send():
        for _ in range(rounds):
            client.sendall(data)
    with together([send]):
        for _ in range(rounds):
            assert receive(client, size) == data


class Load:
    """Clients that repeat a behaviour until the server stops."""

    def __init__(self, server, clients, behaviour):
        self.server = server
        self.rounds = 0
        self._busy = threading.Condition()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=[behaviour])
                         for _ in range(clients)]
        for thread in self._threads:
            thread.start()
        with self._busy:
            assert self._busy.wait_for(lambda: self.rounds >= 3 * clients,
                                       IO_TIMEOUT)

    def _goes_on(self):
        """Whether to go on: end() or the server's death ends it."""
        return not self._stop.is_set() and self.server.alive()

    def _run(self, behaviour):
        while self._goes_on():
            try:
                behaviour(self._count)
            except OSError:
                pass  # while the server stops, clients may see any error

    def _count(self):
        with self._busy:
            self.rounds += 1
            self._busy.notify_all()
        return self._goes_on()

    def end(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(IO_TIMEOUT)
            assert not thread.is_alive()


def all_kinds_at_once(server, clients):
    """Runs `clients` good ones and as many of each bad kind at once."""
    data = bytes(range(256)) * 2000

    def good():
        with server.connect() as client:
            for _ in range(3):
                assert echo(client, b"ping") == b"ping"
            assert exchange(client, data) == data

    def resetting():
        for _ in range(10):
            client = server.connect()
            client.sendall(data[:20_000])
            reset(client)

    def leaving():
        for _ in range(20):
            server.connect().close()

    with together([good, resetting, leaving] * clients):
        pass
    server.check_serves()
