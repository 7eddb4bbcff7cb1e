#!/usr/bin/env python3
"""Runs the tests with a Python that has pytest, which need not be this one.

usage: run_tests.py [ARGUMENTS FOR PYTEST...]

Runs all of tests/, or the tests that the arguments name. Without arguments it
runs those of `make test`. With pytest-xdist several run at once.
"""

import os
import sys

if __name__ == "__main__":  # first: the other imports take their time
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(
        __file__))))
    from parts import words
    words.begin("run_tests.py")

import pathlib
import signal
import subprocess

import launch
from parts import program
from parts.words import Failure

END_TIMEOUT = 60  # seconds, for pytest to end what its tests have started
MORE_THAN_CPUS = 3  # tests at once, because most of them mostly wait
IN_ONE = {"-s", "--pdb"}  # options that need a single pytest

TESTS = launch.ROOT / "tests"
CANDIDATES = [[sys.executable], ["/usr/bin/python3"], ["python3"],
              ["py", "-3"], ["python"]]

# The tests must not depend on the user's language or Python settings:
# PYTHONOPTIMIZE, for one, drops the assertions.
ENVIRONMENT = {name: value for name, value in os.environ.items()
               if not name.startswith(("PYTHON", "LC_", "LANG"))}
ENVIRONMENT["LC_ALL"] = "C.UTF-8"


def has(python, modules):
    """Whether this command is a Python that can import them."""
    try:
        return subprocess.run(python + ["-c", f"import {modules}"],
                              env=ENVIRONMENT, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL,
                              timeout=60).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def find_python():
    """Returns a Python's command, and the options that make its pytest run
    several tests at once."""
    python = next((x for x in CANDIDATES if has(x, "pytest, xdist")), None)
    if python is not None:
        return python, ["-n", str((os.cpu_count() or 1) + MORE_THAN_CPUS)]
    python = next((x for x in CANDIDATES if has(x, "pytest")), None)
    if python is None:
        raise Failure("no Python here has pytest; install it with 'python -m "
                      "pip install pytest pytest-xdist' or, on Debian, "
                      "'apt-get install python3-pytest python3-pytest-xdist'")
    print("run_tests.py: one test after the other; pytest-xdist would run "
          "several at once", file=sys.stderr, flush=True)
    return python, []


def is_of_tests(argument):
    """Whether this is a file or folder of tests/, or a test in such a file."""
    path = pathlib.Path(argument.split("::")[0])
    return path.exists() and TESTS in [path.resolve(), *path.resolve().parents]


def status_of(process):
    """Waits for pytest. After Ctrl+C, which pytest gets from the terminal too,
    waits until it has ended what its tests started. Passes on other
    signals."""
    try:
        return process.wait()
    except KeyboardInterrupt as interrupt:
        if interrupt.args != (signal.SIGINT,):
            process.send_signal(signal.SIGINT)
        try:
            process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


@program.entry
def main():
    """Prepares Wine and runs the tests. Returns pytest's exit status."""
    python, at_once = find_python()
    launch.prepare()
    arguments = sys.argv[1:] or ["-q", "--brief"]
    if IN_ONE & set(arguments):
        at_once = []
    if "--lf" in arguments:
        arguments.append("--lfnf=none")  # if none failed, run none
    if not any(map(is_of_tests, arguments)):
        try:
            arguments.append(os.path.relpath(TESTS))
        except ValueError:  # on another drive of Windows
            arguments.append(str(TESTS))
    with program.interrupts.later():
        process = subprocess.Popen(
            [*python, "-m", "pytest", *at_once, *arguments], env=ENVIRONMENT)
    return status_of(process)


if __name__ == "__main__":
    sys.exit(main())
