"""scripts/playground.html: first its rules alone, then the page."""

import re
import shutil

import pytest

from browser import in_browser, use
from simulated import simulate
from support import ROOT, load_script
from parts import lessons  # where support finds the scripts

PAGE = ROOT / "scripts" / "playground.html"
SIZES = ["1024,768", "1280,720", "1920,1080"]
LESSONS = ["cycle", "lifo", "limit", "paused", "order", "posted", "shutdown"]
MISTAKES = ["two", "early", "ignored", "half", "touch", "sync"]
RULES = re.search(r'<script id="rules">\n(.*?)</script>',
                  PAGE.read_text(encoding="utf-8"), re.S)[1]

BARE = """<html><head>
<meta http-equiv="Content-Security-Policy" content="style-src 'none'">
<title>rules</title></head><body><script>%s</script></body></html>"""

# The checks need each state of a run, and the step that led to it.
WATCH_RUN = """
const look = s => ({...s.port, last: s.last, ended: s.ended,
  broken: s.broken, devices: s.devices});
const follow = (state, most = 400) => {
  const states = [look(state)];
  for (let t; most-- > 0 && (t = rules.next(state)); state = t)
    states.push(look(t));
  return states;
};
"""


@pytest.fixture
def page(tmp_path):
    return shutil.copy(PAGE, tmp_path / "page.html")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of each preset, and runs with random users; each ends in a stop."""
    bare = tmp_path_factory.mktemp("rules") / "bare.html"
    bare.write_text(BARE % RULES, encoding="utf-8")
    return use(bare, WATCH_RUN + """
      seen.lessons = {};
      seen.mistakes = {};
      for (const kind of ["lessons", "mistakes"])
        for (const name in rules[kind])
          seen[kind][name] = follow(rules.make(rules[kind][name]));
      let dice = 23;
      const roll = n => (dice = dice * 48271 % 2147483647) % n;
      const what = ["connect", "send", "send", "send", "leave", "reset",
                    "post", "block", "wake"];
      /* There all READs have the same work. */
      const {paused} = rules.lessons;
      seen.paused = follow(rules.make({...paused, work: "block",
        script: paused.script.map(([at, what, conn, {text}]) =>
          [at, what, conn, {text}])}));
      seen.random = [];
      for (let i = 0; i < 30; i++) {
        let s = rules.make({workers: 1 + roll(8), limit: 1 + roll(4),
          clients: roll(8), work: ["", "compute", "block"][roll(3)]});
        const states = [look(s)];
        for (let turn = 0; turn < 60; turn++) {
          const t = roll(2) ? rules.next(s) : rules.act(s,
            {what: what[roll(what.length)], conn: 1 + roll(8), text: "hello",
             worker: 1 + roll(8)});
          if (t) states.push(look(s = t));
        }
        s = rules.act(s, {what: "stop"});
        seen.random.push([...states, ...follow(s)]);
      }
    """)


def check_step(before, after):
    """Checks the port's documented rules, from one state to the next."""
    last, queue, limit = after["last"], before["queue"], before["limit"]
    taken = last["what"] in ("release", "take")
    assert after["queue"][:len(queue) - taken] == queue[taken:]  # FIFO
    if taken:
        assert last["packet"] == queue[0]
    woken = [w for w in before["waiting"] if w not in after["waiting"]]
    if woken:
        assert woken == [last["worker"]] == before["waiting"][-1:]  # LIFO
        assert len(before["released"]) < limit
    if last["what"] == "take":
        assert len(before["released"]) <= limit
    if len(after["released"]) > max(limit, len(before["released"])):
        assert last["what"] == "wake"  # only the brief excess is allowed
    listed = after["waiting"] + after["released"] + after["paused"]
    assert len(set(listed)) == len(listed)


def check_owners(state):
    """Checks that each connection has at most one operation outstanding."""
    for device in state["devices"]:
        owners = [place for place in device["ops"].values() if place]
        assert len(owners) == device["open"], device


@in_browser
def test_rules_of_the_port(runs):
    every = [*runs["lessons"].values(), *runs["mistakes"].values(),
             *runs["random"]]
    assert len(every) == len(LESSONS) + len(MISTAKES) + 30
    for states in every:
        for before, after in zip(states, states[1:]):
            check_step(before, after)
    for states in [*runs["lessons"].values(), *runs["mistakes"].values()]:
        for before, after in zip(states, states[1:]):
            ready = (before["queue"] and before["waiting"]
                     and len(before["released"]) < before["limit"])
            assert not ready or after["last"]["what"] == "release"
    for states in [*runs["lessons"].values(), *runs["random"]]:
        for state in states:
            check_owners(state)
    excess = [len(state["released"]) > state["limit"]
              for state in runs["lessons"]["paused"]]
    assert any(excess) and not excess[-1]


