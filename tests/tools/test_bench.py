"""The benchmark: it measures what it says, notices a bad server, and ends all
that it starts. No test asks how fast anything is."""

import io
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
import xml.etree.ElementTree

import pytest

import browser
import support
from parts import bench_load, bench_report, costs, program
from support import (IO_TIMEOUT, PROGRAM, ROOT, TEXT, WINDOWS, load_script,
                     start_process, wait_until)

BENCH = ROOT / "scripts" / "bench.py"
TIMEOUT = 100  # seconds

# A small echo server. `body` changes what it replies, so that it echoes
# wrongly.
ECHO = """
import os, socketserver, sys
count = 0
def reply(data):
    global count
    count += 1
    {body}
    return data
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            while True:
                data = reply(self.request.recv(65536))
                if not data:
                    break
                self.request.sendall(data)
        except OSError:
            pass
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128
with Server(("127.0.0.1", int(sys.argv[1])), Handler) as server:
    server.serve_forever()
"""

bench = load_script("bench")


def start_bench(*arguments, mark="", **options):
    return start_process(
        [sys.executable, str(BENCH), *map(str, arguments)],
        env={**os.environ, "BENCH_TEST": mark}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **TEXT, **options)


def run_bench(*arguments, mark="", **options):
    process = start_bench(*arguments, mark=mark, **options)
    out, err = process.communicate(timeout=TIMEOUT)
    assert "Traceback" not in out + err
    return subprocess.CompletedProcess(arguments, process.returncode, out,
                                       err)


