"""A short soak passes, and the soak finds each kind of mistake."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import pytest

import soak
from soak_clients import MIXED
from support import (CHECKED, IO_TIMEOUT, PROGRAM, ROOT, STOP_SIGNAL, TEXT,
                     WINDOWS, build, start_process, wait_until)

SOAK = ROOT / "tests" / "soak.py"

checked = pytest.mark.skipif(
    not CHECKED.exists(),
    reason="GNU make builds the checked server: make checked")
gcc = pytest.mark.skipif(WINDOWS and shutil.which("gcc") is None,
                         reason="builds a server of its own, with gcc")


def run_soak(*arguments, server=PROGRAM, script=(SOAK,), **env):
    return subprocess.run(
        [sys.executable, *map(str, script), *map(str, arguments)],
        env={**os.environ, "SERVER": str(server), **env}, timeout=100, **TEXT,
        stdin=subprocess.DEVNULL, capture_output=True)


def mixed(seconds, server=PROGRAM, **env):
    return run_soak("--parts", "mixed", "--seconds", seconds, "--",
                    "--drain-timeout", 1, server=server, **env)


def verdict(result, status):
    """Checks the status and returns the last line."""
    assert "Traceback" not in result.stderr, result
    assert result.returncode == status, result
    assert result.stdout.isascii()
    return result.stdout.splitlines()[-1]


# --------------------------------- it holds ---------------------------------


@pytest.mark.thorough
@checked
@gcc
def test_a_short_soak():
    result = run_soak("--seconds", 8, "--cycles", 501, "--gigabytes", 0.03,
                      "--stops", 3, "--lines", 3000, "--starts", 30,
                      "--lives", 300, "--seed", 7,
                      # Without the largest buffer, as on the terminal below.
                      "--", "--buffer", 65536)
    # A few seconds are too short to judge by what rises; a long soak does.
    rise = r"mixed: \w+ rose by [^;]+ in the second half, more than [\d,]+"
    assert re.fullmatch(f"soak: (passed|FAILED: {rise}(; {rise})*)",
                        verdict(result, result.returncode))
    assert result.stdout.startswith("soak: seed 7, ")
    rows = dict(re.findall(r"^  ([a-z ]+?) +\d+ +([\d,]+)  ", result.stdout,
                           re.MULTILINE))
    for kind in MIXED:
        assert int(rows[kind.__name__.replace("_", " ")].replace(",", "")) > 0
    for pattern in (
            r"stopped after .* status 0: connections=\d{3,} .* live=0\n",
            "connections=501 received=2505 sent=2505 failed=0 live=0\n",
            "connections=1 received=30000000 sent=30000000 failed=0 live=0\n",
            r"stops: 3 under load, each with status 0\n",
            r"in one process +\d+ +\d+ +[\d,]{4,}\n",
            r"one process each +\d+ +\d+ +\d\d\n",
            r"lives: 300, each as it should be\n"):
        assert re.search(pattern, result.stdout), pattern
    for measure in ("memory KB", "handles", "threads"):
        assert len(re.findall(f"^  {measure} ", result.stdout,
                              re.MULTILINE)) == 3
    for part in soak.PARTS:
        assert f"soak: {part} " in result.stderr
    assert all(line.startswith("soak: ")
               for line in result.stderr.splitlines())


def test_options_go_to_the_server():
    result = run_soak("--parts", "cycles", "--cycles", 20, "--", "--workers",
                      "9")
    assert verdict(result, 0) == "soak: passed"
    threads = re.search(r"^  threads +(\d+)", result.stdout, re.MULTILINE)
    assert int(threads[1]) >= 10


@pytest.mark.skipif(WINDOWS, reason="no pseudo-terminals")
def test_progress_on_a_terminal():
    import pty
    master, terminal = pty.openpty()
    process = start_process(
        [sys.executable, str(SOAK),
         "--parts", "volume", "--gigabytes", "0.02"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=terminal,
        **TEXT)
    os.close(terminal)
    drawn = b""
    try:
        while b"passed" not in drawn:
            drawn += os.read(master, 4096)
    except OSError:
        pass  # EIO: it has ended
    os.close(master)
    out, _ = process.communicate(timeout=IO_TIMEOUT)
    assert process.returncode == 0, out
    assert re.search(rb"\rsoak: volume \d+ of 20 MB, .*threads", drawn)
    assert b"\n" not in drawn and drawn.endswith(b" \r")


# ------------------------------ it does not hold ----------------------------


def change(directory, source, *changes):
    """Builds a server with changes in one source. Returns the program."""
    sources = shutil.copytree(ROOT / "src", directory / "src")
    text = (sources / source).read_text(encoding="ascii")
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (sources / source).write_text(text, encoding="ascii")
    return build(directory, "changed.exe", sources=sources)


@pytest.mark.thorough
@gcc
def test_a_leak_is_noticed(tmp_path):
    """The server keeps the memory and the socket of every connection."""
    server = change(
        tmp_path, "connection.c",
        ("    buffer_return(&handleInfo->server->buffers, "
         "&handleInfo->buffer);\n    free(handleInfo);\n", ""),
        ("    log_unless(closesocket(handleInfo->hClntSock) == 0, "
         '"closesocket");\n',
         "    shutdown(handleInfo->hClntSock, SD_BOTH);\n"))
    assert re.match(r"soak: FAILED: cycles: memory rose by [\d,]+ KB in the "
                    r"second half, more than 1,024; handles rose by [\d,]+ "
                    "handles in the second half, more than 64$",
                    verdict(run_soak("--parts", "cycles", "--cycles", 6000,
                                     server=server), 1))


@pytest.mark.thorough
@gcc
def test_a_wrong_byte_is_noticed(tmp_path):
    """One bit is wrong in the last byte of a READ, and only after a while."""
    server = change(tmp_path, "worker.c", (
        "    handleInfo->received += bytes;\n",
        "    handleInfo->received += bytes;\n"
        "    if (handleInfo->received > 1000000 && bytes > 0)\n"
        "        handleInfo->buffer.data[bytes - 1] ^= 1;\n"))
    assert re.match(r"soak: FAILED: mixed: \w+: a wrong byte among \d+ after "
                    r"\d+ right ones \(\d+ were sent\)$",
                    verdict(mixed(30, server), 1))


@checked
@pytest.mark.parametrize("faults, seconds, said", [
    # Two of three clients are closed before anything comes back.
    ("WSASend:/100:10055", 60, r"\w+: .*(onnection|roken pipe)"),
    # A worker fails: the server ends by itself, with status 1.
    ("GetQueuedCompletionStatus:500:6", 60,
     r"(the server ended, status 1|\w+: )"),
    # The server reports an error after the clients are done.
    ("CloseHandle:/1:6", 1, "the server ended with status 0: .*CloseHandle"),
])
def test_a_failure_is_noticed(faults, seconds, said):
    """The soak notices it at once, or at the end."""
    line = verdict(mixed(seconds, CHECKED, FAULTS=faults), 1)
    assert re.match(f"soak: FAILED: mixed: {said}", line), line


@pytest.mark.thorough
@checked
def test_other_parts_go_on_after_a_failure():
    result = run_soak("--parts", "cycles,stops", "--cycles", 200, "--stops", 1,
                      server=CHECKED, FAULTS="WSASend:/20:10055")
    line = verdict(result, 1)
    assert re.match("soak: FAILED: cycles: .*; stops: number 1[: ]", line)


def samples(values, every=1):
    """Makes samples of these values, one every `every` seconds."""
    made = soak.Samples(0)
    for name in made.rows:
        made.rows[name] = [(every * i, x) for i, x in enumerate(values)]
    return made


def test_what_is_flat():
    noise = [10 * (i * 7919 % 13) for i in range(100)]
    warm = [i * 100 if i < 45 else 4500 for i in range(100)]
    for values in ([5] * 100, noise, warm, [100 - i for i in range(100)], [3],
                   [3, 3]):
        assert samples(values).judge()[1] == [], values
    # 2 threads, 64 handles, 1024 KB in the second half, and a little more.
    for rise, wrong in ((2.2, 1), (64.2, 2), (1025, 3)):
        values = [i / 50 * rise for i in range(101)]
        assert len(samples(values).judge()[1]) == wrong
        assert samples(values, 0.009).judge()[1] == []  # it warms up


def test_slope():
    assert soak.slope([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2)
    assert soak.slope([(0, 1), (1, 4), (2, 1)]) == pytest.approx(0)
    assert soak.slope([(5, 1)]) == 0


# ------------------------------- and its ways -------------------------------


@pytest.mark.skipif(WINDOWS, reason="test_nmake.py has it there")
def test_make_soak():
    done = subprocess.run(
        ["make", "-n", "soak", "SECONDS=5", "PARTS=mixed cycles", "SEED=3",
         "ARGS=-w 4"], cwd=ROOT, stdout=subprocess.PIPE, timeout=60, **TEXT)
    assert done.returncode == 0
    assert re.search(r"\S+ tests/soak\.py --seconds \"5\" --seed \"3\" "
                     r"\\\n\s+--parts \"mixed cycles\" -- -w 4\n", done.stdout)


@pytest.mark.parametrize("arguments", [
    ["--seconds", "0"], ["--seconds", "nan"], ["--stops", "1.5"],
    ["--parts", "mixed,all"], ["--second", "5"], ["--bogus"], ["--seed"]],
    ids=" ".join)
def test_wrong_command_line(arguments):
    result = run_soak(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert "usage:" in result.stderr and "Traceback" not in result.stderr


def test_no_server(tmp_path):
    line = verdict(run_soak(server=tmp_path / "none.exe"), 1)
    assert "none.exe' is not there" in line


def runs(program):
    """Whether this executable is running. Windows refuses to delete it then;
    elsewhere its name is in Wine's command line."""
    if WINDOWS:
        try:
            program.unlink()
        except PermissionError:
            return True
        return False
    for line in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # the process has just ended
            if os.fsencode(program) in line.read_bytes():
                return True
    return False


def test_ctrl_c_ends_all(tmp_path):
    program = shutil.copy2(PROGRAM, tmp_path / "soaked.exe")
    process = start_process(
        [sys.executable, str(SOAK), "--parts", "mixed"],
        env={**os.environ, "SERVER": str(program)}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **TEXT,
        # Whoever started pytest may have had Ctrl+C ignored.
        **({} if WINDOWS else {"preexec_fn": lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL)}))
    assert process.stderr.readline().startswith("soak: mixed ")
    assert runs(program)
    process.send_signal(STOP_SIGNAL)
    out, err = process.communicate(timeout=IO_TIMEOUT)
    assert process.returncode == 130
    # On a slow machine another line of progress may come before the last.
    *progress, last = err.splitlines()
    assert last == "soak: interrupted"
    assert all(line.startswith("soak: mixed ") for line in progress), err
    assert "passed" not in out
    assert wait_until(lambda: not runs(program))
