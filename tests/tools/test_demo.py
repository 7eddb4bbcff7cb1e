"""The lessons print what the trace says.

No test of a recorded trace asserts which worker wakes up, or the concurrency
limit: systems differ in that, and the lessons show how. Those of the simulated
Windows do.
"""

import re
import subprocess
import sys

import pytest

from browser import SIZES, check_layout, in_browser, use
from simulated import simulate
from support import CHECKED, PROGRAM, ROOT, TEXT, load_script
# where support finds the scripts
from parts import costs, counted, language, lessons, observed

DEMO = ROOT / "scripts" / "demo.py"
LESSONS = ["cycle", "lifo", "limit", "paused", "order", "backpressure",
           "halfclose", "reset", "shutdown", "posted", "at-once", "shortened",
           "copies", "calls"]
LESSON_TIMEOUT = 90  # seconds

demo, trace_view = load_script("demo"), load_script("trace_view")


def run_demo(*arguments, timeout=LESSON_TIMEOUT):
    return subprocess.run([sys.executable, str(DEMO), *map(str, arguments)],
                          stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=timeout, **TEXT)


@pytest.fixture
def lesson(tmp_path):
    """lesson(name): runs it and returns what it printed, as one line, and its
    trace's model."""
    def run(name):
        result = run_demo(name, "-o", tmp_path, "--server", PROGRAM)
        assert (result.returncode, result.stderr) == (0, "")
        page = (tmp_path / f"{name}.html").read_text(encoding="utf-8")
        model = trace_view.load(tmp_path / f"{name}.json")
        text = " ".join(result.stdout.split())
        assert result.stdout.isascii()
        assert all(len(x) < 80 or x.startswith("Picture: ")
                   for x in result.stdout.splitlines())
        # It says on what it ran, and the trace has all that the server did.
        assert model["info"]["system"] in text
        assert name in page and "</html>" in page
        done = sum(p["kind"] < 4 for p in model["packets"])
        assert (f"reports {done} completions in all, the trace has {done}."
                in text)
        return text, model
    return run


def kinds(model, conn):
    """Returns the kinds of a connection's packets, in order."""
    return [trace_view.KINDS[p["kind"]] for p in model["packets"]
            if p["conn"] == conn]


def closes(model):
    return [m for m in model["moments"] if m["name"] == "close"]


def test_cycle(lesson):
    text, model = lesson("cycle")
    order = kinds(model, 1)
    assert len(order) > 4 and order[:3] == ["READ", "WRITE", "READ"]
    assert all(a != b for a, b in zip(order, order[1:]))
    workers = [p["worker"] for p in model["packets"] if p["conn"] == 1]
    other = sum(a != b for a, b in zip(workers, workers[1:]))
    assert " ".join(order) in text
    assert " ".join(map(str, workers)) in text
    assert f"{other} of {len(workers) - 1} times the next packet went" in text


def check_simulated(text, directory, name):
    """Checks that there is a simulated part, which says so everywhere."""
    if simulate.why_not():
        assert f"Not simulated here {simulate.why_not()}; see" in text
        return
    model = trace_view.load(directory / f"{name}-simulated.json")
    page = (directory / f"{name}-simulated.html").read_text(encoding="utf-8")
    assert model["info"]["system"] == "simulated Windows"
    assert '"simulated":true' in page and f">{name}, simulated: " in page
    assert "Simulated Windows, in virtual time" in page
    assert "Computed on simulated Windows" in trace_view.make_picture(model)
    assert "Simulated Windows, in virtual time" in text


def test_lifo(lesson, tmp_path):
    text, model = lesson("lifo")
    check_simulated(text, tmp_path, "lifo")
    per_worker = [str(row["packets"]) for row in model["workers"]]
    assert f"Packets per worker: {' '.join(per_worker)}." in text


@pytest.mark.parametrize("name, word", [("limit", "computed"),
                                        ("paused", "slept")])
def test_limit_and_paused(lesson, tmp_path, name, word):
    text, model = lesson(name)
    check_simulated(text, tmp_path, name)
    work = [(p["work_start"], p["work_end"]) for p in model["packets"]
            if p["work"]]
    assert len(work) == 24
    most = max(sum(a <= start < b for a, b in work) for start, _ in work)
    assert f"At most {most} of 8 workers {word} at once" in text
    assert "limit was 2" in text and model["info"]["concurrency"] == 2


