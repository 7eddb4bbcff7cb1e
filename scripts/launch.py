#!/usr/bin/env python3
"""Start the server: directly on Windows, under Wine everywhere else.

As a program:  launch.py SERVER.EXE ARGUMENTS...  becomes the server.
As a module:   command() and environment() for whoever starts one, and what
               else the scripts that do so share.

Wine keeps its idea of a Windows disk, the prefix, in build/wine. It is made
once, which takes some seconds.
"""

import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PREFIX = ROOT / "build" / "wine"
WINDOWS = os.name == "nt"
PREFIX_TIMEOUT = 300  # seconds
START_TRIES = 3       # see never_started


def command(program, *arguments):
    """The command line that starts a Windows program on this system."""
    wine = [] if WINDOWS else ["wine"]
    # With the system's own slashes: a makefile has others.
    return wine + [str(pathlib.Path(program)), *map(str, arguments)]


def check(program):
    """Raises OSError, saying why, for what can't be started. Wine would say
    it in several lines, or look for a program that opens a directory."""
    path = pathlib.Path(program)
    if not path.is_file():
        raise OSError(f"'{program}' is not there: build it first (make)")
    with open(path, "rb") as file:
        if file.read(2) != b"MZ":
            raise OSError(f"'{program}' is not a Windows program")


def never_started(status, output):
    """Whether Wine gave up before it came to the program: then start it again,
    START_TRIES times in all. Once in some 1,500 starts Wine 8 can't map a page
    that has a fixed place ("failed to map the shared user data"), and ends
    with status 1; with Wine's messages off nothing is said. The server never
    ends so without a line."""
    return not WINDOWS and status == 1 and not output


def one_line(message):
    """For a person, whatever the message has in it: one line of ASCII, without
    the characters that do something to a terminal."""
    return "".join(letter if " " <= letter <= "~" else ascii(letter)[1:-1]
                   for letter in " ".join(str(message).split()))


def environment():
    """The environment it needs: Wine's prefix, and Wine's own messages off."""
    env = dict(os.environ)
    if not WINDOWS:
        env["WINEPREFIX"] = str(PREFIX)
        env.setdefault("WINEDEBUG", "-all")
        # No offer to install .NET or a browser engine: neither is needed.
        env.setdefault("WINEDLLOVERRIDES", "mscoree,mshtml=")
    return env


def prepare():
    """Make Wine's prefix, if it is not there. Raises OSError, saying why."""
    if WINDOWS or (PREFIX / ".made").exists():
        return
    if shutil.which("wine") is None:
        raise OSError("wine is not installed: sh scripts/setup.sh wine")
    print("preparing Wine (once, some seconds) ...", file=sys.stderr)
    # One that was interrupted while it was made is of no use.
    shutil.rmtree(PREFIX, ignore_errors=True)
    PREFIX.mkdir(parents=True)
    done = subprocess.run(["wine", "wineboot", "--init"], env=environment(),
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, timeout=PREFIX_TIMEOUT)
    if done.returncode != 0:
        raise OSError(f"wineboot ended with status {done.returncode}")
    # The first program is to find the prefix whole, not still being written.
    subprocess.run(["wineserver", "--wait"], env=environment(),
                   timeout=PREFIX_TIMEOUT, check=False)
    (PREFIX / ".made").touch()


def main():
    """Become the server, or its parent where a program can't be replaced."""
    if len(sys.argv) < 2:
        print("usage: launch.py SERVER.EXE ARGUMENTS...", file=sys.stderr)
        return 2
    try:
        check(sys.argv[1])
        prepare()
        line = command(*sys.argv[1:])
        if not WINDOWS:
            sys.stdout.flush()
            os.execvpe(line[0], line, environment())
        server = subprocess.Popen(line)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"launch.py: {one_line(error)}", file=sys.stderr)
        return 1
    while True:
        try:
            return server.wait()
        except KeyboardInterrupt:
            pass  # the console told the server too; it is stopping


if __name__ == "__main__":
    sys.exit(main())
