"""Files that the scripts write, and locks."""

import contextlib
import sys


@contextlib.contextmanager
def alone(path, waiting=""):
    """Holds the lock of this file; says `waiting` if it has to wait. The lock
    ends with the process, however that does."""
    import fcntl  # not on Windows
    with open(path, "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                print(waiting, file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write(path, text):
    """Writes the same bytes on any system. Raises OSError with the file's
    name."""
    try:
        path.write_bytes(text.encode("utf-8"))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
