"""Fixtures: a server that has to end well, and an end for every test."""

import faulthandler
import os
import threading

import pytest

import support
from support import launch

DESCRIPTORS = 4096  # a thousand clients need more than a thousand
TEST_TIMEOUT = 120  # seconds; a test that needs longer says so


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true",
                     help="all of the sweeps, not a part of each")


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "limit(seconds): this test may take so long")


@pytest.fixture(scope="session", autouse=True)
def machine():
    """What all tests need: Wine up and running, and enough descriptors."""
    launch.raise_descriptor_limit(DESCRIPTORS)
    with launch.wine_session(), support.session_checks():
        yield


@pytest.fixture(autouse=True)
def guard(machine):
    """With `make test-guarded` no server of any test leaves a block or handle
    behind, but those that check_nothing_left tells of."""
    path = support.GUARD_REPORT
    if os.environ.get("CHECKS") != "guard":
        yield
        return
    before = path.stat().st_size if path.exists() else 0
    yield
    if path.exists():
        for line in path.read_text(encoding="ascii")[before:].splitlines():
            counts = {k: int(v) for k, v in support.fields(line).items()}
            assert 0 <= counts["allocated"] - counts["freed"] <= 1, line
            assert 0 <= counts["opened"] - counts["closed"] <= 1, line


@pytest.fixture(autouse=True)
def limits(request):
    """Every test ends, and so does every process it started."""
    marker = request.node.get_closest_marker("limit")
    seconds = marker.args[0] if marker else TEST_TIMEOUT
    expired = threading.Event()

    def expire():
        # Without its processes a test's waits fail one after the other.
        expired.set()
        faulthandler.dump_traceback(all_threads=True)
        support.kill_all()
    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    yield
    timer.cancel()
    left = support.kill_all()
    assert not expired.is_set(), f"not done after {seconds} seconds"
    # One that is left over after a failure is a consequence, not news.
    outcome = getattr(request.node, "outcome", None)
    if outcome is not None and outcome.passed:
        assert not left, f"still running: {[p.args for p in left]}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call":
        item.outcome = report


@pytest.fixture
def long(request):
    """Whether there is time for everything (--long)."""
    return request.config.getoption("--long")


@pytest.fixture
def start_server():
    """start_server(*arguments): a Server, for tests that stop it themselves.

    It must not have died by itself before the test stopped it.
    """
    return support.Server


@pytest.fixture
def server():
    """A server with the default options.

    After the test it is stopped with Ctrl+C, and has to end with status 0 and
    totals that add up. It must not have died, nor complained, during the test.
    """
    running = support.Server()
    yield running
    assert running.alive(), f"the server died: {running.errors}"
    running.stop()
    # A client that is gone before it is accepted is worth a line, no more.
    assert [line for line in running.errors
            if "this client only" not in line] == []
