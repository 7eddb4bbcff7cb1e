"""Puzzles: a broken source fails its check, the right one passes, and nothing
that is printed says what is broken."""

import re
import shutil

import pytest

from simulated import simulate
from simulated.mutants import MUTANTS
from support import ROOT, load_script
from parts import language, puzzles  # where support finds the scripts

puzzle = load_script("puzzle")

NUMBERS = range(1, len(puzzles.PUZZLES) + 1)
SAMPLE = 4  # the others are looked at by `make test-all`
HANGUL = re.compile("[\uac00-\ud7a3]")

# Each is built, and asked for all that a server must do.
checks = pytest.mark.limit(600)


@pytest.fixture(autouse=True)
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.setattr(puzzle, "DIRECTORY", tmp_path / "caf\u00e9 it's")


def work(number):
    return puzzle.Work(number, puzzle.DIRECTORY)


def mend(mine):
    """Does what a student does who has found the mistake."""
    for path in (ROOT / "src").glob("*.c"):
        shutil.copy(path, mine.path / "src")


# ----------------------------------- texts -----------------------------------

def test_there_are_twelve_that_differ():
    mutants = [each.mutant for each in puzzles.PUZZLES]
    assert len(mutants) == len(set(mutants)) == 12
    assert set(mutants) <= set(MUTANTS)


@pytest.mark.parametrize("chosen", language.LANGUAGES)
def test_no_text_says_the_cause(chosen, capsys):
    """Nor does it lack in one language."""
    assert puzzle.main(["--lang", chosen]) == 0
    listed = capsys.readouterr().out
    assert len(re.findall(r"^ *\d+  \S", listed, re.M)) == 12
    for number in NUMBERS:
        mine = work(number)
        mine.tell()
        told = capsys.readouterr().out
        for text in listed, told:
            assert mine.puzzle.mutant not in " ".join(text.split())
            assert MUTANTS[mine.puzzle.mutant][0] not in text  # the file
        assert bool(HANGUL.search(told)) is (chosen == "ko")
        assert f"{number} --check" in told
        for line in mine.puzzle.do:
            assert line.partition(" ")[2] in told


@pytest.mark.parametrize("number", ["0", "13", "x", "3\n", "\u0663"])
def test_no_such_puzzle(number, capsys):
    assert puzzle.main([number]) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    assert "there are 1 to 12" in said.err


# ----------------------------------- work ------------------------------------

def test_work_is_kept_unless_the_student_says_again(monkeypatch, capsys):
    monkeypatch.setattr(puzzle.Work, "build", lambda self: None)
    mine = work(SAMPLE)
    assert puzzle.main([str(SAMPLE)]) == 0
    assert "stays" not in capsys.readouterr().out
    source = mine.path / "src" / "registry.c"
    first = source.read_bytes()
    assert first != (ROOT / "src" / "registry.c").read_bytes()
    source.write_bytes(first + b"/* my note */\n")
    assert puzzle.main([str(SAMPLE)]) == 0
    assert "stays" in capsys.readouterr().out
    assert source.read_bytes() == first + b"/* my note */\n"
    assert puzzle.main([str(SAMPLE), "--again"]) == 0
    assert source.read_bytes() == first


def test_what_does_not_compile(capsys):
    mine = work(SAMPLE)
    mine.write()
    with open(mine.path / "src" / "echo.c", "a", encoding="ascii") as source:
        source.write("int broken(void) { return nonsense; }\n")
    for arguments in ([str(SAMPLE), "--check"], [str(SAMPLE)]):
        assert puzzle.main(arguments) == 1
        said = capsys.readouterr()
        assert re.search(r"echo\.c.*error.*nonsense", said.out)
        assert said.err.splitlines() == ["puzzle.py: it can't be built"]


# ----------------------------------- check -----------------------------------

@checks
@pytest.mark.parametrize("number", [
    pytest.param(n, marks=[] if n == SAMPLE else pytest.mark.thorough)
    for n in NUMBERS])
def test_a_broken_server_fails_its_check(number, monkeypatch, capsys):
    """Where the simulated Windows says so, the slower tests are left out."""
    if number != SAMPLE and not simulate.why_not():
        monkeypatch.setattr(puzzle, "BEHAVIOURS", [])
    assert puzzle.main([str(number), "--check"]) == 1
    changed, lives, *behaviours = capsys.readouterr().out.splitlines()
    assert changed.startswith("does not hold: ")
    assert len(behaviours) == len(puzzle.BEHAVIOURS)
    assert all(re.match("(holds|does not hold|not asked): ", line)
               for line in behaviours)
    if number == SAMPLE:
        assert [line.partition(":")[0] for line in behaviours] == [
            "holds", "holds", "does not hold", "holds", "holds"]
    if not simulate.why_not():
        assert lives.startswith("does not hold: ")
        assert (work(number).path / "story.txt").stat().st_size > 500


@pytest.mark.thorough
@checks
def test_the_right_source_passes(capsys):
    mine = work(12)
    mine.write()
    mend(mine)
    assert puzzle.main(["12", "--check"]) == 0, capsys.readouterr().out
    lines = capsys.readouterr().out.splitlines()
    assert all(re.match("holds: |not asked: ", line) for line in lines), lines
