"""Random command lines, right and wrong, and a check of each outcome."""

import collections
import concurrent.futures
import os
import random
import re
import struct
import subprocess

from support import (IO_TIMEOUT, PROGRAM, ROOT, Server, build, launch,
                     run_server, start_process)

RUN, DONE, WRONG = -1, 0, 2  # OPTIONS_RESULT of src/options.h

SOURCES = ROOT / "tests" / "command_lines"
LONGEST = 60_000  # bytes of one argument, in one process
PROCESSES = 4     # at once, because a start mostly waits

RIGHT = re.compile(r"iocp_echo_server: [ -~]+\n")

Outcome = collections.namedtuple("Outcome", "result port out err")


# ------------------------------- making them --------------------------------

NUMBERS = ["0", "1", "2", "5", "007", "64", "1024", "1025", "4096", "9190",
           "65535", "65536", "86400", "86401", "1000000", "1000001",
           "2147483647", "2147483648", "4294967295", "4294967296",
           "4294967297", "18446744073709551616", "9" * 40, "0" * 300 + "7",
           "-1", "-0", "+1", "1.5", "1e3", "0x10", "1,000", " 1", "1 ", "1k",
           "NaN", "\u0661", "\uff11"]
ADDRESSES = ["127.0.0.1", "0.0.0.0", "::1", "::", "::ffff:1.2.3.4", "fe80::1",
             "300.1.1.1", "1.2.3", "1.2.3.4.5", "::1::", "[::1]", "localhost",
             "%", "::1%1", "::1%" + "x" * 200, "1.2.3.4:80", "*", "?"]
TEXTS = ["", " ", "-", "--", "---", "=", "--=", "-=", "--=x", "%s%n%d",
         "%99999d", "a\nb", "\r", "\t", "\x1b[2J", "\x7f", "\x01",
         '"', '\\"', "\\", "'",
         "\u00e9", "\u9999\u6e2f", "\U0001f600", "0:spin", "5:sleep", "5:",
         ":spin", "60001:spin", "1:Spin", "/?", "/help", "@file", "NUL"]
BROKEN = [b"\xff", b"\xc3", b"\xed\xa0\x80", bytes(range(128, 256)),
          b"\x80" * 9]


def options_of(help_text):
    """Reads [(ways to write it, whether it takes a value)] from --help."""
    found = []
    for letter, name, value in re.findall(
            r"^  (?:-(\w)|  ) --([\w-]+)( \S+)?", help_text, re.MULTILINE):
        found.append((["--" + name] + (["-" + letter] if letter else []),
                      bool(value)))
    assert len(found) >= 13, help_text
    return found


class Maker:
    """Makes command lines, as lists of bytes; the same from the same seed."""

    def __init__(self, seed, options, longest=LONGEST):
        self.dice = random.Random(f"command lines {seed}")
        self.options, self.longest = options, longest

    def noise(self):
        """Returns any bytes but NUL, which no argument can contain."""
        size = self.dice.choice([1, 2, 3, 8, 31, 32, 33, 255, 256, 257])
        return bytes(self.dice.randrange(1, 256) for _ in range(size))

    def long(self):
        size = self.dice.choice([1023, 1024, 4000, 4095, 4096, 4097, 5000,
                                 LONGEST])
        return self.dice.choice([b"9", b"a", b"-", b"\xff", b"%s", b"="]
                                ) * min(size, self.longest)

    def value(self):
        way = self.dice.random()
        if way < 0.45:
            text = self.dice.choice(NUMBERS)
        elif way < 0.6:
            text = self.dice.choice(ADDRESSES)
        elif way < 0.75:
            text = self.dice.choice(TEXTS)
        elif way < 0.8:
            return self.dice.choice(BROKEN)
        elif way < 0.83:
            return self.long()[:self.longest]
        elif way < 0.9:
            return self.noise()
        else:
            text = str(self.dice.randrange(1 << self.dice.randrange(1, 70)))
        return text.encode()

    def option(self):
        """Returns an option, right or wrong, as one or two arguments."""
        ways, takes = self.dice.choice(self.options)
        name, value = self.dice.choice(ways).encode(), self.value()
        way = self.dice.random()
        if way < 0.1:
            name = self.damaged(name)
        if not takes and way < 0.9:
            return [name]
        if way < 0.5:
            return [name, value]
        if way < 0.9:
            return [name + (b"=" if name.startswith(b"--") else b"") + value]
        return [name]

    def damaged(self, name):
        """Drops, adds or changes a letter."""
        at = self.dice.randrange(len(name))
        return name[:at] + self.dice.choice([b"", b"-", b"\xc3", b"Z"]) + (
            name[at + self.dice.randrange(2):])

    def line(self):
        arguments = []
        if self.dice.random() < 0.8:
            arguments.append(str(self.dice.randrange(65536)).encode())
        for _ in range(self.dice.choice([0, 1, 1, 1, 2, 2, 3, 5, 8, 30])):
            arguments += (self.option() if self.dice.random() < 0.9
                          else [self.value()])
        if self.dice.random() < 0.3:
            self.dice.shuffle(arguments)
        while sum(map(len, arguments)) > self.longest:
            arguments.pop()
        return arguments[:60]

    def lines(self, count):
        return [self.line() for _ in range(count)]


