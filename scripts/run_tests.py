#!/usr/bin/env python3
"""Run the tests with a Python that has pytest, which need not be this one.

usage: run_tests.py [ARGUMENTS FOR PYTEST...]

Runs all of tests/, or what the arguments name of it.
"""

import os
import pathlib
import subprocess
import sys

import launch

TESTS = launch.ROOT / "tests"
CANDIDATES = [[sys.executable], ["/usr/bin/python3"], ["python3"],
              ["py", "-3"], ["python"]]


def has_pytest(python):
    """Whether this command is a Python that can import pytest."""
    try:
        return subprocess.run(python + ["-c", "import pytest"],
                              stdout=subprocess.DEVNULL, timeout=60,
                              stderr=subprocess.DEVNULL).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def is_of_tests(argument):
    """Whether this is a file or folder of tests/, or a test in such a file."""
    path = pathlib.Path(argument.split("::")[0])
    return path.exists() and TESTS in [path.resolve(), *path.resolve().parents]


def main():
    """Find it, prepare Wine, run. Returns pytest's exit status."""
    python = next(filter(has_pytest, CANDIDATES), None)
    if python is None:
        print("run_tests.py: no Python here has pytest; install it with "
              "'python -m pip install pytest' or, on Debian, "
              "'apt-get install python3-pytest'", file=sys.stderr)
        return 1
    try:
        launch.prepare()
    except (OSError, subprocess.SubprocessError) as error:
        print(f"run_tests.py: {error}", file=sys.stderr)
        return 1
    arguments = sys.argv[1:] or ["-q"]
    if not any(map(is_of_tests, arguments)):
        try:
            arguments.append(os.path.relpath(TESTS))
        except ValueError:  # on another drive of Windows
            arguments.append(str(TESTS))
    try:
        return subprocess.run([*python, "-m", "pytest", *arguments]).returncode
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
