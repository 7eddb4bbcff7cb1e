#!/usr/bin/env python3
"""Starts the server: directly on Windows, under Wine everywhere else.

As a program:  launch.py SERVER.EXE ARGUMENTS...  becomes the server.
As a module:   command() and environment() start one server, wine_session()
               keeps Wine up for several; the rest is what the scripts share.

Wine's prefix, its idea of a Windows disk, is in build/wine. It is made once,
which takes some seconds.
"""

import os
import sys

if __name__ == "__main__":  # first: the other imports take their time
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from parts import words
    words.begin("launch.py")

import contextlib
import pathlib
import shutil
import subprocess
import tempfile

from parts import descriptors, program

ROOT = pathlib.Path(__file__).resolve().parent.parent
PREFIX = ROOT / "build" / "wine"
WINDOWS = os.name == "nt"
PREFIX_TIMEOUT = 300  # seconds
SESSION_TIMEOUT = 20
KILL_TIMEOUT = 20
START_TRIES = 3       # see never_started


def command(program, *arguments):
    """Returns the command line that starts a Windows program here."""
    wine = [] if WINDOWS else ["wine"]
    # Path() turns a makefile's slashes into the system's.
    return wine + [str(pathlib.Path(program)), *map(str, arguments)]


def check(program):
    """Raises OSError with the reason if the program can't be started. Wine
    would print several lines, or open a directory."""
    path = pathlib.Path(program)
    if not path.is_file():
        raise OSError(f"'{program}' is not there: build it first (make)")
    with open(path, "rb") as file:
        if file.read(2) != b"MZ":
            raise OSError(f"'{program}' is not a Windows program")


def never_started(status, output):
    """Whether Wine gave up before it ran the program: then start it again, at
    most START_TRIES times in all. Once in some 1,500 starts Wine 8 can't map a
    page that has a fixed address ("failed to map the shared user data"). It
    ends with status 1, and prints nothing, as its messages are off. The server
    always prints a line before it ends with status 1."""
    return not WINDOWS and status == 1 and not output


def environment():
    """Returns the environment for a server. It leaves out the user's own Wine
    and language, so the server does the same everywhere. UTF-8 can name any
    directory."""
    if WINDOWS:
        return dict(os.environ)
    env = {name: value for name, value in os.environ.items()
           if not name.startswith(("WINE", "LC_", "LANG"))}
    return {**env, "LC_ALL": "C.UTF-8", "WINEPREFIX": str(PREFIX),
            "WINEDEBUG": "-all",  # Wine's own messages
            # Wine must not offer to install .NET or a browser engine.
            "WINEDLLOVERRIDES": "mscoree,mshtml="}


def prepare():
    """Makes Wine's prefix if it is missing. Raises OSError with the reason if
    it can't."""
    if WINDOWS or is_whole(PREFIX):
        return
    if shutil.which("wine") is None:
        raise OSError("wine is not installed: sh scripts/setup.sh wine")
    PREFIX.parent.mkdir(parents=True, exist_ok=True)
    with alone(PREFIX.with_name("wine.lock")):
        if not is_whole(PREFIX):  # another run may have made it meanwhile
            make_prefix()


def is_whole(prefix):
    return (prefix / ".made").exists()


@contextlib.contextmanager
def alone(path):
    """Holds this file's lock. The system releases it when the process ends,
    even if it is killed."""
    import fcntl  # not on Windows
    with open(path, "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting until another run has prepared Wine ...",
                  file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_prefix():
    """Makes the prefix in a temporary directory and renames that once it is
    whole. Removes what interrupted runs have left."""
    print("preparing Wine (once, some seconds) ...", file=sys.stderr,
          flush=True)
    for old in [PREFIX, *PREFIX.parent.glob("wine-*")]:
        remove_prefix(old)
    made = pathlib.Path(tempfile.mkdtemp(prefix="wine-", dir=PREFIX.parent))
    try:
        # A session of its own keeps Ctrl+C away; the cleanup below ends it.
        done = subprocess.run(
            ["wine", "wineboot", "--init"], env=environment_of(made),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, timeout=PREFIX_TIMEOUT,
            start_new_session=True)
        if done.returncode != 0:
            raise OSError(f"wineboot ended with status {done.returncode}")
        # Wait until wineserver has written everything.
        wineserver("--wait", made, PREFIX_TIMEOUT)
        (made / ".made").touch()
        made.rename(PREFIX)
    finally:
        remove_prefix(made)


def environment_of(prefix):
    return {**environment(), "WINEPREFIX": str(prefix)}


def wineserver(option, prefix, timeout):
    subprocess.run(["wineserver", option], env=environment_of(prefix),
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, timeout=timeout)


def remove_prefix(prefix):
    """Removes the prefix, and ends what still runs in it."""
    if prefix.exists():
        with contextlib.suppress(subprocess.SubprocessError):
            wineserver("--kill", prefix, KILL_TIMEOUT)
        shutil.rmtree(prefix, ignore_errors=True)


@contextlib.contextmanager
def wine_session():
    """Keeps a program that only waits running under Wine. Wine boots with its
    first program and halts with its last, so the others start in a tenth of
    the time. Wine's services keep the first one's pipes open, not a server's.
    Raises OSError if Wine does not come up."""
    if WINDOWS:
        yield
        return
    prepare()
    # A session of its own keeps Ctrl+C away: it has to end last.
    waiting = subprocess.Popen(
        command("cmd.exe", "/q", "/c", "echo up& set /p line="),
        env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        if waiting.stdout.readline().strip() != b"up":
            raise OSError("Wine does not run: remove build/wine, which is "
                          "made again, and try again")
        yield
    finally:
        waiting.stdin.close()  # then it ends
        waiting.stdout.close()
        try:
            waiting.wait(SESSION_TIMEOUT)
        except subprocess.TimeoutExpired:
            waiting.kill()
            waiting.wait()


@program.entry
def main():
    """Becomes the server; on Windows, which has no exec, its parent."""
    if len(sys.argv) < 2:
        print("usage: launch.py SERVER.EXE ARGUMENTS...", file=sys.stderr)
        return 2
    check(sys.argv[1])
    prepare()
    line = command(*sys.argv[1:])
    if not WINDOWS:
        descriptors.raise_limit()  # each client takes one
        os.execvpe(line[0], line, environment())
    server = subprocess.Popen(line)
    while True:
        try:
            return server.wait()
        except KeyboardInterrupt:
            pass  # the console told the server too; it is stopping


if __name__ == "__main__":
    sys.exit(main())
