#!/usr/bin/env python3
"""Run the tests with a Python that has pytest, which need not be this one.

usage: run_tests.py [ARGUMENTS FOR PYTEST...]

Runs all of tests/, or what the arguments name of it.
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

TESTS = launch.ROOT / "tests"
CANDIDATES = [[sys.executable], ["/usr/bin/python3"], ["python3"],
              ["py", "-3"], ["python"]]

# Nothing that is set for Python, nor the language, changes what the tests do:
# PYTHONOPTIMIZE, for one, drops the assertions.
ENVIRONMENT = {name: value for name, value in os.environ.items()
               if not name.startswith(("PYTHON", "LC_", "LANG"))}
ENVIRONMENT["LC_ALL"] = "C.UTF-8"


def has_pytest(python):
    """Whether this command is a Python that can import pytest."""
    try:
        return subprocess.run(python + ["-c", "import pytest"],
                              env=ENVIRONMENT, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL,
                              timeout=60).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def is_of_tests(argument):
    """Whether this is a file or folder of tests/, or a test in such a file."""
    path = pathlib.Path(argument.split("::")[0])
    return path.exists() and TESTS in [path.resolve(), *path.resolve().parents]


def status_of(process):
    """Waits for pytest, also after Ctrl+C: the terminal tells pytest too, and
    it ends what its tests have started. Another signal is passed on."""
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
    """Finds it, prepares Wine, runs. Returns pytest's exit status."""
    python = next(filter(has_pytest, CANDIDATES), None)
    if python is None:
        raise Failure("no Python here has pytest; install it with 'python -m "
                      "pip install pytest' or, on Debian, 'apt-get install "
                      "python3-pytest'")
    launch.prepare()
    arguments = sys.argv[1:] or ["-q"]
    if not any(map(is_of_tests, arguments)):
        try:
            arguments.append(os.path.relpath(TESTS))
        except ValueError:  # on another drive of Windows
            arguments.append(str(TESTS))
    with program.interrupts.later():
        process = subprocess.Popen(
            [*python, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            env=ENVIRONMENT)
    return status_of(process)


if __name__ == "__main__":
    sys.exit(main())