@in_browser
def test_a_stop_always_comes_to_its_end(runs):
    for states in [runs["lessons"]["shutdown"], *runs["random"]]:
        assert states[-1]["ended"] and not states[-1]["broken"]
        assert not any(device["open"] for device in states[-1]["devices"])


@in_browser
def test_lessons_and_mistakes(runs):
    assert list(runs["lessons"]) == LESSONS
    assert list(runs["mistakes"]) == MISTAKES
    for name, states in runs["mistakes"].items():
        assert states[-1]["broken"] == name
        assert not any(state["broken"] for state in states[:-1])
    for name, states in runs["lessons"].items():
        assert not states[-1]["broken"] and not states[-1]["queue"]
        for device in states[-1]["devices"]:
            assert device["back"] == device["said"]
    workers = {state["last"].get("worker") for state in
               runs["lessons"]["lifo"]} - {None}
    assert workers == {8}
    assert max(len(state["released"])
               for state in runs["lessons"]["limit"]) == 2


# Each preset's clients, as lives.of_lesson wants them, and its options.
SIMULATED = {
    "lifo": (1, 3, 20, 0),
    "limit": (8, 1, 400, 1, "--work", "30:spin"),
    "paused": (6, 1, 200, 1, "--work", "30:sleep")}


@in_browser
@pytest.mark.skipif(bool(simulate.why_not()), reason=str(simulate.why_not()))
@pytest.mark.parametrize("name", SIMULATED)
def test_the_simulated_windows_does_the_same(runs, tmp_path, name):
    """The same packets in the same order, each taken by the same worker."""
    states = runs["paused"] if name == "paused" else runs["lessons"][name]
    rules = [(packet["kind"], packet["conn"], state["last"]["worker"])
             for state in states
             if state["last"]["what"] in ("release", "take")
             for packet in [state["last"]["packet"]]]
    trace_view = load_script("trace_view")
    trace = tmp_path / "trace.json"
    simulate.lesson(trace, *SIMULATED[name], "--workers", 8)
    windows = [(trace_view.KINDS[p["kind"]], p["conn"], p["worker"])
               for p in trace_view.load(trace)["packets"]]
    windows = windows[:len(rules)]  # then the clients leave
    assert len(rules) == 2 * SIMULATED[name][0] * SIMULATED[name][1]
    assert windows == rules


# Reads what is on the stage: the frames, and each token with its place.
LOOK = """
const still = document.createElement("style");
still.textContent = ".token { transition: none !important; }";
document.head.append(still);
const choose = (id, value) => {
  const list = document.querySelector(id);
  list.value = value;
  list.dispatchEvent(new Event("change"));
};
const shown = () => [see("#sentence"), see("#note"), see("#place"),
  ...all("[data-layer=frames] text").map(node => node.textContent),
  ...all(".token").map(node => node.id + node.style.transform
    + node.textContent).sort()].join("|");
const presets = all("#preset option").map(option => option.value);
"""


@in_browser
def test_each_preset_forth_and_back(page):
    """Back undoes a step exactly; both languages have all the words."""
    seen = use(page, LOOK + """
      seen.presets = presets;
      seen.texts = {};
      seen.differ = [];
      for (const preset of presets) for (const language of ["en", "ko"]) {
        if (document.documentElement.lang !== language) press("#language");
        choose("#preset", preset);
        const forth = [shown()], back = [], button = id =>
          document.querySelector(id);
        while (!button("#next").disabled) { press("#next");
          forth.push(shown()); }
        for (let i = forth.length; i-- > 0; press("#back"))
          back.unshift(shown());
        for (let i = 0; i < forth.length; i++, press("#next"))
          if (forth[i] !== back[i] || forth[i] !== shown())
            seen.differ.push([preset, i]);
        (seen.texts[language] ||= []).push(...forth);
      }
      const shape = (a, b, path = "") => Object.keys(a).flatMap(key =>
        typeof a[key] !== typeof b[key] ? [path + key]
        : typeof a[key] === "object" ? shape(a[key], b[key], key + ".") : []);
      seen.missing = [...shape(en, ko), ...shape(ko, en),
        ...rules.kinds.filter(kind => !en.questions[kind])];
    """)
    assert seen["presets"] == LESSONS + MISTAKES + ["own"]
    assert seen["differ"] == [] and seen["missing"] == []
    hangul = re.compile("[\uac00-\ud7a3]")
    assert len(seen["texts"]["en"]) == len(seen["texts"]["ko"]) > 250
    for english, korean in zip(seen["texts"]["en"], seen["texts"]["ko"]):
        assert not hangul.search(english)
        assert hangul.search(korean.split("|")[0])
        assert not re.search("undefined|null|NaN|object", english + korean)


