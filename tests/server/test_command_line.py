"""The command line: what is accepted, and one clear line for the rest."""

import re

import pytest

from support import BUF_SIZE, echo, run_server
from test_listening import one_line

WRONG = {
    "no port": ([], "no port given"),
    "not a number": (["abc"], "'abc'"),
    "empty": ([""], "''"),
    "negative": (["-1"], "'-1'"),
    "too large": (["70000"], "'70000'"),
    "just too large": (["65536"], "'65536'"),
    "overflowing": (["18446744073709551617"], "'18446744073709551617'"),
    "trailing letter": (["9190x"], "'9190x'"),
    "leading space": ([" 9190"], "' 9190'"),
    "plus sign": (["+9190"], "'+9190'"),
    "hexadecimal": (["0x23"], "'0x23'"),
    "fraction": (["9190.5"], "'9190.5'"),
    "a dash": (["-"], "'-'"),
    "two ports": (["9190", "9191"], "'9191'"),
    "unknown option": (["9190", "--fast"], "'--fast'"),
    "unknown letter": (["9190", "-x"], "'-x'"),
    "abbreviated": (["9190", "--worker", "2"], "'--worker'"),
    "two dashes alone": (["9190", "--"], "'--'"),
    "value missing": (
        ["9190", "--workers"], "--workers: its value is missing"),
    "value missing, letter": (["9190", "-w"], "-w: its value is missing"),
    "value not wanted": (["9190", "--verbose=yes"], "takes no value"),
    "letters joined": (["9190", "-vq"], "takes no value"),
    "value empty": (["9190", "--workers="], "value is missing"),
    "an option as value": (["9190", "--workers", "--verbose"],
                           "'--verbose'"),
    "no workers": (["9190", "--workers", "0"], "from 1 to 1024"),
    "too many workers": (["9190", "-w", "1025"], "from 1 to 1024"),
    "negative workers": (["9190", "--workers", "-4"], "'-4'"),
    "concurrency": (["9190", "--concurrency", "many"], "'many'"),
    "max-connections": (["9190", "--max-connections", "1000001"], "1000000"),
    "idle-timeout": (["9190", "--idle-timeout", "1.5"], "'1.5'"),
    "drain-timeout": (["9190", "--drain-timeout", "86401"], "86400"),
    "work": (["9190", "--work", "5ms"], "'5ms'"),
    "work without a time": (["9190", "--work", ":spin"], "':spin'"),
    "work of no kind": (["9190", "--work", "5:"], "'5:'"),
    "work of another kind": (["9190", "--work", "5:spinning"], ":spin"),
    "too much work": (["9190", "--work", "60001"], "from 0 to 60000"),
    "negative work": (["9190", "--work=-1"], "--work: '-1'"),
    "post": (["9190", "--post", "1001"], "--post: '1001' is not a number from "
                                         "0 to 1000"),
    "post nothing": (["9190", "--post="], "value is missing"),
    "trace nowhere": (["9190", "--trace="], "value is missing"),
    "trace, no value": (["9190", "--trace"], "--trace: its value is missing"),
    "bind to a name": (["9190", "--bind", "localhost"], "'localhost'"),
    "bind to nothing": (["9190", "--bind", ""], "value is missing"),
    "bind out of range": (["9190", "--bind", "300.1.1.1"], "'300.1.1.1'"),
    "bind to half": (["9190", "--bind", "::1::2"], "'::1::2'"),
    "bind to a group": (["9190", "--bind", "224.0.0.1"],
                        "'224.0.0.1' is a multicast or broadcast address; a "
                        "server can't listen on it"),
    "bind to the last group": (["9190", "-b", "239.255.255.255"],
                               "'239.255.255.255' is a multicast or"),
    "bind to a group of IPv6": (["9190", "--bind", "ff02::1"],
                                "'ff02::1' is a multicast or"),
    "bind to all hosts": (["9190", "--bind=255.255.255.255"],
                          "'255.255.255.255' is a multicast or "
                          "broadcast address; a server can't listen on it"),
    "not ASCII": (["9190", "--bind", "\u9999\u6e2f"], "not an IPv4 or IPv6"),
    "a newline": (["91\n90"], "'91?90'"),
    "very long": (["9" * 5000], "port"),
    "nothing typed in full": (["-v"], "no port given"),
}


@pytest.mark.parametrize("arguments, said", WRONG.values(), ids=WRONG.keys())
def test_wrong(arguments, said):
    line = one_line(run_server(*arguments), 2)
    assert said in line
    assert re.fullmatch(r"[ -~]+", line)


def test_a_line_names_option_value_and_range():
    line = one_line(run_server("9190", "--workers", "0"), 2)
    assert line == ("iocp_echo_server: --workers: '0' is not a number from "
                    "1 to 1024")


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help(option):
    result = run_server(option)
    assert result.returncode == 0 and result.stderr == ""
    for each in ("bind", "workers", "concurrency", "max-connections",
                 "idle-timeout", "drain-timeout", "work", "post", "trace",
                 "verbose", "quiet", "help", "version"):
        assert f"--{each}" in result.stdout
    assert "(5)" in result.stdout  # the usage text shows the defaults
    assert all(len(line) < 80 for line in result.stdout.splitlines())
    assert result.stdout.isascii()


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(option):
    result = run_server(option)
    assert result.returncode == 0 and result.stderr == ""
    assert re.fullmatch(r"iocp_echo_server \d+\.\d+\.\d+\n", result.stdout)


@pytest.mark.parametrize("arguments", [
    ["--workers", "3", "--concurrency", "2"],
    ["--workers=3", "--concurrency=2"],
    ["-w", "3", "-c", "2"],
    ["-w3", "-c2"],
    ["--workers=9", "-c2", "-w", "003"],  # the last one counts
], ids=" ".join)
def test_ways_to_write_an_option(start_server, arguments):
    server = start_server(*arguments)
    assert server.ready["workers"] == "3"
    assert server.ready["concurrency"] == "2"
    server.check_serves()
    server.stop()


def test_every_option_at_once(start_server):
    server = start_server(
        "--bind=127.0.0.1", "--workers=2", "--concurrency=1", "--verbose",
        "--max-connections=10", "--idle-timeout=60", "--drain-timeout=1")
    with server.connect() as client:
        assert echo(client, b"x" * BUF_SIZE) == b"x" * BUF_SIZE
    server.stop()


def test_options_before_the_port():
    # --version ends the program once it has read the port.
    assert run_server("-v", "9190", "--version").returncode == 0
