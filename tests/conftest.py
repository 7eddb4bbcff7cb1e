"""Fixtures: a server that has to end well, and an end for every test. Which
tests are run, in which order, and which of them at the same time."""

import faulthandler
import os
import threading

import pytest

import reports
import support
from kinds import KINDS, PLAIN, Step, chosen
from parts import descriptors
from support import launch

TEST_TIMEOUT = 120  # seconds; a test that needs longer says so

# Their tests share what takes a while to make.
WHOLE_FILES = {"server/test_bad_input.py", "sources/test_nmake.py",
               "sources/test_simulated.py",
               "tools/test_bad_servers.py", "tools/test_trace_view.py",
               "tools/test_windows_scripts.py"}


def pytest_addoption(parser):
    parser.addoption("--brief", action="store_true",
                     help="without the tests that are marked as thorough")


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    reports.register(config)


# ------------------------------ several at once -----------------------------

def file_of(nodeid):
    return nodeid.split("::")[0]


def pytest_collection_modifyitems(config, items):
    """What belongs together comes first, and last what is run alone."""
    if config.getoption("--brief"):
        left_out = [x for x in items if x.get_closest_marker("thorough")]
        items[:] = [x for x in items if x not in set(left_out)]
        config.hook.pytest_deselected(items=left_out)
    items.sort(key=lambda item: (
        item.get_closest_marker("alone") is not None,
        file_of(item.nodeid) not in WHOLE_FILES))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Each pytest gets the next test when it is done with one."""
    from xdist.scheduler import LoadScopeScheduling

    class OneByOne(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = file_of(nodeid)
            return file if file in WHOLE_FILES else nodeid
    return OneByOne(config, log)


@pytest.fixture(autouse=True)
def turn(request):
    """Waits until a test that is to run alone may: a test holds a place, and
    one that runs alone holds all of them."""
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
    """The servers of a test, by its markers: see kinds.py."""
    servers = metafunc.definition.get_closest_marker("servers")
    exceptions = list(metafunc.definition.iter_markers("not_for"))
    if servers and "server_kind" in metafunc.fixturenames:
        metafunc.parametrize("server_kind", chosen(servers, exceptions),
                             indirect=True)
    else:
        assert not exceptions, "not_for what?"


@pytest.fixture(scope="session", autouse=True)
def machine():
    """What all tests need: Wine up and running, and enough descriptors."""
    descriptors.raise_limit()  # a thousand clients need a thousand
    with launch.wine_session():
        yield


@pytest.fixture(autouse=True)
def limits(request, turn):
    """Every test ends, and so does every process it started."""
    support.started.clear()
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
    if report.failed:
        report.sections.append(("to repeat it", reports.how_to_repeat(item)))


@pytest.fixture
def server_kind(request):
    """The Kind of server that the test is to run on."""
    return KINDS[getattr(request, "param", PLAIN)]


@pytest.fixture
def asked(tmp_path):
    """What a checked server asks of the system, if it is started with the
    environment that is here."""
    return support.Asked(tmp_path / "asked")


@pytest.fixture
def start_server(server_kind):
    """start_server(*arguments): a Server, for tests that stop it themselves.

    It must not have died by itself before the test stopped it.
    """
    assert not isinstance(server_kind, Step), "steps have no stop"
    return server_kind.start


@pytest.fixture
def server(server_kind):
    """A server as it is without further arguments; ended after the test."""
    running = server_kind.start()
    yield running
    server_kind.end(running)
