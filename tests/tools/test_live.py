"""scripts/live.py: the server, followed by browsers while it runs."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest

import live
from browser import SIZES, Window, in_window
from parts import watchers
from support import (CHECKED, IO_TIMEOUT, PROGRAM, ROOT, START_TIMEOUT,
                     STOP_SIGNAL, STOP_TIMEOUT, TEXT, WINDOWS, closing_all,
                     connect, echo, fields, receive_all, reset, start_process,
                     wait_until)
from test_trace_view import Trace, large_trace, small_trace

SCRIPT = ROOT / "scripts" / "live.py"
LIMIT = watchers.MAX_WATCHERS


# ------------------------------- the script -------------------------------

class Script:
    """live.py, its server, and the page's address."""

    def __init__(self, folder, *arguments, script=SCRIPT, env=None,
                 server=PROGRAM):
        self.trace = folder / "run.json"
        self.process = start_process(
            [sys.executable, str(script), *map(str, arguments), "--http",
             "127.0.0.1:0", "--server", str(server)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, **TEXT, env={**os.environ, **(env or {})})
        self.http = self.port = None

    def wait_until_ready(self):
        page = self.process.stdout.readline()
        self.http = int(re.search(r":(\d+)/", page)[1])
        self.port = int(fields(self.process.stdout.readline())["port"])
        return self

    def end(self, number=STOP_SIGNAL):
        """Presses Ctrl+C. Returns status, lines and errors."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self):
        out, err = self.process.communicate(timeout=STOP_TIMEOUT)
        return self.process.returncode, out.splitlines(), err.splitlines()


@pytest.fixture
def scripts(tmp_path):
    """scripts(*options): live.py with a server that is ready."""
    running = []

    def start(*options, **how):
        running.append(Script(tmp_path, 0, "--bind", "127.0.0.1", "--trace",
                              tmp_path / "run.json", *options, **how))
        return running[-1].wait_until_ready()
    yield start
    for script in running:  # after a failure
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            if script.process.poll() is None:
                script.end()


def run(*arguments):
    done = subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)],
                          stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=START_TIMEOUT, **TEXT)
    return done.returncode, done.stdout, done.stderr.splitlines()


def ask(port, path="/", host=None, method="GET"):
    """Asks for a page. Returns its status and text."""
    with connect("127.0.0.1", port) as client:
        host = host or f"127.0.0.1:{port}"
        client.sendall(f"{method} {path} HTTP/1.0\r\nHost: {host}\r\n\r\n"
                       .encode())
        head, _, body = receive_all(client).decode("utf-8").partition(
            "\r\n\r\n")
        return int(head.split()[1]), body


class Watch:
    """A browser that watches; without the browser."""

    def __init__(self, port):
        self.client = connect("127.0.0.1", port)
        self.client.sendall(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}"
                            "\r\n\r\n".encode())
        self.file = self.client.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.steps = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.client.close()

    def messages(self):
        for line in self.file:
            if line.startswith(b"data: "):
                message = json.loads(line[6:])
                self.steps += message.get("steps", [])
                yield message

    def wait_for(self, what, **row):
        """Returns the step when it comes."""
        def found():
            return [step for step in self.steps if step["what"] == what
                    and all(step["row"].get(key) == value
                            for key, value in row.items())]
        if not found():
            next(message for message in self.messages() if found())
        return found()[0]

    def wait_for_end(self):
        """Returns the names of the steps, when the last has come."""
        assert any("end" in message for message in self.messages())
        return [step["row"].get("name") or step["what"]
                for step in self.steps if step["what"]]


def test_watching_a_run(scripts, tmp_path):
    script = scripts("--workers", 2)
    with Watch(script.http) as watch:
        with connect("127.0.0.1", script.port) as client:
            peer = "127.0.0.1:%d" % client.getsockname()[1]
            assert watch.wait_for("moment", name="accept")["row"][
                "peer"] == peer
            assert echo(client, b"hello") == b"hello"
            took = watch.wait_for("take", kind=0)
            assert took["row"]["bytes"] == 5
            assert took["conns"][0]["owner"] == took["row"]["worker"]
            assert watch.wait_for("post", then="WRITE")["conns"][0][
                "owner"] == "WRITE"
            watch.wait_for("take", kind=1)
            assert watch.wait_for("post", then="READ")["conns"][0][
                "owner"] == "READ"
        closed = watch.wait_for("moment", name="close")
        assert closed["row"]["reason"] == "eof"
        assert closed["totals"] == [1, 0, 3, 5, 5, 0]
        script.process.send_signal(STOP_SIGNAL)
        names = watch.wait_for_end()
        status, page = ask(script.http, watchers.LAST)
    assert names[-8:].count("sentinel posted") == 2
    assert names.index("stop") < names.index("sentinel posted")
    gone = [row for step in watch.steps for row in step["workers"]
            if row["does"] == "gone"]
    assert len({row["worker"] for row in gone}) == 2
    assert status == 200 and 'id="trace"' in page  # the viewer's
    status, lines, errors = script.ended()
    assert (status, errors) == (0, [])
    assert lines[-1] == "stopped connections=1 received=5 sent=5 failed=0 " \
        "live=0"
    assert (tmp_path / "run.html").read_text(encoding="utf-8") == page


def test_a_watcher_who_comes_late(scripts):
    script = scripts()
    with Watch(script.http) as early, \
            connect("127.0.0.1", script.port) as client:
        assert echo(client, b"hello") == b"hello"
        early.wait_for("post", then="READ")
        with Watch(script.http) as late:
            first = next(late.messages())
            assert first["fresh"] and first["info"]["workers"] > 0
            (state,) = first["steps"]
            (row,) = state["conns"]
            assert (row["received"], row["sent"], row["owner"]) == (5, 5,
                                                                    "READ")
            assert state["totals"][:3] == [1, 1, 2]
    assert script.end()[0] == 0


@pytest.mark.skipif(WINDOWS, reason="Ctrl+Break is the only signal there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_each_signal_stops_the_server(scripts, number):
    status, lines, errors = scripts().end(number)
    assert (status, errors) == (0, [])
    assert lines[-1].startswith("stopped ")


def test_a_reset_and_a_long_idle(scripts):
    script = scripts("--idle-timeout", 1)
    with Watch(script.http) as watch, \
            connect("127.0.0.1", script.port) as idle:
        client = connect("127.0.0.1", script.port)
        watch.wait_for("moment", name="accept", conn=2)
        reset(client)
        assert watch.wait_for("moment", name="close", conn=2, reason="error")[
            "totals"][5] == 1
        assert watch.wait_for("take", conn=2, kind=2)["row"]["error"] != 0
        watch.wait_for("moment", name="cancel", conn=1, why="idle")
        assert watch.wait_for("moment", name="close", conn=1, reason="idle")[
            "totals"][5] == 1
        assert idle.recv(1) == b""
    status, lines, _ = script.end()
    assert status == 0 and fields(lines[-1])["failed"] == "1"


def test_work(scripts):
    script = scripts("--work", "50:sleep")
    with Watch(script.http) as watch, \
            connect("127.0.0.1", script.port) as client:
        assert echo(client, b"x") == b"x"
        step = watch.wait_for("work")
        assert step["workers"][0]["does"] == "sleeps"
        took = step["row"]["work_end"] - step["row"]["work_start"]
        assert took == pytest.approx(50_000)  # they have tenths
        watch.wait_for("take", kind=1)
    assert script.end()[0] == 0


def test_a_lesson(tmp_path):
    script = Script(tmp_path, "reset", "--live", "-o", tmp_path,
                    script=ROOT / "scripts" / "demo.py")
    script.http = int(re.search(r":(\d+)/", script.process.stdout.readline())
                      [1])
    assert "browser" in script.process.stdout.readline()
    trace = tmp_path / "reset.json"  # the lesson waits for a browser
    assert not wait_until(trace.exists, timeout=2)
    with Watch(script.http) as watch:
        names = watch.wait_for_end()
        page = ask(script.http, watchers.LAST)[1]
    assert "accept" in names and "take" in names and "stop" in names
    assert '<section id="lesson">' in page
    status, lines, errors = script.ended()
    assert (status, errors) == (0, []) and lines[-1].startswith("Picture: ")


# -------------------------------- refusals --------------------------------

@pytest.mark.parametrize("path, host, method, status", [
    ("/", None, "GET", 200), ("/?x", None, "GET", 200),
    ("/", "localhost:{}", "GET", 200), ("/", "LOCALHOST:{}", "GET", 200),
    ("/", "evil.example:{}", "GET", 403), ("/", "evil.example", "GET", 403),
    ("/", "127.0.0.1:1", "GET", 403), ("/", "127.0.0.2:{}", "GET", 403),
    ("/events", "evil.example:{}", "GET", 403),
    ("/run.html", None, "GET", 404), ("/../live.py", None, "GET", 404),
    ("/run.json", None, "GET", 404), ("/parts", None, "GET", 404),
    ("/", None, "POST", 501), ("/", None, "DELETE", 501)])
def test_own_pages_at_own_address(page, path, host, method, status):
    port = page.watchers.server_address[1]
    assert ask(port, path, host and host.format(port), method)[0] == status


@pytest.mark.parametrize("address, shown", [
    ("0.0.0.0", "127.0.0.1:{}"), ("127.0.0.1", "127.0.0.1:{}"),
    ("::1", "[::1]:{}")])
def test_each_address(tmp_path, address, shown):
    """On all addresses the browser's is right."""
    try:
        page = live.Live(tmp_path / "made.json", (address, 0))
    except live.Taken:
        assert ":" in address
        pytest.skip("no IPv6 here")
    page.start(False)
    port = page.watchers.server_address[1]
    assert page.host() == shown.format(port)
    with connect("::1" if ":" in address else "127.0.0.1", port) as client:
        client.sendall(f"GET / HTTP/1.0\r\nHost: {page.host()}\r\n\r\n"
                       .encode())
        assert receive_all(client).startswith(b"HTTP/1.0 200 ")
    page.follower.finish()
    page.watchers.shutdown()
    page.watchers.server_close()


def test_a_taken_http_port(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, out, errors = run(
            0, "--http", f"127.0.0.1:{port}", "--server", PROGRAM, "--trace",
            tmp_path / "run.json")
    assert (status, out, len(errors)) == (2, "", 1)
    assert errors[0].startswith(f"live.py: no page on 127.0.0.1:{port}: ")
    assert "--http" in errors[0] and not (tmp_path / "run.json").exists()


@pytest.mark.parametrize("http", ["", "8190", "127.0.0.1", "127.0.0.1:",
                                  "127.0.0.1:65536", "127.0.0.1:x",
                                  "::1:80", "a b:80"])
def test_a_bad_http_address(http):
    status, out, errors = run("--http", http, "--server", PROGRAM)
    assert (status, out) == (2, "")
    assert errors[-1].startswith("live.py: error: argument --http: ")


def test_the_server_refuses(tmp_path):
    """What it says and its status are all there is."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments, expected in ((["--workers", "none"], 2), ([], 1)):
            status, out, errors = run(
                port, "--bind", "127.0.0.1", *arguments, "--http",
                "127.0.0.1:0", "--server", PROGRAM, "--trace",
                tmp_path / "run.json")
            assert status == expected and out.startswith("page http://")
            assert len(errors) == 1
            assert errors[0].startswith("iocp_echo_server: ")


def test_no_server(tmp_path):
    status, out, errors = run("--server", tmp_path / "none.exe")
    assert (status, out) == (1, "")
    assert errors == [f"live.py: '{tmp_path / 'none.exe'}' is not there: "
                      "build it first (make)"]


@pytest.mark.skipif(WINDOWS, reason="/proc tells the server's id")
def test_a_killed_server(scripts, tmp_path):
    script = scripts()
    pid = script.process.pid
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(
        encoding="ascii")
    with Watch(script.http) as watch:
        with connect("127.0.0.1", script.port) as client:
            assert echo(client, b"hello") == b"hello"
            watch.wait_for("post", then="READ")
            os.kill(int(children), signal.SIGKILL)
            watch.wait_for_end()
            page = ask(script.http, watchers.LAST)[1]
    status, _, errors = script.ended()
    assert status == 1
    assert len(errors) == 1 and "was killed" in errors[0]
    assert '"killed":true' in page
    assert (tmp_path / "run.html").exists()


@pytest.mark.own_build
@pytest.mark.skipif(not CHECKED.exists(), reason="no checked build")
def test_a_full_disk(scripts):
    """The server says so and goes on; so does the page."""
    script = scripts(server=CHECKED, env={"FAULTS": "WriteFile:3:112"})
    with Watch(script.http) as watch:
        with connect("127.0.0.1", script.port) as client:
            assert echo(client, b"hello") == b"hello"
            assert any(message.get("remark") == "trace"
                       for message in watch.messages())
            assert echo(client, b"still") == b"still"
    status, lines, errors = script.end()
    assert lines[-1].startswith("stopped connections=1 received=10 sent=10")
    assert errors[0].startswith("iocp_echo_server: WriteFile ")
    assert status == 0 and len(errors) == 1


# --------------------------------- watchers -------------------------------

@pytest.fixture
def page(tmp_path):
    """A Live without a server: the test writes the trace."""
    shown = live.Live(tmp_path / "made.json", ("127.0.0.1", 0))
    shown.port = shown.watchers.server_address[1]
    shown.start(False)
    yield shown
    shown.follower.finish()
    shown.watchers.shutdown()
    shown.watchers.server_close()


def write(page, text):
    with open(page.follower.path, "ab") as file:
        file.write(text.encode())


def test_no_more_watchers_than_there_are_places(page):
    with contextlib.ExitStack() as stack:
        watching = [stack.enter_context(Watch(page.port))
                    for _ in range(LIMIT)]
        assert {watch.status for watch in watching} == {200}
        with Watch(page.port) as more:
            assert more.status == 503
        assert ask(page.port)[0] == 200
        watching[0].file.close()
        reset(watching[0].client)

        def has_place():
            page.say("trace")  # finds out that one has gone
            with Watch(page.port) as more:
                return more.status == 200
        assert wait_until(has_place)


def test_no_more_connections_than_there_are_places(page, monkeypatch):
    monkeypatch.setattr(watchers.Handler, "timeout", 4 * IO_TIMEOUT)
    with closing_all() as silent:
        for _ in range(watchers.MAX_CONNECTIONS):
            silent.append(connect("127.0.0.1", page.port))
        with connect("127.0.0.1", page.port) as more:
            assert more.recv(1) == b""  # at once
    assert wait_until(lambda: has_room(page))


def has_room(page):
    with contextlib.suppress(OSError, IndexError):
        return ask(page.port)[0] == 200


def test_a_connection_that_asks_for_nothing(page, monkeypatch):
    monkeypatch.setattr(watchers.Handler, "timeout", 0.5)
    with connect("127.0.0.1", page.port) as silent:
        assert silent.recv(1) == b""


def test_a_watcher_that_never_reads(page, monkeypatch):
    """Nobody waits for it; it is dropped, and others see everything."""
    monkeypatch.setattr(watchers.Handler, "timeout", 0.5)
    message = b"data: {\"x\": \"" + b"x" * 100_000 + b"\"}\n\n"
    with connect("127.0.0.1", page.port, 4096) as sleeper:
        sleeper.sendall(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{page.port}"
                        "\r\n\r\n".encode())
        assert wait_until(lambda: len(page.watchers.watchers) == 1)
        (asleep,) = page.watchers.watchers
        for _ in range(5 * watchers.MAX_QUEUED):
            page.watchers.publish(message)
        assert asleep.messages.qsize() <= watchers.MAX_QUEUED
        assert wait_until(lambda: not page.watchers.watchers)
    with Watch(page.port) as watch:
        write(page, small_trace().text())
        watch.wait_for("take", kind=4)


def test_the_end_waits_until_the_last_page_is_fetched(page):
    with Watch(page.port) as watch:
        ending = threading.Thread(target=page.finish, args=("last",))
        ending.start()
        watch.wait_for_end()
        ending.join(0.5)
        assert ending.is_alive()
        assert ask(page.port, watchers.LAST) == (200, "last")
        ending.join(IO_TIMEOUT)
        assert not ending.is_alive()


def test_a_watcher_that_vanishes(page):
    with Watch(page.port) as watch:
        gone = Watch(page.port)
        gone.file.close()
        reset(gone.client)
        write(page, small_trace().text())
        watch.wait_for("take", kind=4)


# --------------------------------- the state ------------------------------

def state_after(steps):
    """Returns what a page knows after these steps."""
    workers, conns, totals = {}, {}, []
    for step in steps:
        workers.update((row["worker"], row) for row in step["workers"])
        conns.update((row["conn"], row) for row in step["conns"])
        totals = step["totals"]
    conns = {key: row for key, row in conns.items() if not row["closed"]}
    return workers, conns, totals


def read_all(events, size):
    state, steps = live.Run(), []
    for first in range(0, len(events), size):
        steps += state.read(events[first:first + size])
    return state, steps


def test_a_sample_gives_the_same_state(monkeypatch):
    events = large_trace(20_000).events
    whole, steps = read_all(events, 50)  # in pieces that are all shown
    monkeypatch.setattr(live, "MOST", 50)
    monkeypatch.setattr(live, "FEW", 20)
    _, some = read_all(events, 500)
    assert len(some) < len(steps) / 4
    assert state_after(some) == state_after(steps)
    assert sum(step["n"] for step in some) == sum(
        step["n"] for step in steps)
    assert state_after([whole.snapshot()]) == state_after(steps)


def test_the_viewers_figures():
    trace = large_trace(20_000)
    model = trace.model()
    totals = live.Run()
    totals.read(trace.events)
    assert totals.totals["packets"] == sum(
        row["packets"] for row in model["workers"])
    assert totals.totals["received"] == sum(
        each["bytes"] for each in model["packets"] if each["kind"] == 0)
    assert totals.totals["accepted"] == len(model["connections"])


def test_nothing_is_kept_of_what_is_over():
    state = live.Run()
    state.read(small_trace().events)
    assert state.conns == {}
    assert state.packets.rows == state.moments.rows == []
    assert state.packets.at_hand == {}


def test_events_in_pieces(page):
    """The server's writes may be read in part."""
    text = small_trace().text()
    with Watch(page.port) as watch:
        for first in range(0, len(text), 7):
            page.follower.take(text[first:first + 7].encode())
        watch.wait_for("take", kind=4, worker=2)
        _, steps = read_all(small_trace().events, 1000)
        told = [step for step in watch.steps if step["what"]]
        assert [(x["what"], x["row"]) for x in told] == [
            (x["what"], x["row"]) for x in steps if x["what"]][:len(told)]
    assert page.follower.whole


# ------------------------------- in a browser -----------------------------

LANGUAGES = ["en", "ko"]
IDLE = range(901, 921)  # clients who only connect


@pytest.fixture
def window(tmp_path):
    with Window(tmp_path / "profile") as shown:
        yield shown
        assert shown.get("complaints") == []


def look_at(window, port, place="lang=en"):
    window.open(f"http://127.0.0.1:{port}/#{place}")


def behind(window):
    """Returns how many steps are left, as the page says."""
    window.get("wait(250)")
    return int(re.sub(r"\D", "", window.get("see('#behind')").partition(
        "(")[0]) or 0)


def check_looks(window, sizes=SIZES):
    """Nothing scrolls sideways, nothing lies on anything else or is cut
    off, and all is on one screen."""
    for size in sizes:
        window.resize(size)
        window.get("wait(250)")
        looks = window.get("({...flaws(), taller: document.documentElement"
                           ".scrollHeight - innerHeight})")
        assert looks == {"wider": 0, "overlapping": [], "outside": [],
                         "taller": 0}, (size, looks)


SHOWN = """({
  cards: texts(".card:not([hidden]):not(.closed) b"),
  closed: all(".card.closed:not([hidden])").length,
  workers: all("#workers > div").length,
  life: texts("#life li:not([hidden])"),
  totals: texts("#totals b").map(text => text.replace(/,/g, "")),
})"""


@in_window
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_live(scripts, window, language):
    """Thirty clients, a freeze, steps, and on; then the whole run."""
    script = scripts("--workers", 4)
    look_at(window, script.http, f"lang={language}")
    assert window.wait_for("all('#workers > div').length === 4")
    with closing_all() as clients:
        for _ in range(30):
            clients.append(connect("127.0.0.1", script.port))
            assert echo(clients[-1], b"hello") == b"hello"
        assert window.wait_for("see('#totals') && texts('#totals b')[2] "
                               "=== '60'")
        seen = window.get(SHOWN)
        assert seen["cards"] == [f"#{n}" for n in range(1, 31)]
        assert seen["totals"][:3] == ["30", "30", "60"]
        assert seen["totals"][4:] == ["150", "150", "0"]
        assert "#30" in seen["life"][0]
        peer = "127.0.0.1:%d" % clients[0].getsockname()[1]
        assert window.get("texts('.card .peer')[0]") == peer
        check_looks(window)

        # The server runs on behind a frozen picture.
        assert window.wait_for("all('#workers .busy').length === 0")
        window.get("press('#freeze')")
        for client in clients:
            assert echo(client, b"more") == b"more"
        clients.pop().close()
        assert window.wait_for("/^[1-9]/.test(see('#behind'))")
        assert window.get(SHOWN)["totals"] == seen["totals"]
        steps = behind(window)
        assert window.wait_for("!document.querySelector('#next').disabled")
        window.get("press('#next'), wait(200)")
        first = window.get("see('#sentence')")
        assert ("takes the packet" if language == "en" else
                "\uc644\ub8cc \ud328\ud0b7\uc744 \uaebc\ub0c5\ub2c8\ub2e4"
                ) in first
        assert window.wait_for("texts('#totals b')[2] === '61'")
        window.get("press('#next'), wait(200)")
        second = window.get("see('#sentence')")
        assert second.startswith(first) and len(second) > len(first)
        assert behind(window) >= steps - 2
        check_looks(window, SIZES[:1])

        # Nothing of what happened meanwhile is lost.
        window.get("press('#freeze')")
        assert window.wait_for("texts('#totals b')[1] === '29'")
        seen = window.get(SHOWN)
        assert seen["totals"][2:3] + seen["totals"][4:] == [
            "121", "270", "270", "0"]
        assert seen["closed"] == 1 and len(seen["cards"]) == 29
    script.process.send_signal(STOP_SIGNAL)
    assert window.wait_for("document.querySelector('#chart .cursor')")
    assert script.ended()[0] == 0
    assert window.get("document.documentElement.lang") == language
    window.get("document.querySelector('#next').click()")
    assert window.get("document.querySelector('#place').textContent"
                      ).startswith("2 / ")


@in_window
def test_keys_and_slow_motion(page, window):
    """What the server did is shown step by step, also when it has ended."""
    look_at(window, page.port, "lang=en&slow")
    assert wait_until(lambda: page.watchers.watchers)
    write(page, small_trace().text())
    window.get("const speed = document.querySelector('#speed'); "
               "speed.value = 1; speed.dispatchEvent(new Event('change'))")
    assert window.wait_for("see('#sentence').includes('connection 1 from')")
    window.get("type(' ')")  # live
    assert window.wait_for("see('#life').includes('worker 2 takes')")
    assert window.get("see('#mode')") == "\u25cf Live"
    window.get("type('\u3134')")  # S, typed on a Korean keyboard
    assert "Slow" in window.get("see('#mode')")
    window.get("type('l')")
    assert window.get("document.documentElement.lang") == "ko"
    page.finish("<!DOCTYPE html><title>whole</title><p id=it>run</p>")
    assert window.wait_for("document.querySelector('#whole') && "
                           "!document.querySelector('#whole').hidden")
    window.get("type('w')")
    assert window.wait_for("document.querySelector('#it')")


@in_window
def test_it_waits_for_who_is_behind(page, window):
    """The whole run does not replace a frozen page."""
    look_at(window, page.port)
    assert wait_until(lambda: page.watchers.watchers)
    window.get("press('#freeze')")
    write(page, small_trace().text())
    page.finish("<!DOCTYPE html><p id=it>run</p>")
    assert window.wait_for("!document.querySelector('#whole').hidden")
    left = behind(window)
    for _ in range(5):
        window.get("type('ArrowRight')")
    assert 0 < behind(window) < left
    assert not window.wait_for("document.querySelector('#it')", 4)
    window.get("press('#freeze')")  # and once it has caught up, it does
    assert window.wait_for("document.querySelector('#it')")


@in_window
@pytest.mark.thorough
@pytest.mark.parametrize("language, most", [("en", 1000), ("ko", 10 ** 9)])
def test_more_than_can_be_shown(page, window, monkeypatch, language, most):
    """A sample and its share; and a frozen page, which does not keep all that
    comes. In both cases it counts what it leaves out."""
    monkeypatch.setattr(live, "MOST", most)
    look_at(window, page.port, f"lang={language}")
    assert wait_until(lambda: page.watchers.watchers)
    window.get("press('#freeze')")
    trace, idle = large_trace(100_000, workers=40, conns=200), Trace(0)
    for conn in IDLE:
        idle.accept(conn / 10, conn)
    trace.events[43:43] = idle.events[3:]  # after the threads' names
    text = trace.text()
    for first in range(0, len(text), 1 << 20):
        write(page, text[first:first + (1 << 20)])
    state, steps = read_all(trace.events, 1000)
    whole = sum(step["n"] for step in steps)
    assert wait_until(lambda: page.state.time == state.time)
    assert window.wait_for("see('#behind').replace(/,/g, '').startsWith("
                           f"'{whole}')")
    if most == 1000:
        assert "%" in window.get("see('#share')")
    window.get("press('#freeze')")
    totals = ",".join(map(str, list(state.totals.values())[:3]))
    assert window.wait_for("texts('#totals b').slice(0, 3).map(text => "
                           f"text.replace(/,/g, '')).join() === '{totals}'")
    window.get("wait(500)")  # a packet is seen for a while
    owners = window.get("all('.card:not([hidden])').map(card => "
                        "[...card.querySelectorAll('b, .owner')]"
                        ".map(node => node.textContent))")
    assert {str(conn) for conn in IDLE} <= {conn for conn, _ in owners}
    for conn, owner in owners:
        expected = state.conns[int(conn)]["owner"]
        assert owner == {"READ": "R", "WRITE": "W"}.get(
            expected, str(expected)), conn
    seen = window.get(SHOWN)
    assert len(seen["cards"]) == 96 and seen["workers"] == 40
    assert "220" in window.get("see('#shown')")
    check_looks(window)
