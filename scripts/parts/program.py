"""How a script runs.

entry() decorates its main: whatever fails, the user sees one line. Only a
mistake in the script itself shows a traceback. The exit status is what main
returns, 1 after a failure, 130 after Ctrl+C.
"""

import _thread
import contextlib
import functools
import os
import signal
import sys
import threading

from parts import streams, words

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
AGAIN = 0.05  # seconds


class Interrupts:
    """Raises KeyboardInterrupt once: a second one would disturb the cleanup.
    later() holds it back until a new process is recorded."""

    def __init__(self):
        self.held = self.pending = self.over = False

    def come(self, number=None, _=None):
        if self.held:
            self.pending = True
        elif not self.over:
            self.over = True
            raise KeyboardInterrupt(number)

    @contextlib.contextmanager
    def later(self):
        self.held = True
        try:
            yield
        finally:
            self.held = False
        if self.pending:
            self.pending = False
            self.come()


interrupts = Interrupts()


def entry(main):
    """Decorates main, so that it returns the exit status in any case."""
    name = os.path.basename(main.__globals__["__file__"])

    @functools.wraps(main)
    def whole(*arguments):
        with script_of_its_own():
            try:
                return run(main, arguments)
            except BaseException as error:
                interrupts.over = True
                if isinstance(error, KeyboardInterrupt):
                    streams.abandon()
                status = words.tell(error, name)
                if status is None:
                    raise
                return status
    return whole


@contextlib.contextmanager
def script_of_its_own():
    """Takes over streams and signals. A guest gives them back. A test, which
    calls main without begin(), keeps its own."""
    if not words.Script.name:
        yield
        return
    guest, before = words.is_guest(), streams.open_all()
    hook, sys.unraisablehook = sys.unraisablehook, come_again
    interrupts.__init__()
    handlers = handle(interrupts.come)
    try:
        yield
    finally:
        interrupts.over = True  # Python only has to exit now
        if guest:
            sys.stdin, sys.stdout, sys.stderr = before
            sys.unraisablehook = hook
            for number, handler in handlers.items():
                signal.signal(number, handler)


def handle(handler):
    """Sets the handler of the signals that end a script. Returns the old
    handlers."""
    before = {}
    for name in SIGNALS:
        number = getattr(signal, name, None)
        if number is None or (name == "SIGHUP" and signal.getsignal(number)
                              == signal.SIG_IGN):  # nohup
            continue
        with contextlib.suppress(ValueError):  # not in the main thread
            before[number] = signal.signal(number, handler)
    return before


def come_again(what):
    """Repeats a Ctrl+C that came where Python drops exceptions, such as in a
    __del__."""
    if isinstance(what.exc_value, KeyboardInterrupt):
        interrupts.over = False
        again = threading.Timer(AGAIN, press_ctrl_c)
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(what)


def press_ctrl_c():
    """Interrupts the main thread from another one, also while it waits."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    else:
        _thread.interrupt_main()


def run(main, arguments):
    """Returns the status. Raises Failure if some output was not written."""
    try:
        status = main(*arguments)
    except SystemExit as end:  # argparse: --help, or a wrong command line
        status = end.code
    except Exception:
        with contextlib.suppress(words.Failure):
            streams.finish()  # what was printed before
        raise
    streams.finish()
    return status
