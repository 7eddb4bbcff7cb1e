"""The servers a test can run on: the plain one, its modes, the steps.

A test that starts its server with the fixture `server` or `start_server` runs
on the plain one. A marker names others, for a module or a test:

    pytestmark = pytest.mark.servers(PLAIN, *MODES, *STEPS)

Another marker excludes some from a test, with the reason:

    @pytest.mark.not_for(*STEPS, because="they have no options")

The test's name then ends with the server's: test_any_size[batch].
"""

import collections

import pytest

import support
from support import BUF_SIZE, LARGE_BUFFER, Server, fields, wait_until

PLAIN = "plain"
NO_PEER = "peer=0.0.0.0:0"  # of an accept that has failed or was cancelled


class Kind:
    """A server that is started with these options."""

    def __init__(self, *options, buffer=LARGE_BUFFER):
        self.options = options
        self.buffer = buffer  # most bytes that it has for a connection

    def start(self, *arguments, **how):
        """Starts it. The test's arguments come after the kind's options, so
        they win."""
        return Server(*self.options, *arguments, **how)

    def end(self, server):
        """Stops it after a test. It must not have ended or complained before;
        its status is 0, and its totals add up."""
        assert server.alive(), f"the server died: {server.errors}"
        server.stop()
        # A line about a client that left before it was accepted is all right.
        assert [line for line in server.errors
                if "this client only" not in line] == []


class Step(Kind):
    """One of src/steps, which have no options. `most`: how many clients it
    can have; `ends`: whether Ctrl+C ends it in order."""

    def __init__(self, name, most=None, ends=False):
        super().__init__(buffer=BUF_SIZE)
        self.program = support.STEPS / f"{name}.exe"
        self.most, self.ends = most, ends

    def start(self):
        return Server(program=self.program)

    def end(self, server):
        """Ends it after a test. It must not have ended or complained before,
        and must have closed every client exactly once."""
        def peers(event):
            return collections.Counter(
                fields(x)["peer"] for x in server.matching(event)
                if NO_PEER not in x)
        # Clients that have closed may still wait to be accepted.
        done = wait_until(lambda: peers("^accept ")
                          == peers("^(close|failed) "))
        assert server.alive(), f"the server died: {server.errors}"
        if self.ends:
            server.signal_stop()
            assert server.wait_end() == 0
            assert server.lines[-1] == "stopped"
        else:
            server.kill()
        # A line about a client that left before it was accepted is all right.
        assert [line for line in server.errors
                if ": accept failed: code " not in line] == []
        assert done, (peers("^accept ") - peers("^(close|failed) "),
                      peers("^(close|failed) ") - peers("^accept "))


MODES = {
    "small-buffer": Kind("--buffer", BUF_SIZE, buffer=BUF_SIZE),
    "batch": Kind("--workers", 4, "--batch", 256),
    "inline": Kind("--workers", 2, "--inline", 1),
    "zero-byte": Kind("--workers", 2, "--zero-byte-recv"),
    "together": Kind("--workers", 4, "--batch", 256, "--inline", 7,
                     "--zero-byte-recv"),
}
STEPS = {
    "step1": Step("step1_threads"),
    "step2": Step("step2_events", most=63),
    "step3": Step("step3_completion_routine"),
    "step4": Step("step4_iocp"),
    "step5": Step("step5_end", ends=True),
    "step6": Step("step6_acceptex", ends=True),
}
KINDS = {PLAIN: Kind(), **MODES, **STEPS}

# `make test-all` asks these what `make test` asks the other steps: the
# chapter's two, and the last, which has all that step 5 has.
BETWEEN = {"step1", "step2", "step5"}

takes_long = pytest.mark.not_for(
    "small-buffer", "batch", "inline",
    because="it takes a while, and only the other modes can go wrong here in "
            "a way of their own")


def chosen(servers, exceptions):
    """Returns the names in `servers` that no `not_for` excludes, as pytest's
    parameters."""
    names = list(servers.args)
    for marker in exceptions:
        assert marker.kwargs["because"]
        for name in marker.args:
            assert name in names, f"no exception: {name} in {names}"
            names.remove(name)
    return [pytest.param(name, marks=pytest.mark.thorough)
            if name in BETWEEN and "step4" in names else name
            for name in names]
