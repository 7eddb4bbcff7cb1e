"""How a script runs.

Its main is an entry(): whatever happens, its user sees one line and never a
traceback, but for a mistake of the script's own. The exit status is what main
returns, 1 for what failed and 130 for Ctrl+C.
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
    """Ctrl+C, once: what was started is being ended then. Nor does it come
    between the start of a process and the moment that it is known here."""

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
    """Decorates main: it returns the exit status, whatever happens."""
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
    """With its streams and signals. A guest gives them back; in a test, which
    calls main and has not begun a script, they are left alone."""
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
        interrupts.over = True  # the rest is Python's own end
        if guest:
            sys.stdin, sys.stdout, sys.stderr = before
            sys.unraisablehook = hook
            for number, handler in handlers.items():
                signal.signal(number, handler)


def handle(handler):
    """Takes the signals that end a script. Returns who had them."""
    before = {}
    for name in SIGNALS:
        number = getattr(signal, name, None)
        if number is None or (name == "SIGHUP" and signal.getsignal(number)
                              == signal.SIG_IGN):  # nohup
            continue
        with contextlib.suppress(ValueError):  # in no thread but the main one
            before[number] = signal.signal(number, handler)
    return before


def come_again(what):
    """Ctrl+C has come where Python can raise nothing, in a __del__ say."""
    if isinstance(what.exc_value, KeyboardInterrupt):
        interrupts.over = False
        again = threading.Timer(AGAIN, press_ctrl_c)
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(what)


def press_ctrl_c():
    """From another thread: it has to end what the main thread waits for."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    else:
        _thread.interrupt_main()


def run(main, arguments):
    """Returns the status. Raises Failure if not all was printed."""
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
