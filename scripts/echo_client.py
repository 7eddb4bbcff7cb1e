#!/usr/bin/env python3
"""Test client for the echo server: whatever it sends must come back unchanged.

It has four modes, in this order in the file: talk to the server line by line,
send one message, stream a file through it, put it under load. All of them
compare every byte: TCP delivers bytes in order, but only the client can tell
whether the server lost some or mixed them up.
"""

import os
import sys

if __name__ == "__main__":      # first: the other imports take their time
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from parts import words
    words.begin("echo_client", interrupted=False)

import argparse
import asyncio
import collections
import io
import json
import math
import random
import socket
import threading
import time
from typing import Callable, Iterable, Iterator, List, NoReturn, Optional

from parts import clients, descriptors, language, program, streams, words
from parts.arguments import Parser
from parts.language import say
from parts.words import Failure

CHUNK = 64 * 1024               # most bytes in one read, send or receive
WINDOW = 1024 * 1024            # most bytes sent, but not yet echoed
# The longest single wait: on Windows Ctrl+C does not interrupt a receive.
TICK = 0.1                      # seconds
CONNECTS_IN_FLIGHT = 50         # safely below what a listen queue takes
SPARE_FILES = 32                # what Python itself and asyncio keep open
SETTLE = 0.2                    # seconds to wait for more failures

EPILOG = {"en": """\
examples:
  %(prog)s 9190                          talk to the server, Q quits
  %(prog)s 9190 --host ::1               the same over IPv6
  %(prog)s 9190 --message hello
  %(prog)s 9190 --file picture.png
  tar c src | %(prog)s 9190 --file -     standard input
  %(prog)s 9190 --load --connections 1000 --messages 100 --size 64
  %(prog)s 9190 --load --connections 50 --duration 10 --json

keys of --json:
  connections, messages, message_bytes, echoed_bytes, elapsed_seconds,
  messages_per_second, megabytes_per_second (each byte counted once,
  1 MB = 1000000 bytes), latency_p50_us, latency_p99_us (both within 1 %%),
  latency_max_us

exit status:
  0 every byte came back, 1 not so (one line says why),
  2 wrong command line, 130 interrupted by Ctrl+C
""", "ko": """\
예:
  %(prog)s 9190                          한 줄씩 주고받기(Q로 끝내기)
  %(prog)s 9190 --host ::1               IPv6로 연결하기
  %(prog)s 9190 --message hello
  %(prog)s 9190 --file picture.png
  tar c src | %(prog)s 9190 --file -     표준 입력 보내기
  %(prog)s 9190 --load --connections 1000 --messages 100 --size 64
  %(prog)s 9190 --load --connections 50 --duration 10 --json

--json의 키:
  connections, messages, message_bytes, echoed_bytes, elapsed_seconds,
  messages_per_second, megabytes_per_second(바이트마다 한 번만 셉니다.
  1 MB는 1000000바이트입니다), latency_p50_us, latency_p99_us(둘 다 오차가
  1 %% 이내입니다), latency_max_us

종료 상태:
  0    모든 바이트가 돌아왔습니다
  1    그렇지 않습니다(이유를 한 줄로 출력합니다)
  2    명령줄이 잘못되었습니다
  130  Ctrl+C로 중단했습니다
"""}

REPORT = {"en": """\
connections  {connections}
messages     {messages} of {message_bytes} bytes, all identical
elapsed      {elapsed_seconds:.3f} s
rate         {messages_per_second:.0f} messages/s
throughput   {megabytes_per_second:.1f} MB/s
latency      p50 {p50}, p99 {p99}, max {longest}""", "ko": """\
연결         {connections}개
메시지       {message_bytes}바이트씩 {messages}개, 모두 그대로 돌아왔습니다
걸린 시간    {elapsed_seconds:.3f}초
속도         초당 메시지 {messages_per_second:.0f}개
처리량       {megabytes_per_second:.1f} MB/s
지연 시간    p50 {p50}, p99 {p99}, 최대 {longest}"""}


# ---------------------------------------------------------------------------
# Failures, output, connecting
# ---------------------------------------------------------------------------