def test_order(lesson):
    text, model = lesson("order")
    assert "Within one connection: 0." in text
    for conn in {p["conn"] for p in model["packets"] if p["conn"]}:
        order = kinds(model, conn)
        assert all(a != b for a, b in zip(order, order[1:]))
    assert re.search(r"(\d+) of \1 clients got their bytes back in the order",
                     text)


def test_backpressure(lesson):
    text, model = lesson("backpressure")
    span = max((s for s in model["spans"] if s["operation"] == "WRITE"),
               key=lambda s: s["end"] - s["start"])
    assert span["conn"] == 1
    meanwhile = [p for p in model["packets"]
                 if trace_view.KINDS[p["kind"]] == "WRITE" and p["conn"] > 1
                 and span["start"] < p["start"] < span["end"]]
    assert len(meanwhile) >= 30
    assert f"got {len(meanwhile)} echoes" in text


def test_halfclose(lesson):
    text, model = lesson("halfclose")
    assert "It got 40000 bytes (the same)" in text
    last = [p for p in model["packets"] if p["conn"] == 1][-1]
    assert (trace_view.KINDS[last["kind"]], last["bytes"]) == ("READ", 0)


def test_reset(lesson):
    text, model = lesson("reset")
    failed = [p for p in model["packets"]
              if trace_view.KINDS[p["kind"]].startswith("failed")]
    assert len(failed) == 1 and failed[0]["error"] != 0
    assert f"error {failed[0]['error']}, of connection 1" in text
    assert "0 of them failed" in text


def test_shutdown(lesson):
    text, model = lesson("shutdown")
    sentinels = [p for p in model["packets"]
                 if trace_view.KINDS[p["kind"]] == "sentinel"]
    assert len(sentinels) == len(model["workers"]) == 4
    last = max(m["start"] for m in closes(model))
    assert min(p["start"] for p in sentinels) > last
    assert "4 of 4 workers took 4 sentinels" in text


def test_posted(lesson):
    text, model = lesson("posted")
    posted = [p for p in model["packets"]
              if trace_view.KINDS[p["kind"]] == "posted"]
    # Queued in this order. Which worker returns first may differ.
    assert sorted(p["bytes"] for p in posted) == [1, 2, 3, 4, 5]
    assert "5 packets that no operation had caused" in text


HANGUL = re.compile("[\uac00-\ud7a3]")


def test_korean(tmp_path):
    """All of it, but for names and for what the server prints."""
    result = run_demo("cycle", "--lang", "ko", "-o", tmp_path, "--server",
                      PROGRAM)
    assert (result.returncode, result.stderr) == (0, "")
    for part in filter(None, result.stdout.split("\n\n")):
        heading, _, text = part.partition("\n")
        assert HANGUL.search(heading) and (
            not text or HANGUL.search(text)), part
    assert all(language.width(line) < 80 or line.startswith("\uadf8\ub9bc:")
               for line in result.stdout.splitlines())
    model = trace_view.load(tmp_path / "cycle.json")
    assert " ".join(kinds(model, 1)) in " ".join(result.stdout.split())


def test_a_list_that_fits_in_both_languages():
    for code in language.LANGUAGES:
        result = run_demo("--list", "--lang", code)
        lines = result.stdout.splitlines()
        assert [line.split()[0] for line in lines] == LESSONS
        assert all(language.width(line) < 80 for line in lines)
        assert all(bool(HANGUL.search(line)) is (code == "ko")
                   for line in lines)


@in_browser
def test_the_lesson_follows_the_page_s_language(lesson, tmp_path):
    text, _ = lesson("posted")
    seen = use(tmp_path / "posted.html", """
      const shown = () => all("#lesson h2, #lesson p").filter(
        node => node.checkVisibility()).map(node => node.textContent);
      seen.english = shown();
      press("#language");
      seen.korean = shown();
    """)
    assert len(seen["english"]) == len(seen["korean"]) >= 5
    assert all(part.isascii() for part in seen["english"])
    assert all(HANGUL.search(part) for part in seen["korean"])
    assert seen["english"][2] in text


@in_browser
@pytest.mark.thorough
@pytest.mark.parametrize("name", ["limit", "reset"])
def test_layout_of_the_page(lesson, tmp_path, name):
    """The viewer's page still fits with the lesson's words on it."""
    lesson(name)
    for page in sorted(tmp_path.glob(f"{name}*.html")):
        for size in SIZES:
            check_layout(page, size)


