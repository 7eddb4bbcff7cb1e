#!/usr/bin/env python3
"""Run the tests with a Python that has pytest, which need not be this one.

usage: run_tests.py [ARGUMENTS FOR PYTEST...]
"""

import os
import pathlib
import subprocess
import sys

import launch

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
    tests = launch.ROOT / "tests"
    try:
        tests = pathlib.Path(os.path.relpath(tests))
    except ValueError:
        pass  # on another drive of Windows: no way from here to there
    try:
        return subprocess.run([*python, "-m", "pytest",
                               *(sys.argv[1:] or ["-q"]),
                               str(tests)]).returncode
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
