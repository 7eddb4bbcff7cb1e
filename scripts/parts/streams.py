"""Standard streams that lose nothing, whatever they are.

A stream may be non-blocking. It may take only part of what is written (a full
disk, or a Windows console, which takes 32 KB at once). The parent may have
closed it, or it may be no file at all (IDLE, a notebook). The streams here
wait, write everything, or end the script with one line: see Failure.
"""

import codecs
import errno
import io
import select
import sys
import time

from parts.language import say
from parts.words import Failure, reason

INPUT = {"en": "standard input", "ko": "표준 입력"}
OUTPUT = {"en": "standard output", "ko": "표준 출력"}
ERROR = {"en": "standard error", "ko": "표준 오류"}

# Bytes in one write. A Windows console makes each at most one UTF-16 unit, of
# two bytes, and writes up to 32766 bytes of those.
MOST = 32766 // 2
PAUSE = 0.05  # seconds between two tries, where select does not work


class _Stream(io.RawIOBase):
    """The base of Output and Input. `raw` is the file under the stream, or
    None."""

    def __init__(self, stream, name):
        super().__init__()
        buffer = getattr(stream, "buffer", None)
        self.stream, self.name = stream, name
        self.raw = getattr(buffer, "raw", buffer)

    def fileno(self):
        if self.raw is None:
            raise io.UnsupportedOperation("this stream is no file")
        return self.raw.fileno()

    def isatty(self):
        return self.stream is not None and self.stream.isatty()

    def wait(self, *sets):
        """Waits until the file is ready; `sets` are select's."""
        try:
            select.select(*sets)
        except (OSError, ValueError):  # Windows selects sockets only
            time.sleep(PAUSE)

    def failure(self, text, error):
        return Failure(say(text, name=self.name, reason=reason(error)))


def closed():
    return OSError(errno.EBADF, say({"en": "it is closed",
                                     "ko": "닫혀 있습니다"}))


class Output(_Stream):
    """Writes everything. Raises the first failure if `strict`; standard error
    is not, as failures are printed there. Drops what comes after a failure:
    otherwise Python would complain again when it exits."""

    def __init__(self, stream, name, strict=True):
        super().__init__(stream, name)
        self.strict, self.failed = strict, None
        self.dropping = not strict and stream is None
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def writable(self):
        return True

    def write(self, data):
        rest = memoryview(data)
        while rest and not self.dropping:
            try:
                rest = rest[self.write_some(rest[:piece(rest)]):]
            except OSError as error:
                self.dropping = True
                if self.strict:
                    self.failed = self.failure({
                        "en": "cannot write {name}: {reason}",
                        "ko": "{name}에 쓸 수 없습니다: {reason}"}, error)
                    raise self.failed from None
        return len(data)

    def write_some(self, data):
        """Returns how many bytes the stream took."""
        if self.stream is None:
            raise closed()
        if self.raw is None:
            self.stream.write(self.decoder.decode(data))
            self.stream.flush()
            return len(data)
        count = self.raw.write(data)
        if count is None:  # full and non-blocking
            self.wait([], [self.raw], [])
        elif count == 0:
            raise OSError(errno.EIO, say({
                "en": "it takes no more", "ko": "더 받지 않습니다"}))
        return count or 0


def piece(data):
    """Returns how many bytes to write at once, without cutting a character
    of UTF-8."""
    size = min(len(data), MOST)
    while size < len(data) and size > MOST - 4 and data[size] & 0xC0 == 0x80:
        size -= 1
    return size


class Input(_Stream):
    """Reads to the end; waits when a non-blocking stream has nothing yet."""

    def __init__(self, stream, name):
        super().__init__(stream, name)
        self.rest = b""  # of a line, where the stream gives text

    def readable(self):
        return True

    def readinto(self, buffer):
        while True:
            try:
                count = self.read_some(buffer)
            except OSError as error:
                raise self.failure({
                    "en": "cannot read {name}: {reason}",
                    "ko": "{name}을 읽을 수 없습니다: {reason}",
                }, error) from None
            if count is not None:
                return count
            self.wait([self.raw], [], [])

    def read_some(self, buffer):
        """Returns how many bytes; None if there is nothing yet, 0 at the
        end."""
        if self.stream is None:
            raise closed()
        if self.raw is not None:
            return self.raw.readinto(buffer)
        if not self.rest:
            self.rest = self.stream.readline().encode("utf-8", "replace")
        count = min(len(buffer), len(self.rest))
        buffer[:count] = self.rest[:count]
        self.rest = self.rest[count:]
        return count


def open_all():
    """Replaces Python's streams. Returns those, to be put back later."""
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin = io.TextIOWrapper(
        io.BufferedReader(Input(sys.stdin, INPUT)),
        encoding(sys.stdin), errors=getattr(sys.stdin, "errors", None))
    sys.stdout = open_output(Output(sys.stdout, OUTPUT))
    sys.stderr = open_output(Output(sys.stderr, ERROR, False))
    return before


def encoding(stream):
    """Returns a byte stream's own encoding; UTF-8 for a text stream, because
    Output and Input convert it."""
    if hasattr(stream, "buffer"):
        return stream.encoding
    return "utf-8"


def open_output(output):
    """Escapes letters that can't be shown. Buffers as the old stream did."""
    unbuffered = getattr(output.stream, "write_through", False)
    return io.TextIOWrapper(
        output if unbuffered else io.BufferedWriter(output),
        encoding(output.stream), errors="backslashreplace",
        write_through=unbuffered, line_buffering=getattr(
            output.stream, "line_buffering", True))


def finish():
    """Flushes standard output. Raises its first failure, even if somebody
    has caught that before."""
    sys.stdout.flush()
    output = find_output()
    if output is not None and output.failed:
        raise output.failed


def abandon():
    """Drops what is still buffered, so that the user does not wait for it."""
    output = find_output()
    if output is not None:
        output.dropping = True


def find_output():
    """Returns the Output in place of sys.stdout, or None."""
    buffer = getattr(sys.stdout, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    return raw if isinstance(raw, Output) else None