# ------------------------------ without a picture ---------------------------

needs_checked = pytest.mark.skipif(
    not CHECKED.exists(),
    reason="GNU make builds the checked server: make checked")


@pytest.fixture
def numbers(tmp_path):
    """numbers(name): runs the lesson, checks what it prints, and returns all
    numbers in what it has counted, in the order of the text."""
    def run(name):
        result = run_demo(name, "-o", tmp_path)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.isascii() and not list(tmp_path.glob("*.html"))
        assert all(len(x) < 80 for x in result.stdout.splitlines())
        counted = result.stdout.split("\n\n")[1]
        assert counted.startswith("Counted ")
        return [float(x) for x in re.findall(r"\d+(?:\.\d+)?", counted)]
    return run


@needs_checked
def test_at_once(numbers):
    (_, _, posts, done, sends, all_sends, receives, all_receives, packets,
     _, inline_posts, inline_done, inline_packets, inline) = numbers("at-once")
    assert 0 < done == sends + receives < posts
    assert posts == all_sends + all_receives == packets
    assert inline_posts == inline_packets + inline
    # The main thread posts the first READ, and leaves its packet to others.
    assert 0 < inline <= inline_done <= inline + 1


@needs_checked
def test_shortened(numbers):
    (_, size, _, receives, length, sends,
     listed_receives, *listed_lengths, listed_sends) = numbers("shortened")
    # The receives of the two messages and of the end of file.
    assert length == 4096 and 3 <= receives < 10 and sends == receives - 1
    assert listed_receives == 1 + size + 1
    assert listed_lengths == [4096, 1] and listed_sends == 1 + size


@needs_checked
def test_copies(numbers):
    (size, _, write, soon, late, _, received, sent, _, received_0,
     sent_0) = numbers("copies")
    assert size > write > 4096 and soon < late
    assert received >= sent and received_0 >= sent_0
    assert sent > 10 * sent_0


@needs_checked
def test_calls(numbers):
    """The port's calls do not depend on the clients. Those of select depend on
    how many of its clients are ready when it is called."""
    clients, port, loop, looked, one = (
        found[i:j] for found in [numbers("calls")]
        for i, j in ((0, 3), (3, 6), (6, 9), (9, 12), (12, 16)))
    assert clients == [1, 10, 100] and port == [4, 4, 4]
    assert loop[0] == 3 and all(2 < each <= 3 for each in loop)
    assert looked[0] == 1
    for count, each, seen in zip(clients, loop, looked):
        assert seen == pytest.approx((each - 2) * count, rel=0.1, abs=0.6)
    assert one == [100, 4, 3, 100]


def test_no_checked_build(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(costs, "CHECKED", tmp_path / "none.exe")
    for name in counted.COUNTED:
        assert demo.main([name, "-o", str(tmp_path)]) == 1
        assert "is not there: make checked" in capsys.readouterr().err


def test_no_picture_to_show_live():
    result = run_demo("calls", "--live")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "demo.py: this lesson has no picture: leave out --live\n")


# ---------------------------- the simulated Windows -------------------------

@pytest.fixture
def simulated(tmp_path):
    """simulated(name): plays the lesson there, and returns what it says and
    the trace's model."""
    if simulate.why_not():
        pytest.skip(simulate.why_not())

    def play(name):
        said, pages = demo.demonstrate_simulated(
            name, lessons.TRACED[name](), tmp_path)
        assert len(pages) == 1, said
        return said[0][1]["en"], trace_view.load(
            pages[0].with_suffix(".json"))
    return play


def test_simulated_lifo(simulated):
    text, model = simulated("lifo")
    assert kinds(model, 1) == ["READ", "WRITE"] * 20 + ["READ"]
    assert {p["worker"] for p in model["packets"] if p["conn"]} == {8}
    assert "40 times the one that had waited shortest took it" in text


def most_running_at_a_start(model):
    """Returns how many others ran at most when a worker took a packet. A trace
    shows at most those that the port counts."""
    running = observed.running_intervals(model)
    return max(sum(a < p["start"] < b for a, b in running)
               for p in model["packets"])


def test_simulated_limit(simulated):
    text, model = simulated("limit")
    assert "At most 2 of 8 workers computed at once" in text
    assert "More than 2 did so for 0.0 ms" in text
    assert len(model["workers"]) == 8
    assert observed.most_at_once(observed.running_intervals(model)) == 2
    reads = [p["conn"] for p in model["packets"] if p["work"]]
    assert reads == list(range(1, 9)) * 3  # first in, first out


