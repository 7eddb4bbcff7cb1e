#!/usr/bin/env python3
"""Start the server: directly on Windows, under Wine everywhere else.

As a program:  launch.py SERVER.EXE ARGUMENTS...  becomes the server.
As a module:   command() and environment() for whoever starts one.

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


def command(program, *arguments):
    """The command line that starts a Windows program on this system."""
    wine = [] if WINDOWS else ["wine"]
    # With the system's own slashes: a makefile has others.
    return wine + [str(pathlib.Path(program)), *map(str, arguments)]


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
        prepare()
        line = command(*sys.argv[1:])
        if not WINDOWS:
            sys.stdout.flush()
            os.execvpe(line[0], line, environment())
        server = subprocess.Popen(line)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"launch.py: {error}", file=sys.stderr)
        return 1
    while True:
        try:
            return server.wait()
        except KeyboardInterrupt:
            pass  # the console told the server too; it is stopping


if __name__ == "__main__":
    sys.exit(main())
