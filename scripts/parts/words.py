"""What a script says when something ends it: one line, in any language.

Here is also what has to be there first, begin(), so that this module imports
nothing that Python has not imported by itself.
"""

import os
import sys

INTERRUPTED = 130  # the exit status after Ctrl+C


class Failure(Exception):
    """Ends the script with status 1; its text is the line it prints."""


class Script:
    """The script that runs. None has begun in a test that imports one."""

    name = None
    interrupted = "interrupted"  # what Ctrl+C has it say, if anything


def begin(name, interrupted=Script.interrupted):
    """Call it before all other imports: Ctrl+C may come while they last, and
    would have Python print where."""
    Script.name, Script.interrupted = name, interrupted
    if not is_guest():
        sys.excepthook = last_words
        sys.unraisablehook = lambda what: last_words(
            what.exc_type, what.exc_value, what.exc_traceback)


def is_guest():
    """Whether another program, as IDLE or a notebook, runs this script in its
    own process, and goes on afterwards."""
    return sys.stdout is not sys.__stdout__


def one_line(message):
    """The message in one line, with what is no letter escaped: it could do
    something to a terminal. A letter that the terminal can't show is escaped
    where it is printed, by the stream."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1]
                   for letter in " ".join(str(message).split()))


def reason(error):
    """The system's words for an error, without the number in front."""
    if isinstance(error, MemoryError):
        return "not enough memory"
    return getattr(error, "strerror", None) or str(error) or repr(error)


def tell(error, name=None):
    """Says in one line what has ended the script. Returns the exit status;
    None if it is a mistake of the script's own."""
    if isinstance(error, KeyboardInterrupt):
        status, text = INTERRUPTED, Script.interrupted
    elif is_the_systems(error):
        status, text = 1, reason(error)
        if getattr(error, "filename", None):
            text = f"{error.filename}: {text}"
    else:
        return None
    if text and sys.stderr:
        print(f"{Script.name or name}: {one_line(text)}", file=sys.stderr,
              flush=True)
    return status


def is_the_systems(error):
    """Whether it is nothing that the script could have prevented."""
    processes = sys.modules.get("subprocess")  # or it is none of its errors
    return (isinstance(error, (Failure, OSError, MemoryError, ImportError))
            or isinstance(error, getattr(processes, "SubprocessError", ()))
            or isinstance(error, RuntimeError) and "new thread" in str(error))


def last_words(kind, error, trace):
    """What Python calls instead of printing a traceback."""
    status = tell(error)
    if status is None:
        sys.__excepthook__(kind, error, trace)
    else:
        os._exit(status)