def test_simulated_paused(simulated):
    """Who sleeps makes room for another, and comes back beyond the limit."""
    text, model = simulated("paused")
    assert "At most 8 of 8 workers slept at once" in text
    excess = re.search(r"At most (\d) ran at once, more than 2 for (\S+) ms",
                       text)
    assert int(excess[1]) > 2 and 0 < float(excess[2]) < 30
    assert most_running_at_a_start(model) == 1
    first = [p["worker"] for p in model["packets"] if p["work"]][:8]
    assert first == [8, 7, 6, 5, 4, 3, 2, 1]  # last in, first out


def test_without_the_simulated_windows(tmp_path, monkeypatch):
    monkeypatch.setattr(simulate, "why_not", lambda: "it needs gcc")
    said, pages = demo.demonstrate_simulated("lifo", lessons.Lifo(), tmp_path)
    assert [(heading["en"], text["en"]) for heading, text in said] == [
        ("Not simulated here", "it needs gcc; see the playground.")]
    assert pages == []
    assert not list(tmp_path.iterdir())


@in_browser
def test_the_simulated_page_says_so(simulated, tmp_path):
    simulated("limit")
    seen = use(tmp_path / "limit-simulated.html", """
      seen.badge = see("#badge");
      seen.system = see("#system");
      seen.remark = see("#remark");
      press("#language");
      seen.korean = see("#remark");
    """)
    assert seen["badge"].startswith("simulated Windows")
    assert seen["system"].startswith("Computed in virtual time, with 8 ")
    assert seen["remark"].startswith("Simulated, not recorded")
    assert seen["korean"].startswith("\uae30\ub85d\uc774 \uc544\ub2c8\ub77c")


# ---------------------------------- parts ----------------------------------


def test_overlaps():
    assert observed.most_at_once([]) == 0
    assert observed.most_at_once([(0, 2), (2, 4)]) == 1  # one ends, one begins
    assert observed.most_at_once([(0, 5), (1, 3), (2, 4)]) == 3
    assert observed.time_with_more([(0, 5), (1, 3), (2, 4)], 1) == 3
    assert observed.time_with_more([(0, 5), (1, 3), (2, 4)], 2) == 1


def test_overtaken():
    def spans(*pairs):
        return [{"start": a, "end": b} for a, b in pairs]
    assert observed.overtaken(spans((0, 1), (2, 3))) == 0
    assert observed.overtaken(spans((0, 9), (1, 3), (2, 4))) == 1
    assert observed.overtaken(spans((0, 9), (1, 8), (2, 4))) == 2


def test_who_woke():
    def packet(worker, start):
        return {"worker": worker, "start": start, "end": start + 1, "kind": 0}
    workers = [{"worker": w} for w in (1, 2)]
    in_turn = [packet(w, t) for t, w in enumerate([1, 2] * 4)]
    counts = observed.who_woke({"packets": in_turn, "workers": workers})
    assert counts["longest"] > 0 and counts["shortest"] == 0
    the_same = [packet(1, t) for t in range(0, 16, 2)]
    counts = observed.who_woke({"packets": the_same, "workers": workers})
    assert counts["shortest"] > 0 and counts["longest"] == 0


# ------------------------------- what can fail ------------------------------


def test_list():
    result = run_demo("--list")
    assert result.returncode == 0
    assert [x.split()[0] for x in result.stdout.splitlines()
            if x.strip()] == LESSONS


@pytest.mark.parametrize("arguments", [["no-such"], [], ["cycle", "order"],
                                       ["cycle", "--slow"]])
def test_wrong_command_line(arguments):
    result = run_demo(*arguments)
    assert result.returncode == 2 and result.stdout == ""
    assert "Traceback" not in result.stderr
    if arguments == ["no-such"]:
        assert all(name in result.stderr for name in LESSONS)


def test_no_server(tmp_path):
    result = run_demo("cycle", "-o", tmp_path, "--server",
                      tmp_path / "none.exe")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("demo.py: ")


def test_a_server_that_does_not_start(tmp_path):
    broken = tmp_path / "broken.exe"
    broken.write_bytes(b"not a program")
    result = run_demo("cycle", "-o", tmp_path, "--server", broken)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("demo.py: ")
