"""The scripts' messages are readable, whatever letters are in them and
whatever the terminal can show."""

import errno
import os
import re
import socket
import subprocess
import sys

import pytest

from support import IO_TIMEOUT, PROGRAM, ROOT
from parts import bench_load  # where support finds the scripts
from parts.clients import NO_PORT
from parts.words import one_line

NONE = "\uc5c6\ub294"  # Korean for "that is not there"
SCRIPTS = {  # a script: its arguments, its message
    "scripts/echo_client.py": (
        ["9190", "--file", f"{NONE}.txt"],
        f"echo_client: cannot open '{NONE}.txt': No such file or directory"),
    "scripts/launch.py": (
        [f"{NONE}.exe", "0"],
        f"launch.py: '{NONE}.exe' is not there: build it first (make)"),
    "scripts/demo.py": (
        ["cycle", "--server", f"{NONE}.exe"],
        f"demo.py: '{NONE}.exe' is not there: build it first (make)"),
    "scripts/live.py": (
        ["--server", f"{NONE}.exe"],
        f"live.py: '{NONE}.exe' is not there: build it first (make)"),
    "scripts/trace_view.py": (
        [f"{NONE}.json"],
        f"trace_view.py: {NONE}.json: No such file or directory"),
    "scripts/bench.py": (
        ["--quick", "--server", f"{NONE}.exe"],
        f"bench.py: {NONE}.exe is not there: build it first (make)"),
}


def run(name, arguments, encoding):
    done = subprocess.run(
        [sys.executable, str(ROOT / name), *map(str, arguments)],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=IO_TIMEOUT,
        env={**os.environ, "PYTHONIOENCODING": encoding})
    return (done.returncode, done.stdout.decode(encoding),
            done.stderr.decode(encoding))


@pytest.mark.parametrize("encoding", ["utf-8", "cp949"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_terminal_that_shows_it(name, encoding):
    arguments, said = SCRIPTS[name]
    status, _, err = run(name, arguments, encoding)
    assert (status, err.splitlines()) == (1, [said])


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_terminal_that_does_not(name, encoding):
    arguments, said = SCRIPTS[name]
    status, _, err = run(name, arguments, encoding)
    assert status == 1
    assert err.splitlines() == [said.replace(NONE, "\\uc5c6\\ub294")]


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_is_no_letter(name):
    """A name in a message can't change the terminal or begin a new line."""
    arguments, said = SCRIPTS[name]
    odd = "a\x1b[2J\r\n\x9b\u202e\u2028b"
    _, _, err = run(name, [x.replace(NONE, odd) for x in arguments], "utf-8")
    assert err.endswith(("\n", "\r\n")) and len(err.splitlines()) == 1
    assert not re.search("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u202e\u2028]",
                         err)


@pytest.mark.parametrize("name, arguments", [
    ("scripts/echo_client.py", ["9190"]), ("scripts/demo.py", []),
    ("scripts/demo.py", ["cycle"]), ("scripts/trace_view.py", ["a"]),
    ("scripts/bench.py", []), ("scripts/parts/analyze.py", []),
    ("tests/soak.py", ["--parts"])], ids=str)
def test_a_wrong_command_line_does_nothing_either(name, arguments):
    odd = f"{NONE}\x1b[2J\n\u202eb"
    status, out, err = run(name, [*arguments, odd], "utf-8")
    assert (status, out) == (2, "")
    assert NONE in err and "\x1b" not in err and "\u202e" not in err


@pytest.mark.parametrize("encoding, shown", [
    ("utf-8", NONE), ("ascii", "\\uc5c6\\ub294")])
def test_what_is_printed_as_it_should_be(tmp_path, encoding, shown):
    """The same holds for standard output."""
    status, out, err = run("scripts/demo.py", [
        "halfclose", "--server", PROGRAM, "-o", tmp_path / NONE], encoding)
    assert (status, err) == (0, "")
    assert out.rstrip().endswith(os.path.join(shown, "halfclose.html"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full disk")
@pytest.mark.parametrize("option", ["-o", "--svg"])
def test_a_file_that_cannot_be_written_is_named(tmp_path, option):
    trace = tmp_path / "trace.json"
    trace.write_text('[{"ph": "M", "name": "trace_info", "args": '
                     '{"workers": 1}}]', encoding="ascii")
    assert run("scripts/trace_view.py", [trace, option, "/dev/full"],
               "utf-8") == (
        1, "", "trace_view.py: /dev/full: No space left on device\n")


def test_one_line():
    assert one_line(f"a\n {NONE}\t\x1b\x7f\x85b\udcff") == (
        f"a {NONE} \\x1b\\x7f b\\udcff")
    assert one_line(OSError("\uc9c0\uc815\ub41c")) == "\uc9c0\uc815\ub41c"


# --------------------------- out of local ports -----------------------------

# The system has only a few ports.
FEW_PORTS = """
import runpy, socket, sys
ports, code = map(int, sys.argv[1:3])
del sys.argv[:3]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
class Socket(socket.socket):
    def connect(self, address):
        global ports
        ports -= 1
        if ports < 0:
            raise OSError(code, "Cannot assign requested address")
        super().connect(address)
socket.socket = Socket
runpy.run_path(sys.argv[0], run_name="__main__")
"""
ADVICE = ("no local port is free: use fewer connections, or wait some minutes "
          r"until those of closed ones are free \(TIME_WAIT\)")


@pytest.mark.parametrize("code", sorted(NO_PORT))
@pytest.mark.parametrize("ports, said", [
    (5, rf"connection \d+: cannot connect: {ADVICE}( \(\d+ of 100 .*\))?"),
    (0, rf"cannot connect to 127.0.0.1:\d+: {ADVICE}; or no address of this "
        "machine reaches 127.0.0.1")], ids=["some", "none"])
def test_no_port_for_a_load(server, ports, said, code):
    done = subprocess.run(
        [sys.executable, "-c", FEW_PORTS, str(ports), str(code),
         str(ROOT / "scripts" / "echo_client.py"), str(server.port), "--load"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=IO_TIMEOUT)
    assert (done.returncode, done.stdout) == (1, b"")
    assert re.fullmatch(f"echo_client: {said}\n", done.stderr.decode())


def test_no_port_for_the_benchmark(monkeypatch):
    class Socket(socket.socket):
        def connect(self, address):
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign")
    monkeypatch.setattr(socket, "socket", Socket)
    answer = bench_load.answer(
        bench_load.Client(), '["connect", {"hosts": ["127.0.0.1"], "port": 9, '
        '"count": 3, "first": 0}]')
    assert answer["connections"] == 0
    assert re.fullmatch(ADVICE + r" \(the load\)", answer["unreached"])
