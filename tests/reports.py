"""What pytest also prints: how to repeat a failure, and the time left."""

import os
import shlex
import sys
import time

import pytest

import support
from support import ROOT, launch

LINES = 20     # the last ones of a server's output
SERVERS = 3    # the last ones of a test
EVERY = 0.5    # seconds between two looks at the clock
WIDTH = 60
CACHE = "durations"


# ------------------------------- what failed --------------------------------

def how_to_repeat(item):
    """Returns the commands that repeat it, and what its servers printed."""
    chosen = [f"{name}={shlex.quote(os.environ[name])}"
              for name in ("SERVER", "STEPS") if name in os.environ]
    python = "py" if support.WINDOWS else "python3"
    name = (item.function.__doc__ or "").strip().split("\n\n")[0]
    text = [" ".join(name.split())] if name else []
    text += [" ".join([*chosen, python, "scripts/parts/run_tests.py", "-q",
                       shlex.quote(f"tests/{item.nodeid}")])]
    for line, env, process in support.started[-SERVERS:]:
        text += ["", by_hand(line, env, python), ended(process)]
        server = getattr(process, "server", None)
        if server is not None:
            text += [f"  {x}" for x in (server.lines + server.errors)[-LINES:]]
    return "\n".join(text)


def by_hand(line, env, python):
    """Returns the command that starts this program at a prompt."""
    usual = {**os.environ, **launch.environment()}
    more = [f"{name}={shlex.quote(value)}" for name, value in env.items()
            if usual.get(name) != value and not name.startswith("WINE")]
    words = [str(word) for word in line]
    if words[0] == "wine":
        words[0:1] = [python, os.path.join("scripts", "launch.py")]
    words = [os.path.relpath(word, ROOT) if word.startswith(f"{ROOT}{os.sep}")
             else word for word in words]
    return " ".join([*more, *map(shlex.quote, words)])


def ended(process):
    status = process.poll()
    return "  still runs" if status is None else f"  ended, status {status}"


# --------------------------------- progress ---------------------------------

class Progress:
    """Draws a line over and over on a terminal: how many tests are done, and
    how long the others will take if they take as long as last time."""

    def __init__(self, config):
        self.config, self.took = config, config.cache.get(CACHE, {})
        self.waiting, self.all = {}, 0
        self.done = self.failed = 0
        self.began = time.monotonic()
        self.next = 0.0

    def expect(self, names):
        """Records which tests will run."""
        mean = (sum(self.took.values()) / len(self.took) if self.took else 1)
        self.waiting = {x: self.took.get(x, mean) for x in names}
        self.all = sum(self.waiting.values())

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session):
        self.expect([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids):
        if not self.waiting:
            self.expect(ids)

    def pytest_report_teststatus(self, report):
        """Drops pytest's letter for a passed test: the line counts it."""
        return ("passed", "", "") if (report.when == "call"
                                      and report.passed) else None

    def pytest_runtest_logreport(self, report):
        self.failed += report.failed
        if report.when == "teardown":
            self.done += 1
            self.waiting.pop(report.nodeid, None)
        now = time.monotonic()
        if now >= self.next and self.done:
            self.next = now + EVERY
            self.draw(now - self.began)

    def draw(self, elapsed):
        left = sum(self.waiting.values())
        seconds = int(elapsed * left / max(self.all - left, 0.01))
        text = (f"{self.done} of {self.done + len(self.waiting)} tests, "
                f"{self.failed} failed, "
                f"{seconds // 60}:{seconds % 60:02} left")
        self.write(f"\r{text:<{WIDTH}}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self):
        self.write(f"\r{'':{WIDTH}}\r")

    def write(self, text):
        self.config.get_terminal_writer().write(text, flush=True)


class Durations:
    """Records how long each test takes."""

    def __init__(self, config):
        self.config, self.took = config, {}

    def pytest_runtest_logreport(self, report):
        self.took[report.nodeid] = round(
            self.took.get(report.nodeid, 0) + report.duration, 2)

    def pytest_sessionfinish(self):
        self.config.cache.set(CACHE, {**self.config.cache.get(CACHE, {}),
                                      **self.took})


def register(config):
    """Registers both, in the one pytest of several that reports."""
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    config.pluginmanager.register(Durations(config))
    if sys.stdout.isatty() and config.option.verbose <= 0:
        config.pluginmanager.register(Progress(config))