def shown(line):
    """Shortens a command line for a message."""
    text = repr([each[:40] for each in line])
    return text if len(text) < 400 else text[:400] + "..."


# ------------------------------- in one process -----------------------------

def build_driver(directory):
    """Builds the program that takes many command lines. Undefined behaviour
    ends it, such as a read past the end of an argument."""
    return build(directory, "driver.exe", "-fsanitize=undefined",
                 "-fsanitize-undefined-trap-on-error", sources=SOURCES,
                 extra=[ROOT / "src" / "options.c", ROOT / "src" / "log.c"])


def run_driver(driver, lines, timeout=60):
    """Returns the outcome of each, in order. Raises AssertionError if some are
    missing."""
    data = b"".join(
        struct.pack("<H", len(line)) + b"".join(
            struct.pack("<H", len(each)) + each for each in line)
        for line in lines)
    process = start_process(
        launch.command(driver), env=launch.environment(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(data, timeout=timeout)
    outs, errs = map(parts, (out, err))
    done = min(len(outs), len(errs))
    assert done == len(lines) and process.returncode == 0, (
        f"status {process.returncode} after {done} of {len(lines)}, at "
        f"{shown(lines[done] if done < len(lines) else [])}: {err[-200:]}")
    outcomes = []
    for (text, result, port), (error, *same) in zip(outs, errs):
        assert same == [result, port]
        outcomes.append(Outcome(result, port, text, error))
    return outcomes


def parts(output):
    """Splits the output: what each command line printed, its result, its
    port."""
    return [(text.decode("utf-8", "backslashreplace"), int(result), int(port))
            for text, result, port in re.findall(
                rb"([^\x01]*)\x01done (-?\d+) (\d+)\r?\n", output)]


def check(line, outcome):
    """Raises AssertionError with the command line if the outcome is wrong."""
    result, port, out, err = outcome
    if result == RUN:
        good = out == err == "" and any(
            re.fullmatch(rb"0*%d" % port, each) for each in line)
    elif result == DONE:
        good = err == "" and out.isascii() and any(
            each in line for each in (b"--help", b"-h", b"--version", b"-V"))
        good = good and out.startswith(("usage: ", "iocp_echo_server "))
    else:
        good = out == "" and RIGHT.fullmatch(err)
    assert good, f"{shown(line)}: {outcome}"


# -------------------------- through the executable --------------------------

def run_real(line, outcome, program):
    """Runs the server with this command line. It must end as `outcome`
    says."""
    if outcome.result == RUN:
        rest = [each for each in line if each != b"%d" % outcome.port]
        Server(*map(os.fsdecode, rest), program=program).stop()
        return
    done = run_server(*map(os.fsdecode, line), program=program,
                      timeout=IO_TIMEOUT)
    assert done.returncode == outcome.result, f"{shown(line)}: {done}"
    check(line, Outcome(outcome.result, 0, done.stdout, done.stderr))
    # Other letters arrive in the system's code page, if it has them.
    if all(each.isascii() for each in line):
        assert (done.stdout, done.stderr) == (outcome.out, outcome.err), (
            f"{shown(line)}: {done} {outcome}")


def can_be_run(line, outcome):
    """Whether a command line may run here. One that starts the server must
    let it take any port and print its ready line, and write no file."""
    return outcome.result != RUN or (
        line.count(b"%d" % outcome.port) == 1
        and not any(each.startswith((b"-q", b"--quiet", b"-b", b"--bind",
                                     b"--trace")) for each in line))


def run_all_real(lines, outcomes, program=PROGRAM, told=lambda count: None):
    """Runs all that may run, some at once. Returns the count of each
    result."""
    chosen = [pair for pair in zip(lines, outcomes) if can_be_run(*pair)]
    with concurrent.futures.ThreadPoolExecutor(PROCESSES) as pool:
        futures = [pool.submit(run_real, *pair, program) for pair in chosen]
        try:
            for count, future in enumerate(futures):
                future.result()
                told(count + 1)
        finally:
            for future in futures:
                future.cancel()
    return count_results(outcome for _, outcome in chosen)


def count_results(outcomes):
    """Counts those that run, those that print something, and wrong ones."""
    counts = collections.Counter(each.result for each in outcomes)
    return [counts[result] for result in (RUN, DONE, WRONG)]


def options_here(program=PROGRAM):
    return options_of(run_server("--help", program=program).stdout)