def marked(mark):
    """Returns the processes that inherited the mark, whatever their parent is
    now."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if f"BENCH_TEST={mark}".encode() in (
                    path / "environ").read_bytes().split(b"\0"):
                found.append((path / "cmdline").read_bytes())
        except OSError:
            pass
    return found


@pytest.fixture
def mark():
    """A mark for processes; those that have it must end with the test."""
    value = uuid.uuid4().hex
    yield value
    assert WINDOWS or marked(value) == []


@pytest.fixture
def other(tmp_path):
    """other(body): NAME=COMMAND of an echo server that `body` changes."""
    def make(body="pass"):
        script = tmp_path / "other.py"
        script.write_text(ECHO.format(body=body), encoding="ascii")
        return f'other="{sys.executable}" "{script}" {{port}}'
    return make


def directory_of(tmp_path, *steps):
    """A directory with these steps in it, with a program that is none, and
    with one whose source is gone."""
    directory = tmp_path / "some steps"
    directory.mkdir()
    for name in (*steps, "stable_echo_client"):
        program = shutil.copy(support.STEPS / f"{name}.exe", directory)
    shutil.copy(program, directory / f"{steps[0]}_before.exe")
    return directory


@pytest.fixture
def step_alone(tmp_path):
    """A directory with one step in it."""
    return directory_of(tmp_path, "step4_iocp")


# ------------------------------ a run that works ----------------------------

WORKLOADS = ["ping-1", "ping-64", "stream", "churn", "idle", "costs"]
SERVERS = ["plain", "step4", "other", "native"]
COSTS = [["", "plain", "zero-byte"],
         ["GetQueuedCompletionStatus", "2", "3"], ["WSARecv", "1", "2"],
         ["WSASend", "1", "1"], ["all calls", "4", "6"]]


def check_row(workload, row):
    assert row["low"] <= row["median"] <= row["high"]
    assert len(row["samples"]) == 1
    assert row["ratio"] is None or row["ratio"] >= 0
    taken = row["samples"][0]
    assert taken["value"] == row["median"] and taken["round"] == 0
    if workload["name"] == "idle":
        assert taken["count"] == 40
        return
    assert taken["count"] > 0 and row["median"] > 0
    assert taken["value"] == pytest.approx(taken["count"] / 0.2)
    assert row["server_cpu_us"] >= 0 and row["load_cpu_us"] > 0
    if workload["name"] == "stream":
        assert row["p50_us"] is None
    else:
        assert 0 < row["p50_us"] <= row["p99_us"]
    if not WINDOWS:
        under_wine = row["kind"] in ("mode", "step")
        assert (row["wineserver_cpu_us"] is not None) == under_wine


def check_page(page):
    """Checks that a page loads nothing else and that its pictures are
    complete."""
    assert not re.search(r"https?:|src=|href=|<script|url\(|@import", page)
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    for picture in pictures:
        xml.etree.ElementTree.fromstring(picture)
    assert page.startswith("<!DOCTYPE html>") and "</html>" in page
    assert "NaN" not in page and "None" not in page
    return pictures


@pytest.mark.thorough
@pytest.mark.alone  # it measures
def test_quick(tmp_path, other, step_alone, mark):
    result = run_bench(
        "--quick", "--idle", 40, "--server", PROGRAM, "--steps", step_alone,
        "--against", other(), "--workloads", ",".join(WORKLOADS),
        "--json", tmp_path / "b.json", "--html", tmp_path / "b.html",
        mark=mark)
    assert (result.returncode, result.stderr) == (0, "")
    data = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    assert (data["notes"], data["failures"]) == ([], [])
    assert [x["name"] for x in data["workloads"]] == WORKLOADS[:-1]
    for workload in data["workloads"]:
        assert [x["name"] for x in workload["servers"]] == SERVERS
        for row in workload["servers"]:
            check_row(workload, row)
        assert workload["servers"][0]["ratio"] in (
            [1, None] if workload["name"] == "idle" else [1])
    assert [x["name"] for x in data["servers"]] == SERVERS
    machine = data["machine"]
    assert machine["cores"] == os.cpu_count()
    assert machine["server"].startswith("iocp_echo_server ")
    assert (machine["wine"] is None) == WINDOWS
    assert machine["command"].startswith("bench.py --quick --idle 40 ")
    assert data["settings"]["repeat"] == 1
    # The same for people.
    assert result.stdout.isascii()
    for word in [*WORKLOADS, *SERVERS, *([] if WINDOWS else ["of Wine"])]:
        assert word in result.stdout
    page = (tmp_path / "b.html").read_text(encoding="utf-8")
    assert len(check_page(page)) == len(WORKLOADS[:-1]) + len(SERVERS)
    assert ("figures of Wine" in page) != WINDOWS
    for size in browser.SIZES if browser.BROWSER else []:
        browser.check_layout(tmp_path / "b.html", size)


def test_a_step_without_room(tmp_path, mark):
    """The table says so, and why; the other workloads are measured."""
    result = run_bench(
        "--quick", "--modes", "plain", "--server", PROGRAM, "--steps",
        directory_of(tmp_path, "step1_threads", "step2_events"),
        "--workloads", "ping-1,ping-64", "--json", tmp_path / "b.json",
        mark=mark)
    assert (result.returncode, result.stderr) == (0, "")
    data = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    one, many = data["workloads"]
    assert [x["name"] for x in one["servers"]] == [
        "plain", "step1", "step2", "native"]
    assert [x["name"] for x in many["servers"]] == [
        "plain", "step1", "native"]
    assert (one["unreached"], many["unreached"]) == ([], ["step2"])
    assert [line.split()[:3] for line in result.stdout.splitlines()
            if line.startswith("step2 ")][1] == ["step2", "can't", "-"]
    (note,) = data["notes"]
    assert note.startswith("step2, ping-64: it has no room for them: refused "
                           "events=64 ")
    if not WINDOWS:  # which adds threads of its own
        threads = {x["name"]: x["threads"] for x in many["servers"]}
        assert (threads["step1"], threads["native"]) == (65, None)


@pytest.mark.thorough
@pytest.mark.parametrize("signal_name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("after", [0.3, 1.5, 2.2])
def test_interrupted(mark, after, signal_name):
    """bench.py ends whatever runs at that moment. A second Ctrl+C changes
    nothing."""
    if WINDOWS and signal_name != "SIGINT":
        pytest.skip("there is no other way than Ctrl+Break")
    process = start_bench("--repeat", 50, "--modes", "plain", "--server",
                          PROGRAM, "--quick", mark=mark)
    if not WINDOWS:
        assert wait_until(lambda: len(marked(mark)) > 1)
    time.sleep(after)  # any moment will do
    number = (support.STOP_SIGNAL if signal_name == "SIGINT"
              else getattr(signal, signal_name))
    process.send_signal(number)
    if after > 2 and process.poll() is None:
        process.send_signal(number)
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert (out, err) == ("", "bench.py: interrupted\n")


@pytest.mark.skipif(bool(costs.why_no_instructions()),
                    reason=str(costs.why_no_instructions()))
def test_interrupted_while_it_counts(mark):
    costs.simulation().build("bare")  # that may take longer than it waits
    process = start_bench("--workloads", "costs", "--modes", "plain",
                          "--server", PROGRAM, mark=mark)
    assert wait_until(lambda: any(b"callgrind" in x for x in marked(mark)), 60)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, out, err) == (130, "", (
        "bench.py: interrupted\n"))


@pytest.mark.own_build
@pytest.mark.skipif(WINDOWS and not support.CHECKED.exists(),
                    reason="GNU make builds the checked server: make checked")
def test_what_an_echo_costs(tmp_path, mark):
    """The modes side by side, in all three forms, and no load for it."""
    result = run_bench(
        "--workloads", "costs", "--modes", "plain,zero-byte", "--no-steps",
        "--server", PROGRAM, "--json", tmp_path / "b.json", "--html",
        tmp_path / "b.html", mark=mark)
    assert (result.returncode, result.stderr) == (0, "")
    table = [re.split("  +", x) for x in result.stdout.splitlines()]
    assert [row for row in table if row in COSTS] == COSTS
    plain, other = table[table.index(COSTS[-1]) + 1][1:]
    page = (tmp_path / "b.html").read_text(encoding="utf-8")
    assert "GetQueuedCompletionStatus</td><td>2</td><td>3</td>" in page
    data = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    assert data["workloads"] == []
    calls = data["costs"]["plain"]["calls"]
    assert calls["WSASend"] == pytest.approx(1, abs=0.02)
    assert calls["free"] == pytest.approx(0, abs=0.2)
    why_not = costs.why_no_instructions()
    if why_not:
        assert data["notes"] == [f"instructions of one echo: {why_not}"]
        assert (plain, other) == ("-", "-")
    else:
        assert data["notes"] == []
        ours = data["costs"]["plain"]["instructions"]
        assert int(plain) == round(sum(ours.values())) < int(other)
        assert ours["echo.c echo_answer"] >= 1


def test_instructions_without_the_tools(monkeypatch):
    if not costs.simulation().why_not():
        monkeypatch.setattr(shutil, "which", {"gcc": "/gcc"}.get)
        assert costs.why_no_instructions() == "valgrind is missing"
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert costs.why_no_instructions() == costs.simulation().why_not()


def test_calls_that_can_not_be_counted(tmp_path, mark):
    result = run_bench(
        "--workloads", "costs", "--modes", "plain,batch", "--no-steps",
        "--server", PROGRAM, "--checked", tmp_path / "none.exe", mark=mark)
    assert (result.returncode, result.stderr) == (0, "")
    said = " ".join(result.stdout.split())
    assert said.count("not measured: calls of one echo: ") == 1
    assert "none.exe is not there: make checked" in said
    assert "WSASend" not in said


# --------------------------- servers that are none --------------------------

BAD = {
    "wrong byte": (
        "data = bytes([data[0] ^ 1]) + data[1:] if count > 99 else data",
        "ping-64", "a wrong byte came back: at offset 0 sent 0x.., received "
        "0x.."),
    "wrong byte in a stream": (
        "data = data[:-1] + b'?' if len(data) > 999 and count > 20 else data",
        "stream", "a wrong byte came back: .*"),
    "too much": ("data += b'!'", "churn", "more came back than was sent"),
    "dies": ("count > 99 and os._exit(3)", "ping-64",
             r".*; the server ended with status 3: no message"),
    "closes": ("data = b'' if count > 99 else data", "ping-1",
               "the server closed a connection"),
    "keeps some": ("data = data[1:] if len(data) > 999 and count > 9 else "
                   "data", "stream", "a wrong byte came back: .*"),
}


def assert_fails(result, pattern):
    """Checks that it printed one line that matches, with status 1."""
    assert result.returncode == 1, result
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and re.fullmatch(f"bench.py: {pattern}",
                                            lines[0]), result


@pytest.mark.thorough
@pytest.mark.parametrize("name", BAD)
def test_a_bad_server_is_noticed(tmp_path, other, mark, name):
    body, workload, says = BAD[name]
    result = run_bench("--quick", "--modes=", "--no-steps", "--repeat", 2,
                       "--against", other(body), "--workloads", workload,
                       "--json", tmp_path / "b.json", mark=mark)
    assert_fails(result, f"other, {workload}: {says}")
    # The others are still measured.
    data = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    (measured,) = data["workloads"]
    assert [x["name"] for x in measured["servers"]][-1] == "native"
    assert len(data["failures"]) == 1


@pytest.mark.parametrize("command, says", [
    ("no-such-program {port}", "could not be started: .*"),
    (f'"{sys.executable}" -c "print(3); exit(7)" {{port}}',
     "did not start: 3"),
    (f'"{PROGRAM}" 0 --no-such-option', "did not start: .*no-such-option.*")],
    ids=["none", "ends", "usage"])
def test_a_server_that_does_not_start(mark, command, says):
    result = run_bench("--quick", "--modes=", "--no-steps", "--against",
                       f"other={command}", "--workloads", "ping-1", mark=mark)
    assert_fails(result, f"other, ping-1: {says}")


@pytest.mark.thorough
@pytest.mark.skipif(WINDOWS, reason="no limit there")
def test_too_few_descriptors(tmp_path, mark):
    """It says how many connections there were and what stopped it, and still
    shows the other rows."""
    import resource
    result = run_bench(
        "--quick", "--modes=", "--no-steps", "--load-processes", 1,
        "--workloads", "ping-64,ping-500", "--json", tmp_path / "b.json",
        mark=mark, preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_NOFILE, (200, 200)))
    assert (result.returncode, result.stderr) == (0, "")
    data = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    assert [len(x["servers"]) for x in data["workloads"]] == [1, 0]
    assert re.fullmatch(r"native, ping-500: 1\d\d connections, then: no more "
                        r"of them within \d+ seconds; the server's last line: "
                        "accept: Too many open files", data["notes"][0])
    assert data["notes"][0] in " ".join(result.stdout.split())


# -------------------------------- command line ------------------------------

@pytest.mark.parametrize("arguments", [
    ["extra"], ["--no-such"], ["--modes", "plain,nope"], ["--mode", "x"],
    ["--against", "x"], ["--against", "a="], ["--against", "plain=x"],
    ["--workloads", "ping"], ["--repeat", "0"], ["--seconds", "nan"],
    ["--seconds", "1e9"], ["--idle", "-1"], ["--load-processes", "x"],
    ["--json"]], ids=" ".join)
def test_wrong_command_line(arguments):
    result = run_bench(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert re.fullmatch("bench.py: .+\n", result.stderr), result.stderr


@pytest.mark.parametrize("arguments, says", [
    (["--server", "none.exe"], "none.exe is not there: build it first "
     r"\(make\)"),
    (["--json", "none/b.json"], ".*b.json: there is no such directory")])
def test_what_is_not_there(arguments, says):
    if "--server" not in arguments:
        arguments = [*arguments, "--server", PROGRAM]
    assert_fails(run_bench("--quick", *arguments), says)


def test_modes():
    options = bench.parse_arguments(
        ["--mode", "batch=--batch 7", "--mode", "mine=-w 3",
         "--modes", "plain,mine,batch", "--no-steps"])
    assert [x.shown for x in options.targets] == [
        "iocp_echo_server 0", "iocp_echo_server 0 -w 3",
        "iocp_echo_server 0 --batch 7",
        f"bench_load.py echo {options.load_processes}"]
    assert options.targets[1].line[-3:] == ["0", "-w", "3"]
    every = bench.parse_arguments(["--no-steps", "--scale"])
    assert [x.name for x in every.targets] == [*bench.MODES, "native"]
    names = [x.name for x in bench.chosen_workloads(every)]
    assert names[:3] == ["ping-1", "ping-64", "ping-500"]
    assert names[-4:] == ["scale-10", "scale-100", "scale-1000",
                          "scale-10000"]


# ----------------------------------- parts ----------------------------------

@pytest.mark.parametrize("poll", ["new_poll", "SelectPoll"])
def test_load(monkeypatch, poll):
    """It also works with select, which is all that Windows has."""
    monkeypatch.setattr(bench_load, "new_poll", getattr(bench_load, poll))
    echo = start_process([sys.executable, bench_load.__file__, "echo", "2"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, **TEXT)
    port = int(support.fields(echo.stdout.readline())["port"])
    client = bench_load.Client()
    where = {"hosts": ["127.0.0.1"], "port": port}
    assert client.connect(count=20, first=0, **where) == {"connections": 20}
    for name, more in (("ping", {}), ("stream", {}), (
            "churn", {"first": 100, "in_flight": 3, **where})):
        start = bench_load.clock()
        result = getattr(client, name)(start=start, begin=start + 10**7,
                                       end=start + 10**9, **more)
        assert result["count"] > 0 and result["cpu"] >= 0
        assert (sum(result["histogram"].values())
                == (0 if name == "stream" else result["count"]))
    client.close()
    echo.stdin.close()  # which ends it
    assert echo.wait(IO_TIMEOUT) == 0
    echo.stdout.close()


def test_no_two_messages_are_alike():
    """Messages of one or of two connections differ for a long time."""
    heads = {bench_load.head(i) for i in range(100000)}
    assert len(heads) == 100000 and {len(x) for x in heads} == {16}
    assert len(set(bench_load.TAILS)) == len(bench_load.TAILS) == 1021
    assert {len(x) for x in bench_load.TAILS} == {48}


def test_percentiles():
    values = [1000 * i for i in range(1, 1001)]  # 1 to 1000 us
    histogram = bench_load.summary(0, 0, values)["histogram"]
    assert bench.percentile(histogram, 50) == pytest.approx(500, rel=0.01)
    assert bench.percentile(histogram, 99) == pytest.approx(990, rel=0.01)
    assert bench.percentile({}, 50) is None


def test_ratios_are_those_within_a_round():
    target = bench.Target("x", "mode", ["x"], "x")
    samples = [{"round": i, "value": v, "count": 1}
               for i, v in enumerate([200, 20, 2])]
    plain = [{"round": i, "value": v, "count": 1}
             for i, v in enumerate([100, 10])]  # its third failed
    row = bench.summarize(None, target, samples, plain)
    assert (row["ratio"], row["median"]) == (2, 20)
    assert (row["low"], row["high"]) == (2, 200)


def test_the_bar_is_for_terminals(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True
    monkeypatch.setenv("COLUMNS", "40")
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        progress = bench.Progress(3)
        progress.show("ping-1 " + "x" * 99)
        progress.step()
        progress.show("ping-1 plain")
        progress.clear()
        lines = stream.getvalue().split("\r")
        assert (len(lines) > 3) == shown
        assert all(len(line) < 40 for line in lines)


def test_an_interrupt_waits_for_a_start():
    interrupts = program.Interrupts()
    reached = False
    with pytest.raises(KeyboardInterrupt):
        with interrupts.later():
            interrupts.come()
            reached = True
    assert reached
    interrupts.come()  # the second is not needed


def made_up_row(name, kind, value, **other):
    return {"name": name, "kind": kind, "median": value, "low": value * 0.9,
            "high": value * 1.1, "ratio": value / 1000, "p50_us": 12.3,
            "p99_us": 45600.0, "server_cpu_us": 50.0,
            "wineserver_cpu_us": None, "load_cpu_us": 6.0, "load_busy": 0.5,
            "others_busy": 0.3, "wineserver_bytes": None, "threads": 3,
            **other}


def made_up(rows, wine=None):
    return {"machine": {"processor": "A <fast> one", "cores": 2, "wine": wine,
                        "system": "S", "python": "3", "server": "s 1",
                        "date": "today", "command": "bench.py"},
            "settings": {"seconds": 1, "warm_up": 0.3, "repeat": 3,
                         "load_processes": 2},
            "servers": [{"name": row["name"], "kind": row["kind"],
                         "command": "a <&> b"} for row in rows],
            "workloads": [{"name": name, "title": name, "unit": "messages/s",
                           "better": "more", "per": "message",
                           "connections": n, "servers": rows,
                          "unreached": ["small"]}
                          for name, n in (("ping-1", 1), ("scale-10", 10),
                                          ("scale-10000", 10000))],
            "costs": {"plain": {"calls": {"WSASend": 0.9, "free": 0.01},
                                "instructions": {"a.c a": 12, "a.c b": 1.4}},
                      "other": {"instructions": {"a.c a": 1e4}},
                      "failed": {}},
            "notes": ["x <y>"], "failures": ["z <&>"]}


@pytest.mark.parametrize("wine", [None, "wine-1"])
def test_pages(wine):
    rows = [made_up_row("plain", "mode", 1000.0),
            made_up_row("native", "native", 1e6),
            made_up_row("zero", "against", 0.0, ratio=None, p50_us=None)]
    result = made_up(rows[:2], wine)
    page = bench_report.make_page(result)
    assert len(check_page(page)) == 4  # two plots, two swatches
    assert "A &lt;fast&gt; one" in page and "a &lt;&amp;&gt; b" in page
    assert "x &lt;y&gt;" in page and "z &lt;&amp;&gt;" in page
    text = bench_report.make_text(result)
    for said in ("1000.0 times as fast as plain", "10,000", "small can't - ",
                 "0.3 CPUs", "not measured: x <y>", "plain other WSASend 0.9 "
                 "- all calls 0.9 - instructions 13 10,000"):
        assert said in " ".join(text.split())
    assert ("of Wine" in text) == ("of Wine" in page) == (wine is not None)
    result["workloads"] = result["workloads"][:1]
    result["workloads"][0]["servers"] = rows[2:]  # nothing to compare with
    check_page(bench_report.make_page(result))
    result["workloads"][0]["servers"] = []
    check_page(bench_report.make_page(result))