@in_browser
def test_predict(page):
    """The next step waits for an answer, and each question scores once."""
    seen = use(page, LOOK + """
      press("#predict");
      seen.scores = {};
      seen.kinds = [];
      for (const preset of presets.slice(0, -1)) {
        choose("#preset", preset);
        for (let i = 0; i < 400 && following() !== null; i++) {
          const open = pending();
          if (open && open.given === undefined) {
            const before = run.at;
            type("ArrowRight");
            if (run.at !== before) complaints.push("it did not wait");
            seen.kinds.push(open.kind);
            const values = open.options || options(open).map((_, i) => i);
            answer(values.indexOf(open.answer));
          }
          press("#next");
        }
        seen.scores[preset] = see("#score");
      }
      choose("#preset", "lifo");
      seen.first = see("#note");
      seen.blocked = document.querySelector("#next").disabled;
      type("1");
      seen.wrong = see("#note");
      seen.score = see("#score");
      press("#next");
      press("#back");
      type("3");
      seen.again = see("#score");
      seen.all = rules.kinds;
    """)
    for name, score in seen["scores"].items():
        right, _, count, _ = score.split()
        assert right == count and int(count) >= 3, (name, score)
    assert sorted(seen["all"]) == sorted(set(seen["kinds"]))
    assert seen["blocked"] and seen["first"].startswith("?")
    assert seen["wrong"].startswith("Not so.")
    assert seen["score"] == seen["again"] == "0 of 1 right"


@in_browser
def test_hands(page):
    """A user's action becomes a step, and the run goes on from there."""
    seen = use(page, LOOK + """
      const steps = () => see("#place") + " " + run.states.length;
      choose("#preset", "limit");
      for (let i = 0; i < 5; i++) type("ArrowRight");
      type("ArrowLeft");
      type("o");
      seen.posted = [see("#sentence"), steps()];
      const worker = all(".token.press")[0];
      worker.dispatchEvent(new MouseEvent("click"));
      seen.blocked = see("#sentence");
      worker.dispatchEvent(new MouseEvent("click"));
      seen.woken = see("#sentence");
      choose("#workers", 3);
      seen.own = [document.querySelector("#preset").value,
                  all("[id^=worker].token").length];
      type("2");
      seen.sent = see("#sentence");
      type("s");
      seen.stopped = see("#sentence");
      type("Home");
      type(" ");
      await wait(4500);
      type(" ");
      seen.played = see("#place");
      await wait(4500);
      seen.paused = see("#place");
      type("l");
      seen.lang = document.documentElement.lang;
    """, address="#lang=en&preset=paused&step=3")
    assert seen["posted"] == [
        "Somebody calls PostQueuedCompletionStatus. A packet without an "
        "operation goes to the end of the queue.", "Step 5 6"]
    assert "It is paused and no longer counts." in seen["blocked"]
    assert "Worker 8 runs again." in seen["woken"]
    assert seen["own"] == ["own", 3]
    assert seen["sent"].startswith("Client 2 sends “hello”.")
    assert seen["stopped"].startswith("Ctrl+C.")
    assert seen["played"] == seen["paused"] == "Step 3"
    assert seen["lang"] == "ko"


@in_browser
@pytest.mark.parametrize("size", SIZES)
def test_layout(page, size):
    """Every step of every preset fits, with question and answer. Nothing
    scrolls sideways, and the window shows all but the explanations."""
    seen = use(page, LOOK + """
      seen.found = [];
      const cut = id => { const node = document.querySelector(id);
        return node.scrollHeight > node.clientHeight + 1; };
      const check = (where, whole) => {
        const found = whole ? flaws() : {wider: 0}, low = all("#stop")[0]
          .getBoundingClientRect().bottom - innerHeight;
        if (whole && (found.overlapping.length || found.outside.length)
            || found.wider > 0 || low > 0 || cut("#sentence") || cut("#note"))
          seen.found.push([where, low, found, see("#sentence"),
                           see("#note")]);
      };
      for (const language of ["en", "ko"]) for (const preset of presets) {
        if (document.documentElement.lang !== language) press("#language");
        choose("#preset", preset);
        if (preset === "own") for (let i = 0; i < 12; i++) type("o");
        press("#predict");
        for (let i = 0; i < 400; i++) {
          check([preset, i], i % 16 === 5);
          const open = pending();
          if (open && open.given === undefined) {
            answer(1);
            check([preset, i, "why"]);
          }
          if (document.querySelector("#next").disabled) break;
          press("#next");
        }
        check([preset, "end"], true);
        press("#predict");
      }
    """, size=size)
    assert seen["found"] == []


def test_page_needs_nothing_else():
    text = PAGE.read_text(encoding="utf-8")
    assert set(re.findall(r"\w+://[^\s\"'<]+", text)) == {
        "http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in text
    assert not re.search(r"<(link|img|iframe)\b|\bsrc=|@import", text)


@pytest.mark.parametrize("name", ["lifo", "limit", "paused"])
def test_lessons_that_wine_does_not_show(name):
    """They say where the same runs by the rules of Windows."""
    lesson = lessons.TRACED[name]
    for text in lesson.paper.values():
        assert f"playground.html#preset={name}" in text
