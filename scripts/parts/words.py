"""What a script says when something ends it: one line, in any language.

Scripts call begin() before they import anything else, so this module imports
only what Python has already imported.
"""

import os
import sys

INTERRUPTED = 130  # the exit status after Ctrl+C
INTERRUPTION = {"en": "interrupted", "ko": "중단되었습니다"}
NO_MEMORY = {"en": "not enough memory", "ko": "메모리가 모자랍니다"}


class Failure(Exception):
    """Ends the script with `status`; its text is the line it prints."""

    status = 1


class Chosen:
    """The language, see language.py."""

    language = "en"


class Script:
    """The running script; `name` is None in a test that imports one."""

    name = None
    interrupted = True  # whether it says so at Ctrl+C


def begin(name, interrupted=True):
    """Call this before all other imports: Ctrl+C may come during them, and
    Python would print a traceback."""
    Script.name, Script.interrupted = name, interrupted
    if not is_guest():
        sys.excepthook = last_words
        sys.unraisablehook = lambda what: last_words(
            what.exc_type, what.exc_value, what.exc_traceback)


def is_guest():
    """Whether another program (IDLE, a notebook) runs this script in its own
    process and goes on afterwards."""
    return sys.stdout is not sys.__stdout__


def one_line(message):
    """Puts the message on one line and escapes control characters, which
    could change the terminal. The stream escapes letters that the terminal
    can't show."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1]
                   for letter in " ".join(str(message).split()))


def reason(error):
    """The system's words for an error, without the number in front."""
    if isinstance(error, MemoryError):
        return NO_MEMORY[Chosen.language]
    return getattr(error, "strerror", None) or str(error) or repr(error)


def tell(error, name=None):
    """Prints one line that says what ended the script. Returns the exit
    status; None if the script itself has a mistake."""
    if isinstance(error, KeyboardInterrupt):
        status = INTERRUPTED
        text = INTERRUPTION[Chosen.language] if Script.interrupted else ""
    elif is_the_systems(error):
        status, text = getattr(error, "status", 1), reason(error)
        if getattr(error, "filename", None):
            text = f"{error.filename}: {text}"
    else:
        return None
    if text and sys.stderr:
        print(f"{Script.name or name}: {one_line(text)}", file=sys.stderr,
              flush=True)
    return status


def is_the_systems(error):
    """Whether the script could not have prevented the error."""
    processes = sys.modules.get("subprocess")  # None: not imported
    return (isinstance(error, (Failure, OSError, MemoryError, ImportError))
            or isinstance(error, getattr(processes, "SubprocessError", ()))
            or isinstance(error, RuntimeError) and "new thread" in str(error))


def last_words(kind, error, trace):
    """Python calls this instead of printing a traceback."""
    status = tell(error)
    if status is None:
        sys.__excepthook__(kind, error, trace)
    else:
        os._exit(status)