def reason(error: BaseException) -> str:
    """The system's words for an error, or better ones."""
    if isinstance(error, (socket.timeout, asyncio.TimeoutError)):
        return say({"en": "timed out", "ko": "시간이 초과되었습니다"})
    if getattr(error, "errno", None) in clients.NO_PORT:
        return say(clients.NO_PORT_LEFT)
    return words.reason(error)


def how_lost(error: Optional[BaseException]) -> str:
    """Says how the server ended a connection; None is end of file."""
    if error is None:
        return say({"en": "server closed the connection",
                    "ko": "서버가 연결을 닫았습니다"})
    if isinstance(error, ConnectionError):
        return say({"en": "server reset the connection",
                    "ko": "서버가 연결을 강제로 끊었습니다"})
    return say({"en": "connection lost ({reason})",
                "ko": "연결이 끊어졌습니다({reason})"}, reason=reason(error))


def silent(timeout: float) -> str:
    return say({"en": "server silent for {timeout:g} s",
                "ko": "서버가 {timeout:g}초 동안 응답하지 않았습니다"},
               timeout=timeout)


def difference(expected: bytes, actual: bytes, offset: int) -> str:
    """Says where two blocks of bytes first differ."""
    for at, (old, new) in enumerate(zip(expected, actual), offset):
        if old != new:
            return say({
                "en": "not identical: first difference at offset {at} (sent "
                      "0x{old:02x}, received 0x{new:02x})",
                "ko": "보낸 것과 다릅니다. 처음 다른 곳은 오프셋 {at}입니다"
                      "(보낸 값 0x{old:02x}, 받은 값 0x{new:02x})",
            }, at=at, old=old, new=new)
    return say({"en": "too many bytes: more came back than was sent",
                "ko": "보낸 것보다 많은 바이트가 돌아왔습니다"})


def emit(output: bytes) -> None:
    """Writes to stdout at once. Bytes, because the echo need not be text."""
    sys.stdout.buffer.write(output)
    sys.stdout.flush()


def emit_line(text: str) -> None:
    emit(text.encode(sys.stdout.encoding) + b"\n")


