#!/usr/bin/env python3
"""Start the server: directly on Windows, under Wine everywhere else.

As a program:  launch.py SERVER.EXE ARGUMENTS...  becomes the server.
As a module:   command() and environment() for whoever starts one,
               wine_session() for whoever starts many, and what else the
               scripts that do so share.

Wine keeps its idea of a Windows disk, the prefix, in build/wine. It is made
once, which takes some seconds.
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
import signal
import subprocess
import tempfile

from parts import descriptors, files, language, program
from parts.language import say

ROOT = pathlib.Path(__file__).resolve().parent.parent
PREFIX = ROOT / "build" / "wine"
WINDOWS = os.name == "nt"
PREFIX_TIMEOUT = 300  # seconds
SESSION_TIMEOUT = 20
KILL_TIMEOUT = 20
START_TRIES = 3       # see never_started
END_TIMEOUTS = [0.1, 5]  # see end


def command(program, *arguments):
    """The command line that starts a Windows program on this system."""
    wine = [] if WINDOWS else ["wine"]
    # With the system's own slashes: a makefile has others.
    return wine + [str(pathlib.Path(program)), *map(str, arguments)]


def windows_path(path):
    """How a Windows program names a file; Wine's drive Z is all of Linux."""
    return str(path) if WINDOWS else "Z:" + str(path).replace("/", "\\")


def check(program):
    """Raises OSError, saying why, for what can't be started. Wine would say
    it in several lines, or look for a program that opens a directory."""
    path = pathlib.Path(program)
    if not path.is_file():
        raise OSError(say({
            "en": "'{program}' is not there: build it first (make)",
            "ko": "'{program}' 파일이 없습니다. 먼저 빌드하십시오(make)",
        }, program=program))
    with open(path, "rb") as file:
        if file.read(2) != b"MZ":
            raise OSError(say({
                "en": "'{program}' is not a Windows program",
                "ko": "'{program}' 파일은 윈도우 프로그램이 아닙니다",
            }, program=program))


def end(process):
    """Ends a server at once, however it is, and waits for it.

    A process that is killed can take Wine's server with it, and then every
    program under Wine ends: if a client sends something before the server has
    seen that the process is gone, an assertion in its sock.c fails (Wine 8;
    one time in 20 with a dozen busy clients). So Ctrl+C comes first. Our
    server drains after one, and ends after two."""
    if not WINDOWS:
        for patience in END_TIMEOUTS:
            if process.poll() is None:
                with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                    process.send_signal(signal.SIGINT)
                    process.wait(patience)
    process.kill()
    process.wait()


def never_started(status, output):
    """Whether Wine gave up before it came to the program: then start it again,
    START_TRIES times in all. Once in some 1,500 starts Wine 8 can't map a page
    that has a fixed place ("failed to map the shared user data"), and ends
    with status 1; with Wine's messages off nothing is said. Or its server has
    just ended ("wine client error:0: ..."). Ours never ends so without a
    line of its own."""
    return not WINDOWS and status == 1 and all(
        line.startswith("wine client error:") for line in output.splitlines())


def environment():
    """The environment it needs. The user's own Wine and language are left out:
    the server does the same wherever it is started, and UTF-8 has a name for
    any directory."""
    if WINDOWS:
        return dict(os.environ)
    env = {name: value for name, value in os.environ.items()
           if not name.startswith(("WINE", "LC_", "LANG"))}
    return {**env, "LC_ALL": "C.UTF-8", "WINEPREFIX": str(PREFIX),
            "WINEDEBUG": "-all",  # Wine's own messages
            # No offer to install .NET or a browser engine: neither is needed.
            "WINEDLLOVERRIDES": "mscoree,mshtml="}


def prepare():
    """Makes Wine's prefix, if it is not there. Raises OSError, saying why."""
    if WINDOWS or is_whole(PREFIX):
        return
    if shutil.which("wine") is None:
        raise OSError(say({
            "en": "wine is not installed: sh scripts/setup.sh wine",
            "ko": "wine이 없습니다. 설치하십시오: sh scripts/setup.sh wine"}))
    PREFIX.parent.mkdir(parents=True, exist_ok=True)
    with files.alone(PREFIX.with_name("wine.lock"),
                     say({"en": "waiting until another run has prepared Wine "
                                "...",
                          "ko": "다른 실행이 Wine을 준비하는 중입니다. 기다리는 "
                                "중 ..."})):
        if not is_whole(PREFIX):  # another has made it meanwhile
            make_prefix()


def is_whole(prefix):
    return (prefix / ".made").exists()


def make_prefix():
    """In a directory of its own, which gets the name when it is whole. What
    was interrupted before is of no use."""
    print(say({"en": "preparing Wine (once, some seconds) ...",
               "ko": "Wine을 준비하는 중(한 번만, 몇 초) ..."}),
          file=sys.stderr, flush=True)
    for old in [PREFIX, *PREFIX.parent.glob("wine-*")]:
        remove_prefix(old)
    made = pathlib.Path(tempfile.mkdtemp(prefix="wine-", dir=PREFIX.parent))
    try:
        # Not this terminal's Ctrl+C: what it has begun is ended below.
        done = subprocess.run(
            ["wine", "wineboot", "--init"], env=environment_of(made),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, timeout=PREFIX_TIMEOUT,
            start_new_session=True)
        if done.returncode != 0:
            raise OSError(say({
                "en": "wineboot ended with status {status}",
                "ko": "wineboot가 실패했습니다(상태 {status})",
            }, status=done.returncode))
        # The first program is to find it whole, not still being written.
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
    """And whatever still runs in it."""
    if prefix.exists():
        with contextlib.suppress(subprocess.SubprocessError):
            wineserver("--kill", prefix, KILL_TIMEOUT)
        shutil.rmtree(prefix, ignore_errors=True)


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
            raise OSError(say({
                "en": "Wine does not run: remove build/wine, which is made "
                      "again, and try again",
                "ko": "Wine이 실행되지 않습니다. build/wine을 지우고 다시 "
                      "실행하면 새로 만듭니다"}))
        yield
    finally:
        waiting.stdin.close()  # the end of its input ends it
        waiting.stdout.close()
        try:
            waiting.wait(SESSION_TIMEOUT)
        except subprocess.TimeoutExpired:
            waiting.kill()
            waiting.wait()


@program.entry
def main():
    """Becomes the server, or its parent where a program can't be replaced."""
    language.choose([])  # every argument is the server's
    if len(sys.argv) < 2:
        print("usage: launch.py SERVER.EXE ARGUMENTS...", file=sys.stderr)
        return 2
    check(sys.argv[1])
    prepare()
    line = command(*sys.argv[1:])
    if not WINDOWS:
        descriptors.raise_limit()  # each client is one
        os.execvpe(line[0], line, environment())
    server = subprocess.Popen(line)
    while True:
        try:
            return server.wait()
        except KeyboardInterrupt:
            pass  # the console told the server too; it is stopping


if __name__ == "__main__":
    sys.exit(main())
