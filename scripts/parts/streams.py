"""Standard streams that lose nothing, whatever they are.

A stream may be set not to block, take a part of what it is given (a full
disk, or a Windows console, which takes 32 KB at once), have been closed by
whoever started the script, or be no file at all (IDLE, a notebook). These
wait, write all of it, or end the script in one line: see Failure.
"""

import codecs
import errno
import io
import select
import sys
import time

from parts.words import Failure, reason

# Bytes in one write: each is at most one UTF-16 unit, of two bytes, to a
# Windows console, which writes up to 32766 of those bytes.
MOST = 32766 // 2
PAUSE = 0.05  # seconds between two tries, where nothing tells of the next


class _Stream(io.RawIOBase):
    """What Output and Input have in common: `raw` is the file under the
    stream, or None."""

    def __init__(self, stream, name):
        super().__init__()
        buffer = getattr(stream, "buffer", None)
        self.stream, self.name = stream, name
        self.raw = getattr(buffer, "raw", buffer)

    def fileno(self):
        if self.raw is None:
            raise io.UnsupportedOperation(f"{self.name} is no file")
        return self.raw.fileno()

    def isatty(self):
        return self.stream is not None and self.stream.isatty()

    def wait(self, *sets):
        """Until the file is ready, as select's `sets` say."""
        try:
            select.select(*sets)
        except (OSError, ValueError):  # Windows selects sockets only
            time.sleep(PAUSE)

    def failure(self, what, error):
        return Failure(f"cannot {what} {self.name}: {reason(error)}")


def closed():
    return OSError(errno.EBADF, "it is closed")


class Output(_Stream):
    """Writes all that it is given. The first failure is raised, unless the
    stream is the one that failures are told on; what comes later is dropped:
    Python would complain of it once more at its end."""

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
                    self.failed = self.failure("write", error)
                    raise self.failed from None
        return len(data)

    def write_some(self, data):
        """Returns how much was taken."""
        if self.stream is None:
            raise closed()
        if self.raw is None:
            self.stream.write(self.decoder.decode(data))
            self.stream.flush()
            return len(data)
        count = self.raw.write(data)
        if count is None:  # full, and set not to block
            self.wait([], [self.raw], [])
        elif count == 0:
            raise OSError(errno.EIO, "it takes no more")
        return count or 0


def piece(data):
    """How much of it to write at once: no character of UTF-8 is cut."""
    size = min(len(data), MOST)
    while size < len(data) and size > MOST - 4 and data[size] & 0xC0 == 0x80:
        size -= 1
    return size


class Input(_Stream):
    """Reads up to the end: that there is nothing yet is no end."""

    def __init__(self, stream, name):
        super().__init__(stream, name)
        self.rest = b""  # of a line of text

    def readable(self):
        return True

    def readinto(self, buffer):
        while True:
            try:
                count = self.read_some(buffer)
            except OSError as error:
                raise self.failure("read", error) from None
            if count is not None:
                return count
            self.wait([self.raw], [], [])

    def read_some(self, buffer):
        """Returns how much; None: nothing yet; 0: the end."""
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
    """Puts them in the place of Python's own; returns those, for restore."""
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin = io.TextIOWrapper(
        io.BufferedReader(Input(sys.stdin, "standard input")),
        encoding(sys.stdin), errors=getattr(sys.stdin, "errors", None))
    sys.stdout = open_output(Output(sys.stdout, "standard output"))
    sys.stderr = open_output(Output(sys.stderr, "standard error", False))
    return before


def encoding(stream):
    """Of a stream of bytes its own; of text what is decoded again here."""
    if hasattr(stream, "buffer"):
        return stream.encoding
    return "utf-8"


def open_output(output):
    """A letter that can't be shown is escaped. Buffered as it was."""
    unbuffered = getattr(output.stream, "write_through", False)
    return io.TextIOWrapper(
        output if unbuffered else io.BufferedWriter(output),
        encoding(output.stream), errors="backslashreplace",
        write_through=unbuffered, line_buffering=getattr(
            output.stream, "line_buffering", True))


def finish():
    """Writes what is still in a buffer. Raises Failure if standard output has
    ever failed, whoever was told of it then."""
    sys.stdout.flush()
    output = find_output()
    if output is not None and output.failed:
        raise output.failed


def abandon():
    """Drops what is still in a buffer: the user does not wait for it."""
    output = find_output()
    if output is not None:
        output.dropping = True


def find_output():
    """Ours, if it is in its place."""
    buffer = getattr(sys.stdout, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    return raw if isinstance(raw, Output) else None
