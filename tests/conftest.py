"""The fixtures: a server that must end well, a time limit for every test. And
which tests run, in which order, and which of them at the same time."""

import faulthandler
import os
import threading

import pytest

import reports
import support
from kinds import KINDS, PLAIN, Step, chosen
from parts import descriptors
from support import launch

# Seconds; tests that need more have a marker.
TEST_TIMEOUT = int(os.environ.get("TEST_TIMEOUT", 120))

# The tests of such a file share what takes a while to make.
WHOLE_FILES = {"server/test_bad_input.py", "sources/test_nmake.py",
               "sources/test_dist.py", "sources/test_simulated.py",
               "tools/test_bad_servers.py", "tools/test_trace_view.py",
               "tools/test_windows_scripts.py"}


def pytest_addoption(parser):
    parser.addoption("--brief", action="store_true",
                     help="leave out the tests that are marked thorough")


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    reports.register(config)


# ------------------------------ several at once -----------------------------

def file_of(nodeid):
    return nodeid.split("::")[0]


def pytest_collection_modifyitems(config, items):
    """Puts whole files first, and tests that run alone last."""
    if config.getoption("--brief"):
        left_out = [x for x in items if x.get_closest_marker("thorough")]
        items[:] = [x for x in items if x not in set(left_out)]
        config.hook.pytest_deselected(items=left_out)
    items.sort(key=lambda item: (
        item.get_closest_marker("alone") is not None,
        file_of(item.nodeid) not in WHOLE_FILES))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Gives each pytest the next test, or whole file, when it is ready."""
    from xdist.scheduler import LoadScopeScheduling

    class OneByOne(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = file_of(nodeid)
            return file if file in WHOLE_FILES else nodeid
    return OneByOne(config, log)


@pytest.fixture(autouse=True)
def turn(request):
    """Lets a test that is marked alone run alone: each test holds one place
    while it runs, that one all of them."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    alone = request.node.get_closest_marker("alone") is not None
    with support.places(0 if alone else int(support.WORKER[2:]),
                        support.PLACES if alone else 1):
        yield


# --------------------------------- fixtures ---------------------------------

@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc):
    """Runs a test on the servers its markers name: see kinds.py."""
    servers = metafunc.definition.get_closest_marker("servers")
    exceptions = list(metafunc.definition.iter_markers("not_for"))
    if servers and "server_kind" in metafunc.fixturenames:
        metafunc.parametrize("server_kind", chosen(servers, exceptions),
                             indirect=True)
    else:
        assert not exceptions, "not_for what?"


@pytest.fixture(scope="session", autouse=True)
def machine():
    """Sets up what all tests need: enough descriptors, and a running Wine."""
    descriptors.raise_limit()  # some tests have a thousand clients
    with launch.wine_session():
        yield


@pytest.fixture(autouse=True)
def limits(request, turn):
    """Ends every test in time, and every process that it started."""
    support.started.clear()
    marker = request.node.get_closest_marker("limit")
    seconds = marker.args[0] if marker else TEST_TIMEOUT
    expired = threading.Event()

    def expire():
        # With its processes gone, the test's waits fail one after the other.
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
    # After a failure, a process that still runs is a consequence, not news.
    outcome = getattr(request.node, "outcome", None)
    if outcome is not None and outcome.passed:
        assert not left, f"still running: {[p.args for p in left]}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call":
        item.outcome = report
    if report.failed:
        report.sections.append(("to repeat it", reports.how_to_repeat(item)))


@pytest.fixture
def server_kind(request):
    """The Kind of server that the test runs on."""
    return KINDS[getattr(request, "param", PLAIN)]


@pytest.fixture
def asked(tmp_path):
    """The calls of a checked server that is started with env=asked.env."""
    return support.Asked(tmp_path / "asked")


@pytest.fixture
def start_server(server_kind):
    """start_server(*arguments) starts a Server; the test stops it itself."""
    assert not isinstance(server_kind, Step), "steps have no stop"
    return server_kind.start


@pytest.fixture
def server(server_kind):
    """A running server without further arguments; ends after the test."""
    running = server_kind.start()
    yield running
    server_kind.end(running)
