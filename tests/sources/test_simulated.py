"""The server's own sources on a simulated Windows: see tests/simulated.

Every seed gives a life that passes all checks, and the same one in every
process. Servers that are broken on purpose are found.
"""

import re
import shutil
import threading

import pytest

from simulated import cases, simulate
from simulated.mutants import MUTANTS, RARE, broken

pytestmark = [pytest.mark.skipif(bool(simulate.why_not()),
                                 reason=str(simulate.why_not())),
              pytest.mark.limit(600)]  # it computes: other load counts

SEEDS = 2000  # a mistake must be found within these
ALL_RIGHT = re.compile(r"^(\d+) lives, \d+ steps, all as they should be; "
                       r"the last: (\w+)$", re.MULTILINE)

# How to run the lives: the build and the arguments.
KINDS = {"": ("plain", []), "faults": ("plain", ["--faults"]),
         "races": ("races", []), "races, faults": ("races", ["--faults"])}
TRACED = 400  # lives, some of which write a trace


@pytest.fixture(scope="module")
def programs():
    return {kind: simulate.build(kind) for kind in simulate.SERVER}


def lives(program, *arguments):
    """Checks that all pass. Returns what happened in the last, as a number."""
    done = simulate.run(program, *arguments)
    right = ALL_RIGHT.search(done.stdout)
    assert done.returncode == 0 and right, (
        f"{done.stdout[-3000:]}\nTo repeat it: make simulate SEED=N")
    if int(right[1]) > SEEDS:
        assert "never failed" not in done.stdout, done.stdout
    return right[2]


@pytest.mark.parametrize("how, count", [
    ("", 20000), ("faults", 5000), ("races", 5000)])
def test_every_life_is_as_it_should_be(programs, how, count):
    kind, arguments = KINDS[how]
    lives(programs[kind], "--count", count, *arguments)


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs valgrind")
def test_instructions_are_the_same_in_every_run(tmp_path):
    """And for every echo."""
    few, again, more, most = [
        simulate.instructions(tmp_path / "profile", echoes)
        for echoes in (10, 10, 30, 50)]
    assert few == again
    for function in ("worker.c EchoThreadMain", "connection.c post",
                     "echo.c echo_answer"):
        assert (most[function] - more[function]
                == more[function] - few[function] > 0)


@pytest.mark.parametrize("nth", [1, 2])
def test_interrupted_as_it_begins(monkeypatch, nth):
    """No thread that it started keeps the script from ending."""
    begun = []

    def interrupted(thread):
        start(thread)
        begun.append(thread)
        if len(begun) == nth:
            raise KeyboardInterrupt
    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulate.live("cat", [])
    assert len(begun) == nth
    assert all(thread.daemon or not thread.is_alive() for thread in begun)


@pytest.mark.parametrize("how", KINDS)
def test_a_seed_means_the_same_in_every_process(programs, how):
    kind, arguments = KINDS[how]
    for seed in (17, 400):
        assert (lives(programs[kind], "--seed", seed, *arguments)
                == lives(programs[kind], "--count", seed, *arguments))


def test_every_trace_is_whole(programs):
    count, wrong = simulate.traces(programs["plain"], TRACED)
    assert count > TRACED / 10 and wrong is None, wrong


def test_the_sources_are_covered(programs):
    blocks, missed = simulate.coverage(
        programs["plain"], ["--count", 4000], ["--count", 4000, "--faults"])
    assert blocks > 500
    assert len(missed) < blocks * 0.05, "\n".join(dict.fromkeys(missed))


def build_mutant(directory, name):
    source, text = broken(name)
    (directory / source).write_text(text, encoding="ascii")
    how = MUTANTS[name][-1]
    kind, arguments = KINDS.get(how, KINDS[""])
    return (simulate.build(kind, [directory / source], directory), how,
            arguments)


# `make test` looks for each ninth.
@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[] if i % 9 == 3 else pytest.mark.thorough)
    for i, name in enumerate(MUTANTS)])
def test_a_broken_server_is_found(tmp_path, programs, name):
    program, how, arguments = build_mutant(tmp_path, name)
    if how == "trace":
        assert simulate.traces(program, TRACED)[1], f"not found: {name}"
        return
    seeds = RARE.get(name, SEEDS)
    done = simulate.run(program, "--count", seeds, *arguments)
    assert re.search(r"^seed \d+: ", done.stdout, re.MULTILINE), (
        f"not found in {seeds} lives: {name}")


@pytest.mark.parametrize("name", cases.CASES)
def test_a_failure_that_was_found_is_not_there_any_more(tmp_path, programs,
                                                        name):
    mutant = cases.CASES[name][0]
    life = cases.life(name)
    program, how, _ = build_mutant(tmp_path, mutant)
    done = simulate.live(programs[KINDS[how][0]], [life])
    assert done.returncode == 0, done.stdout
    done = simulate.live(program, [life])
    assert re.search(r"^case ", done.stdout, re.MULTILINE), (
        f"not found: {mutant}\n{done.stdout}")


def test_a_failure_is_told_with_few_steps(tmp_path, programs):
    program, *_ = build_mutant(tmp_path, "sends are cancelled with receives")
    first = simulate.FAILED.search(simulate.run(program, "--count",
                                                SEEDS).stdout)
    life = simulate.of_seed(int(first[2]))
    few = simulate.fewest_steps(program, life)
    told = simulate.live(program, [few], story=True).stdout
    last = simulate.FAILED.search(told)
    assert last[1] == first[1] and "a WRITE is cancelled" in last[3]
    assert int(last[4]) <= int(first[4])
    assert len("".join(few)) < len("".join(life))
    assert re.search(r"ms  main 0 +> stopping reason=", told)
