#!/usr/bin/env python3
"""Start the server: directly on Windows, under Wine everywhere else.

As a program:  launch.py SERVER.EXE ARGUMENTS...  becomes the server.
As a module:   command() and environment() for whoever starts one, and
               wine_session() for whoever starts many.

Wine keeps its idea of a Windows disk, the prefix, in build/wine. It is made
once, which takes some seconds.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PREFIX = ROOT / "build" / "wine"
WINDOWS = os.name == "nt"
PREFIX_TIMEOUT = 300  # seconds
SESSION_TIMEOUT = 20


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


def never_started(status, output):
    """Whether Wine gave up before it came to the program. Once in some 1,500
    starts Wine 8 can't map a page that has a fixed place ("failed to map the
    shared user data"), and ends with status 1; with Wine's messages off
    nothing is said. The server never ends so without a line."""
    return not WINDOWS and status == 1 and not output


@contextlib.contextmanager
def wine_session():
    """Wine boots with its first program and halts with its last. With one that
    only waits, the others start in a tenth of the time; and Wine's services
    hold the first one's pipes, not those of a server that is started later.
    Raises OSError where Wine does not come up."""
    if WINDOWS:
        yield
        return
    prepare()
    # Not this terminal's Ctrl+C: what runs under Wine is stopped first.
    waiting = subprocess.Popen(
        command("cmd.exe", "/q", "/c", "echo up& set /p line="),
        env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        if waiting.stdout.readline().strip() != b"up":
            raise OSError("Wine does not run: try build/wine anew "
                          "(make distclean)")
        yield
    finally:
        waiting.stdin.close()  # the end of its input ends it
        waiting.stdout.close()
        try:
            waiting.wait(SESSION_TIMEOUT)
        except subprocess.TimeoutExpired:
            waiting.kill()
            waiting.wait()


def raise_descriptor_limit(wanted):
    """So many descriptors, or as many as may be had, where there is a limit to
    raise (POSIX). What is started from then on has them too."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def descriptor_limit():
    """How many descriptors a process may have; infinity without a limit."""
    try:
        import resource
    except ImportError:
        return float("inf")
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return float("inf") if soft == resource.RLIM_INFINITY else soft


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