def connect(options: argparse.Namespace) -> socket.socket:
    host, port = options.host, options.port
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        sock = socket.create_connection((host, port), options.timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    except ConnectionRefusedError:
        raise Failure(say({
            "en": "nothing listens on {where} (connection refused); start the "
                  "server first",
            "ko": "{where}에서 기다리는 서버가 없습니다(연결이 "
                  "거부되었습니다). 서버를 먼저 실행하십시오"}, where=where))
    except (socket.gaierror, UnicodeError) as error:
        raise Failure(say({
            "en": "cannot resolve host {host!r}: {reason}",
            "ko": "호스트 {host!r}의 주소를 찾을 수 없습니다: {reason}",
        }, host=host, reason=reason(error)))
    except OSError as error:
        why = reason(error)
        if error.errno in clients.NO_PORT:  # the address may be odd instead
            why = say({
                "en": "{why}; or no address of this machine reaches {host}",
                "ko": "{why}. 또는 이 컴퓨터에 {host}에 닿는 주소가 없습니다",
            }, why=why, host=host)
        raise Failure(say({"en": "cannot connect to {where}: {why}",
                           "ko": "{where}에 연결할 수 없습니다: {why}"},
                          where=where, why=why))


# ---------------------------------------------------------------------------
# One connection. A thread sends while the caller receives and compares. A
# client that sends everything before it receives gets stuck once the data
# outgrows the buffers on the way: the server stops reading when it can't
# write back.
# ---------------------------------------------------------------------------

class Conversation:

    def __init__(self, sock: socket.socket, timeout: float):
        sock.settimeout(TICK)
        self.sock = sock
        self.timeout = timeout
        self.pending = bytearray()          # sent, not yet echoed
        self.changed = threading.Condition()    # guards pending
        self.sent = self.echoed = self.start = 0
        self.total: Optional[int] = None
        self.all_sent = False               # and the end of file
        self.send_error: Optional[Exception] = None

    def exchange(self, message: bytes) -> bytes:
        """Sends a message and returns its whole echo."""
        reply = bytearray()
        self._transfer([message], len(message), reply.extend)
        return bytes(reply)

    def stream(self, chunks: Iterable[bytes]) -> int:
        """Sends chunks and end of file; returns how many bytes came back."""
        self._transfer(chunks, None, lambda data: None)
        return self.echoed - self.start

    def finish(self) -> None:
        """Sends end of file. Only end of file may come back."""
        self.stream(())

    def _transfer(self, chunks: Iterable[bytes], total: Optional[int],
                  keep: Callable[[bytes], None]) -> None:
        """Sends and compares until `total` bytes are back, or until end of
        file if it is None."""
        self.start, self.total = self.echoed, total
        sender = threading.Thread(target=self._send, args=(chunks,),
                                  daemon=True)
        sender.start()
        heard_at = time.monotonic()
        while total is None or self.echoed - self.start < total:
            if self.send_error:
                raise self.send_error
            try:
                data = self.sock.recv(CHUNK)
            except socket.timeout:
                if not self.pending and not self.all_sent:
                    heard_at = time.monotonic()     # our input is slow
                elif time.monotonic() - heard_at >= self.timeout:
                    self._fail(silent(self.timeout))
                continue
            except OSError as error:
                self._fail(how_lost(error))
            if not data:
                if self.all_sent and not self.pending:
                    break
                self._fail(how_lost(None))
            self._compare(data)
            keep(data)
            heard_at = time.monotonic()
        sender.join()

    def _compare(self, data: bytes) -> None:
        with self.changed:
            if not self.pending.startswith(data):
                raise Failure(difference(self.pending, data,
                                         self.echoed - self.start))
            del self.pending[:len(data)]
            self.echoed += len(data)
            self.changed.notify()

    def _fail(self, what: str) -> NoReturn:
        back = self.echoed - self.start
        wanted = self.total or self.sent - self.start
        if back < wanted:
            text = {"en": "{what} after {back} of {wanted} bytes came back",
                    "ko": "{wanted}바이트 중 {back}바이트가 돌아온 뒤에 {what}"}
        elif self.all_sent:
            text = {"en": "{what} after the end of the input ({back} of "
                          "{back} bytes came back)",
                    "ko": "입력이 끝난 뒤에 {what}(보낸 {back}바이트는 모두 "
                          "돌아왔습니다)"}
        else:
            text = {"en": "{what} before the end of the input ({back} of "
                          "{back} bytes came back)",
                    "ko": "입력이 끝나기 전에 {what}(보낸 {back}바이트는 모두 "
                          "돌아왔습니다)"}
        raise Failure(say(text, what=what, back=back, wanted=wanted))

    def _send(self, chunks: Iterable[bytes]) -> None:
        """The sender's thread. It reports to the receiver, never prints."""
        try:
            for chunk in chunks:
                with self.changed:
                    self.changed.wait_for(lambda: len(self.pending) < WINDOW)
                    self.pending += chunk       # before its echo can arrive
                    self.sent += len(chunk)
                self._send_all(chunk)
            if self.total is None:
                self.all_sent = True
                self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass        # the receiver meets it too and reports it
        except Exception as error:
            self.send_error = error

    def _send_all(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        while rest:
            try:
                rest = rest[self.sock.send(rest[:CHUNK]):]
            except socket.timeout:
                pass    # the receiver decides when the server is too slow


def run_interactive(options: argparse.Namespace) -> None:
    with connect(options) as sock:
        server = Conversation(sock, options.timeout)
        while True:
            emit(b"Input message(Q to quit): ")
            line = sys.stdin.buffer.readline()  # a console gives UTF-8
            if not line:
                emit(b"\n")                     # end the line of the prompt
            if not line or line.rstrip(b"\r\n") in (b"q", b"Q"):
                break
            reply = server.exchange(line)
            emit(b"Message from server: " + reply)
            if not reply.endswith(b"\n"):       # a pipe's last line
                emit(b"\n")
        server.finish()


def run_message(options: argparse.Namespace) -> None:
    with connect(options) as sock:
        server = Conversation(sock, options.timeout)
        reply = server.exchange(os.fsencode(options.message))
        server.finish()
    emit(b"Message from server: " + reply + b"\n")


def run_file(options: argparse.Namespace) -> None:
    name = (say(streams.INPUT) if options.file == "-"
            else repr(options.file))
    try:
        # Bypass stdin's buffer, so that input goes out at once, and no thread
        # holds the buffer's lock when Python exits.
        source = (sys.stdin.buffer.raw if options.file == "-"
                  else open(options.file, "rb", buffering=0))
    except OSError as error:
        raise Failure(say({"en": "cannot open {name}: {reason}",
                           "ko": "{name}: 열 수 없습니다({reason})"},
                          name=name, reason=reason(error)))
    with connect(options) as sock:
        began = time.perf_counter()
        server = Conversation(sock, options.timeout)
        total = server.stream(read_chunks(source, name))
        elapsed = time.perf_counter() - began
    emit_line(say({
        "en": "identical: {total} bytes echoed in {elapsed:.3f} s "
              "({rate:.1f} MB/s)",
        "ko": "일치합니다: {total}바이트가 {elapsed:.3f}초 만에 "
              "돌아왔습니다({rate:.1f} MB/s)",
    }, total=total, elapsed=elapsed, rate=total / elapsed / 1e6))


def read_chunks(source: io.RawIOBase, name: str) -> Iterator[bytes]:
    while True:
        try:
            chunk = source.read(CHUNK)
        except OSError as error:
            raise Failure(say({"en": "cannot read {name}: {reason}",
                               "ko": "{name}: 읽을 수 없습니다({reason})"},
                              name=name, reason=reason(error)))
        if not chunk:
            return
        yield chunk


# ---------------------------------------------------------------------------
# Load: many connections on one thread. Each sends a message, waits for its
# echo and sends the next. First the parts of a run, then one connection, then
# the run.
# ---------------------------------------------------------------------------

class Content:
    """The bytes of the messages: windows into one block of random bytes.

    Connection and message decide where a window begins, so bytes of another
    connection or of an earlier message are noticed. Making and checking a
    message copies nothing.
    """

    SPAN = 1048573              # a prime: consecutive messages stay apart

    def __init__(self, size: int):
        noise = random.Random(size).randbytes(self.SPAN)
        self.block = (noise * (size // self.SPAN + 2))[:self.SPAN + size]
        self.size = size

    def start(self, connection: int, message: int) -> int:
        return (connection * 648056 + message * 7919) % self.SPAN

    def bytes_from(self, start: int, got: int = 0) -> memoryview:
        return memoryview(self.block)[start + got:start + self.size]

    def matches(self, start: int, got: int, data: bytes) -> bool:
        return self.block.startswith(data, start + got, start + self.size)


class Latencies:
    """A histogram, so that a long run needs no more memory than a short one.

    A bucket is one percent wide and stands for its middle.
    """

    def __init__(self) -> None:
        self.buckets: collections.Counter = collections.Counter()
        self.count = 0
        self.longest = 0.0

    def add(self, latency: float) -> None:
        latency = max(latency, 1e-9)    # a coarse clock may say 0
        self.buckets[math.floor(math.log(latency) * 100)] += 1
        self.count += 1
        self.longest = max(self.longest, latency)

    def percentile(self, percent: float) -> float:
        rank = math.ceil(self.count * percent / 100)
        for bucket in sorted(self.buckets):
            rank -= self.buckets[bucket]
            if rank <= 0:
                break
        return min(math.exp((bucket + 0.5) / 100), self.longest)


class Progress:
    """Draws one line over and over on a terminal, nothing in a pipe."""

    def __init__(self) -> None:
        self.shown = sys.stderr.isatty()
        self.drawn_at = 0.0

    def draw(self, part: float, text: str) -> None:
        now = time.monotonic()
        if self.shown and now - self.drawn_at >= TICK:
            self.drawn_at = now
            part = min(part, 1.0)
            bar = f"[{'#' * int(30 * part):<30}] {part:4.0%} {text}"
            print(f"\r{bar:<60}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self.shown:
            print(f"\r{'':60}\r", end="", file=sys.stderr, flush=True)


class LoadConnection(asyncio.Protocol):
    """One client. asyncio calls it when something happens."""

    def __init__(self, load: "Load", number: int):
        self.load = load
        self.content = load.content
        self.number = number
        self.messages = 0               # that came back
        self.start = 0                  # where the one under way begins
        self.got = self.content.size    # bytes of it; all: none is under way
        self.half_closed = False        # set once the last one is back
        self.over = False               # closed as it should be, or failed
        self.sent_at = self.heard_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.load.clients.append(self)

    def send_next(self) -> None:
        self.start = self.content.start(self.number, self.messages)
        self.got = 0
        self.sent_at = self.heard_at = time.perf_counter()
        self.transport.write(self.content.bytes_from(self.start))

    def data_received(self, data: bytes) -> None:
        if not self.content.matches(self.start, self.got, data):
            rest = self.content.bytes_from(self.start, self.got)
            what = difference(rest, data, self.got)
            self.fail(say({"en": "message {number}: {what}",
                           "ko": "메시지 {number}번: {what}"},
                          number=self.messages + 1, what=what)
                      if rest else what)
            return
        self.got += len(data)
        self.heard_at = time.perf_counter()
        if self.got == self.content.size:
            self.messages += 1
            self.load.latencies.add(self.heard_at - self.sent_at)
            self.load.ended = self.heard_at
            if self.load.wants_more(self.messages, self.heard_at):
                self.send_next()
            else:
                self.half_closed = True
                self.transport.write_eof()  # the server answers by closing

    def eof_received(self) -> None:
        if not self.half_closed:
            self.lost(how_lost(None))

    def connection_lost(self, error: Optional[Exception]) -> None:
        if error or not self.half_closed:
            self.lost(how_lost(error))
        elif not self.over:
            self.over = True
            self.load.closed += 1

    def check_stall(self, now: float) -> None:
        if now - self.heard_at >= self.load.timeout:
            self.lost(silent(self.load.timeout))

    def lost(self, what: str) -> None:
        if self.got < self.content.size:
            text = {"en": "{what} after {got} of {size} bytes of message "
                          "{number} came back",
                    "ko": "메시지 {number}번의 {size}바이트 중 {got}바이트가 "
                          "돌아온 뒤에 {what}"}
        elif self.half_closed:
            text = {"en": "{what} after the last message",
                    "ko": "마지막 메시지가 돌아온 뒤에 {what}"}
        else:
            text = {"en": "{what} before the first message",
                    "ko": "첫 메시지를 보내기 전에 {what}"}
        self.fail(say(text, what=what, got=self.got, size=self.content.size,
                      number=self.messages + 1))

    def fail(self, what: str) -> None:
        if not self.over:               # only its first failure counts
            self.over = True
            self.load.count_failure(self.number, what)


class Load:
    """A run: connects all, starts them together, watches until all are
    closed."""

    def __init__(self, options: argparse.Namespace):
        self.connections = options.connections
        self.messages = options.messages        # of each connection
        self.duration = options.duration
        self.timeout = options.timeout
        self.content = Content(options.size)
        self.latencies = Latencies()
        self.progress = Progress()
        self.clients: List[LoadConnection] = []
        self.closed = self.failed = 0
        self.first_failure = ""
        self.broken: Optional[Exception] = None
        self.began = self.ended = 0.0

    async def run(self, first: socket.socket) -> dict:
        asyncio.get_running_loop().set_exception_handler(self._note_broken)
        try:
            await self._connect_all(first)
            if not self.failed:
                await self._echo_all()
            if self.broken:
                raise self.broken
            if self.failed:
                await asyncio.sleep(SETTLE)
                raise Failure(self.first_failure if self.failed == 1 else say({
                    "en": "{first} ({failed} of {connections} connections "
                          "failed)",
                    "ko": "{first}(연결 {connections}개 중 {failed}개가 "
                          "실패했습니다)",
                }, first=self.first_failure, failed=self.failed,
                    connections=self.connections))
            return self._result()
        finally:
            self.progress.clear()
            for client in self.clients:
                client.over = True
                client.transport.abort()
            await asyncio.sleep(0)      # lets asyncio close the sockets

    async def _connect_all(self, first: socket.socket) -> None:
        """The first connection found the address; the others follow it."""
        await self._adopt(first, 1)
        try:
            address = first.getpeername()
        except OSError:                 # reset already: asyncio will say so
            return
        numbers = iter(range(2, self.connections + 1))
        await asyncio.gather(*(
            self._open_some(numbers, first.family, address)
            for _ in range(CONNECTS_IN_FLIGHT)))

    async def _open_some(self, numbers: Iterator[int], family: int,
                         address: tuple) -> None:
        loop = asyncio.get_running_loop()
        for number in numbers:          # shared: each takes the next one
            if self.failed:
                return
            try:
                sock = socket.socket(family, socket.SOCK_STREAM)
                sock.setblocking(False)
                await asyncio.wait_for(loop.sock_connect(sock, address),
                                       self.timeout)
                await self._adopt(sock, number)
            except (OSError, asyncio.TimeoutError) as error:
                self.count_failure(number, say({
                    "en": "cannot connect: {reason}",
                    "ko": "연결할 수 없습니다: {reason}"},
                    reason=reason(error)))
            self.progress.draw(number / self.connections, say({
                "en": "connecting", "ko": "연결하는 중"}))

    async def _adopt(self, sock: socket.socket, number: int) -> None:
        await asyncio.get_running_loop().create_connection(
            lambda: LoadConnection(self, number), sock=sock)

    async def _echo_all(self) -> None:
        self.began = time.perf_counter()
        for client in self.clients:
            client.send_next()
        while not self.failed and self.closed < self.connections:
            await asyncio.sleep(TICK)
            now = time.perf_counter()
            for client in self.clients:
                client.check_stall(now)
            count, elapsed = self.latencies.count, now - self.began
            self.progress.draw(
                max(count / (self.messages * self.connections),
                    elapsed / self.duration),
                say({"en": "{rate:.0f} messages/s",
                     "ko": "초당 메시지 {rate:.0f}개"}, rate=count / elapsed))

    def _note_broken(self, loop: asyncio.AbstractEventLoop,
                     context: dict) -> None:
        """Handles errors, such as a lack of memory, for which asyncio would
        print a traceback."""
        self.failed += 1
        self.broken = self.broken or context.get("exception")

    def wants_more(self, messages: int, now: float) -> bool:
        return messages < self.messages and now - self.began < self.duration

    def count_failure(self, number: int, what: str) -> None:
        self.failed += 1
        if self.failed == 1:
            self.first_failure = say({"en": "connection {number}: {what}",
                                      "ko": "연결 {number}번: {what}"},
                                     number=number, what=what)

    def _result(self) -> dict:
        count, size = self.latencies.count, self.content.size
        elapsed = self.ended - self.began
        return {
            "connections": self.connections,
            "messages": count,
            "message_bytes": size,
            "echoed_bytes": count * size,
            "elapsed_seconds": elapsed,
            "messages_per_second": count / elapsed,
            "megabytes_per_second": count * size / elapsed / 1e6,
            "latency_p50_us": self.latencies.percentile(50) * 1e6,
            "latency_p99_us": self.latencies.percentile(99) * 1e6,
            "latency_max_us": self.latencies.longest * 1e6,
        }


def run_load(options: argparse.Namespace) -> None:
    needed = options.connections + SPARE_FILES
    descriptors.raise_limit()
    if descriptors.limit() < needed:
        raise Failure(say({
            "en": "this load needs {needed} open files, but the system allows "
                  "{limit} (ulimit -Hn); use fewer connections",
            "ko": "파일을 {needed}개 열어야 하는데 시스템은 {limit}개까지만 "
                  "허용합니다(ulimit -Hn). 연결 수를 줄이십시오",
        }, needed=needed, limit=descriptors.limit()))
    result = asyncio.run(Load(options).run(connect(options)))
    emit_line(json.dumps(result) if options.json else report(result))


def report(result: dict) -> str:
    p50, p99, longest = (readable(result[f"latency_{which}_us"])
                         for which in ("p50", "p99", "max"))
    return say(REPORT, p50=p50, p99=p99, longest=longest, **result)


def readable(microseconds: float) -> str:
    if microseconds < 1000:
        return f"{microseconds:.0f} us"
    return f"{microseconds / 1000:.1f} ms"


# ---------------------------------------------------------------------------
# Command line
# ---------------------------------------------------------------------------

def whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if (text.isascii() and text.isdigit() and len(text) < 20
                and low <= int(text) <= high):
            return int(text)
        raise argparse.ArgumentTypeError(say({
            "en": "{text!r} is not a whole number from {low} to {high}",
            "ko": "{text!r} 값은 {low}에서 {high}까지의 정수가 아닙니다",
        }, text=text, low=low, high=high))
    return parse


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86400:          # refuses nan too
        raise argparse.ArgumentTypeError(say({
            "en": "{text!r} is not a number of seconds, above 0 and up to "
                  "86400",
            "ko": "{text!r} 값은 0보다 크고 86400 이하인 초가 아닙니다",
        }, text=text))
    return value


def parse_options() -> argparse.Namespace:
    language.choose()
    parser = Parser(allow_abbrev=False, epilog=say(EPILOG), description=say({
        "en": "Sends to an echo server and checks that every byte comes back. "
              "Without a mode: what you type, line by line.",
        "ko": "에코 서버로 보낸 모든 바이트가 그대로 돌아오는지 확인합니다. "
              "방식을 고르지 않으면 입력한 내용을 한 줄씩 보냅니다."}))
    parser.add_argument("port", type=whole(1, 65535), metavar="PORT")
    parser.add_argument("--host", default="127.0.0.1", help=say({
        "en": "name or address (default: %(default)s)",
        "ko": "서버의 이름이나 주소(기본값: %(default)s)"}))
    parser.add_argument(
        "--timeout", type=seconds, default=10, metavar="S", help=say({
            "en": "how long to wait for a connection, and for the server when "
                  "it is silent (default: 10)",
            "ko": "연결될 때까지, 또는 서버의 응답이 없을 때 기다리는 시간"
                  "(초, 기본값: 10)"}))
    language.add_option(parser)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--message", metavar="TEXT", help=say({
        "en": "send one message", "ko": "메시지 하나를 보냅니다"}))
    mode.add_argument("--file", metavar="F", help=say({
        "en": "stream a file through the server, sending and receiving at "
              "once; - is standard input",
        "ko": "파일을 보내는 동시에 돌려받습니다. -는 표준 입력입니다"}))
    mode.add_argument("--load", action="store_true", help=say({
        "en": "many connections at once: each sends a message, waits until it "
              "is back and sends the next",
        "ko": "여러 연결을 한꺼번에 엽니다. 연결마다 메시지를 보내고, "
              "돌아오면 다음 메시지를 보냅니다"}))
    load = parser.add_argument_group(say({
        "en": "with --load", "ko": "--load와 함께 쓰는 옵션"}))
    load.add_argument(
        "--connections", type=whole(1, 60000), metavar="N", help=say({
            "en": "(default: 100)", "ko": "연결 수(기본값: 100)"}))
    load.add_argument(
        "--messages", type=whole(1, 10**9), metavar="M", help=say({
            "en": "of each connection (default: 100, or no limit with "
                  "--duration)",
            "ko": "연결마다 보낼 메시지 수(기본값: 100, --duration이 있으면 "
                  "제한 없음)"}))
    load.add_argument(
        "--size", type=whole(1, 2**30), metavar="BYTES", help=say({
            "en": "of each message (default: 64)",
            "ko": "메시지 하나의 크기(기본값: 64)"}))
    load.add_argument("--duration", type=seconds, metavar="S", help=say({
        "en": "begin no message after S seconds",
        "ko": "S초가 지나면 새 메시지를 보내지 않습니다"}))
    load.add_argument("--json", action="store_true", help=say({
        "en": "print the result as one JSON object",
        "ko": "결과를 JSON 객체 하나로 출력합니다"}))
    options = parser.parse_args()
    if not options.load:
        for name in "connections", "messages", "size", "duration", "json":
            if getattr(options, name):
                parser.error(say({
                    "en": "--{name} needs --load",
                    "ko": "--{name} 옵션은 --load와 함께 써야 합니다",
                }, name=name))
    options.connections = options.connections or 100
    options.messages = (options.messages
                        or (math.inf if options.duration else 100))
    options.size = options.size or 64
    options.duration = options.duration or math.inf
    return options


@program.entry
def main() -> int:
    options = parse_options()
    if options.load:
        run_load(options)
    elif options.file is not None:
        run_file(options)
    elif options.message is not None:
        run_message(options)
    else:
        run_interactive(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
