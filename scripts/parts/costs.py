"""What one echo costs, in figures that do not depend on the machine."""

import shutil
import subprocess
import sys

import launch
from parts.clients import connect, echo
from parts.language import say
from parts.server import fields
from parts.words import Failure

CHECKED = launch.ROOT / "build" / "checked" / "iocp_echo_server.exe"
FEW, ECHOES = 100, 500  # what the first ones cost is subtracted
MESSAGE = b"x" * 64


def why_no_calls(checked):
    """Returns why they can't be counted, or None."""
    if checked.is_file():
        return None
    return say({"en": "{path} is not there: make checked (it needs GNU make, "
                      "MinGW)",
                "ko": "{path} 파일이 없습니다. make checked로 빌드하십시오"
                      "(GNU make와 MinGW가 필요합니다)"}, path=checked)


def calls_of_one_echo(start, directory):
    """Returns how often a server makes each call for one echo to one client.
    start(env) starts the checked server (tests/checked), with `env` added to
    its environment. What only some echoes need gives fractions."""
    def count(echoes):
        counts = directory / f"calls-{echoes}.txt"
        server = start({"COUNTS": launch.windows_path(counts)})
        with connect("127.0.0.1", server.port) as client:
            for _ in range(echoes):
                if echo(client, MESSAGE) != MESSAGE:
                    raise Failure("a wrong echo")
        server.stop()
        return calls_in(counts)
    return of_one(count, FEW, ECHOES)


def of_one(count, few, more):
    """Returns what one echo costs; count(N) returns what a run of N costs."""
    start, end = count(few), count(few + more)
    return {call: (end[call] - start[call]) / more for call in end}


def calls_in(path):
    """Returns how often each call was made, by the file of COUNTS."""
    return {call: int(count) for call, count in
            fields(path.read_text(encoding="ascii")).items()}


def asked_in(path):
    """Returns pairs of a call and its arguments, by the file of ASKED."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [(line.split()[0], fields(line)) for line in lines]


def simulation():
    """Returns tests/simulated as a module. Raises Failure where there are no
    tests: in the package to hand out."""
    tests = str(launch.ROOT / "tests")
    if tests not in sys.path:
        sys.path.append(tests)
    try:
        from simulated import simulate
    except ImportError:
        raise Failure(say({
            "en": "the simulated Windows is not in this package",
            "ko": "이 배포 파일에는 시뮬레이션한 윈도우가 없습니다"})) from None
    return simulate


def why_no_instructions():
    """Returns why they can't be counted, or None."""
    return simulation().why_not() or (
        None if shutil.which("valgrind") else "valgrind is missing")


def instructions_of_one_echo(arguments, directory):
    """Returns how many instructions of the server's functions an echo takes,
    {"FILE FUNCTION": N}: of the sources as gcc compiles them for Linux, on a
    simulated Windows (tests/simulated), without what it calls."""
    def instructions(echoes):
        try:
            return simulation().instructions(
                directory / f"instructions-{echoes}", echoes, *arguments)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            raise Failure(f"not counted: {error}") from None
    few, many = instructions(FEW), instructions(FEW + ECHOES)
    return {function: (many[function] - few[function]) / ECHOES
            for function in many if many[function] != few[function]}
