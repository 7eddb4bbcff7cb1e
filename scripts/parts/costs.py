"""What one echo costs, in figures that do not depend on the machine."""

import launch
from parts.clients import connect, echo
from parts.server import fields
from parts.words import Failure

CHECKED = launch.ROOT / "build" / "checked" / "iocp_echo_server.exe"
FIRST, ECHOES = 100, 500  # the first ones are not counted
MESSAGE = b"x" * 64


def why_no_calls(checked):
    """Returns why they can't be counted, or None."""
    if checked.is_file():
        return None
    return f"{checked} is not there: make checked (it needs GNU make, MinGW)"


def calls_of_one_echo(start, directory):
    """Returns how often a server makes each call for one echo to one client.
    start(env) starts the checked server (tests/checked), with `env` added to
    its environment. What only some echoes need gives fractions."""
    few = calls_of(FIRST, start, directory)
    many = calls_of(FIRST + ECHOES, start, directory)
    return {call: (many[call] - few[call]) / ECHOES for call in many}


def calls_of(echoes, start, directory):
    """Returns how often each call was made, from the start to the end."""
    counts = directory / f"calls-{echoes}.txt"
    server = start({"COUNTS": launch.windows_path(counts)})
    with connect("127.0.0.1", server.port) as client:
        for _ in range(echoes):
            if echo(client, MESSAGE) != MESSAGE:
                raise Failure("a wrong echo")
    server.stop()
    return {call: int(count) for call, count in
            fields(counts.read_text(encoding="ascii")).items()}
