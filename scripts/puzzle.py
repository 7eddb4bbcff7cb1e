#!/usr/bin/env python3
"""Servers broken on purpose, for students to mend.

usage: puzzle.py [N] [--check] [--again]

Without N it lists the puzzles. With N it writes the source of a broken server
into build/puzzles/N, builds it, and says what a user reports and how to see
it. What a student has changed there stays, unless --again is given. --check
builds what is there and says what holds and what does not. Exit status: 0 all
holds, 1 something does not, or it could not be built, 2 there is no such
puzzle.
"""

import os
import sys

if __name__ == "__main__":  # first: the other imports take their time
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from parts import words
    words.begin("puzzle.py")

import re
import shutil
import subprocess

import launch
from parts import costs, language, program, run_tests, words
from parts.arguments import Parser
from parts.language import say
from parts.puzzles import (BEHAVIOURS, CHANGED, LIVES, LIVES_ARE_RIGHT,
                           PUZZLES, grade)
from parts.words import Failure

DIRECTORY = launch.ROOT / "build" / "puzzles"
COPIED = ["Makefile", "NMakefile", "scripts/build.cmd"]  # and src/*.*
COLUMNS = 78
BUILD_TIMEOUT = 300  # seconds
ASK_TIMEOUT = 240    # for the tests of one behaviour
TEST_TIMEOUT = 30    # for one of them
ENOUGH = 4           # of what does not hold: the rest would take its time


def paragraph(text, indent="  "):
    for line in language.wrap(text, COLUMNS - len(indent)):
        print(indent + line)


# --------------------------------- one puzzle --------------------------------

class Work:
    """What a student has of one puzzle."""

    def __init__(self, number, directory):
        self.number, self.puzzle = number, PUZZLES[number - 1]
        self.path = directory / str(number)
        self.server = self.path / "build" / "iocp_echo_server.exe"

    def broken(self):
        """Returns the file with the mistake, and its text."""
        costs.simulation()  # finds the folder of the tests
        from simulated import mutants
        return mutants.broken(self.puzzle.mutant)

    def write(self):
        """Writes the broken source, with what builds it."""
        source, text = self.broken()
        shutil.rmtree(self.path, ignore_errors=True)
        for old in [*launch.ROOT.glob("src/*.*"),
                    *(launch.ROOT / name for name in COPIED)]:
            new = self.path / old.relative_to(launch.ROOT)
            new.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(old, new)
        (self.path / "src" / source).write_bytes(text.encode("ascii"))

    def build(self):
        """Raises Failure after what the compiler has said."""
        line = (["cmd", "/d", "/c", r"scripts\build.cmd"] if launch.WINDOWS
                else ["make", "--silent", f"-j{os.cpu_count()}", "SETUP="])
        # What the make that runs this was told is not meant for that one.
        env = {name: value for name, value in os.environ.items()
               if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
        done = subprocess.run(
            line, cwd=self.path, env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=BUILD_TIMEOUT)
        if done.returncode != 0:
            sys.stdout.write(done.stdout.decode("utf-8", "replace"))
            raise Failure(say({"en": "it can't be built",
                               "ko": "빌드할 수 없습니다"}))

    def shown(self, path):
        return os.path.relpath(path, launch.ROOT)

    def tell(self):
        """Says the symptom, how to see it, and how to go on."""
        python = "py" if launch.WINDOWS else "python3"
        server, client = self.shown(self.server), os.path.join(
            "scripts", "echo_client.py")
        if not launch.WINDOWS:
            server = f"python3 scripts/launch.py {server}"
        print(say({"en": "Puzzle {n} ({grade}). A user reports:",
                   "ko": "문제 {n} ({grade}). 사용자가 알려 왔습니다."},
                  n=self.number, grade=grade(self.number)))
        paragraph(say(self.puzzle.report))
        print(say({"en": "\nTo see it, in two windows or more:",
                   "ko": "\n창을 두 개 이상 열고 확인합니다."}))
        for line in self.puzzle.do:
            print("    " + line.format(server=server,
                                       client=f"{python} {client}"))
        paragraph(say(self.puzzle.see))
        print(say({
            "en": "\nThe source is in {path}. Find the mistake, mend it, and "
                  "check:\n    {check}",
            "ko": "\n소스는 {path}에 있습니다. 잘못을 찾아 고친 뒤에 "
                  "확인하십시오.\n    {check}",
        }, path=self.shown(self.path / "src"),
            check=f"{python} {os.path.join('scripts', 'puzzle.py')} "
                  f"{self.number} --check"))

    # ------------------------------- checking ------------------------------

    def is_changed(self):
        """Without the simulation not every mistake can be seen."""
        source, text = self.broken()
        return (self.path / "src" / source).read_bytes() != text.encode()

    def sources(self):
        """Copies the sources that differ from the right ones to where the
        simulation may put its objects. Returns the paths of the copies."""
        copies = self.path / "simulated"
        shutil.rmtree(copies, ignore_errors=True)
        shutil.copytree(self.path / "src", copies)
        right = {path.name: path.read_bytes()
                 for path in launch.ROOT.glob("src/*.[ch]")}
        changed = {path for path in copies.glob("*.[ch]")
                   if path.read_bytes() != right.get(path.name)}
        if any(path.suffix == ".h" for path in changed):
            changed = set(copies.glob("*.c"))
        return sorted(changed)

    def lives(self):
        """Returns whether the server lives well on the simulated Windows. If
        not, writes the story of a life in which it does not."""
        simulation = costs.simulation()
        try:
            made = simulation.build("plain", self.sources(),
                                    self.path / "simulated")
        except subprocess.CalledProcessError:
            raise Failure(say({
                "en": "gcc could not build it for the simulation",
                "ko": "시뮬레이션용으로 빌드할 수 없습니다"})) from None
        done = simulation.run(made, "--count", LIVES)
        story = self.path / "story.txt"
        failed = simulation.FAILED.search(done.stdout)
        if failed:
            life = simulation.fewest_steps(made, simulation.of_seed(
                int(failed[2])))
            story.write_text(simulation.live(made, [life], story=True).stdout,
                             encoding="utf-8")
        elif done.returncode != 0:
            story.write_text(done.stdout, encoding="utf-8")
        elif story.exists():
            story.unlink()
        return done.returncode == 0

    def behaves(self, python, tests, which):
        """Returns whether these tests pass, and the name of one that does
        not, or ""."""
        env = {**run_tests.ENVIRONMENT, "SERVER": str(self.server),
               "TEST_TIMEOUT": str(TEST_TIMEOUT)}
        env.pop("PYTEST_XDIST_WORKER", None)  # this may be a test itself
        try:
            done = subprocess.run(
                [*python, "-m", "pytest", "-q", "-x", "--tb=no", "-m",
                 "not own_build", "-k", which, "-o",
                 f"cache_dir={self.path / 'pytest'}",
                 str(run_tests.TESTS / "server" / f"{tests}.py")], env=env,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, timeout=ASK_TIMEOUT)
        except subprocess.TimeoutExpired:
            return False, ""
        if done.returncode not in (0, 1):
            raise Failure("pytest: " + done.stdout.decode("utf-8", "replace"))
        name = re.search(rb"^(?:FAILED|ERROR) \S+::(\w+)", done.stdout, re.M)
        return done.returncode == 0, name[1].decode() if name else ""

    def check(self):
        """Says what holds. Returns whether all does."""
        results = []

        def result(holds, what, more=""):
            """`holds` is None for what was not asked."""
            verdict = {True: {"en": "holds", "ko": "맞음"},
                       False: {"en": "does not hold", "ko": "틀림"},
                       None: {"en": "not asked", "ko": "생략"}}[holds]
            print(f"{say(verdict)}: {say(what)}" + (f" ({more})" if more
                                                    else ""), flush=True)
            results.append(holds)
        result(self.is_changed(), CHANGED)
        why = costs.simulation().why_not()
        holds = None if why else self.lives()
        result(holds, language.fill(LIVES_ARE_RIGHT, n=LIVES), why or (
            "" if holds else self.shown(self.path / "story.txt")))
        python, _ = run_tests.find_python()
        for said, tests, which in BEHAVIOURS:
            holds, name = None, ""
            if results.count(False) < ENOUGH:
                holds, name = self.behaves(python, tests, which)
            result(holds, said, name)
        return False not in results


# ----------------------------------- main -----------------------------------

def list_puzzles():
    for number, puzzle in enumerate(PUZZLES, 1):
        print(f"{number:3}  {say(grade(number))}")
        paragraph(say(puzzle.report), "     ")


def parse_arguments(arguments):
    language.choose(arguments)
    parser = Parser(prog="puzzle.py", description=say({
        "en": "Servers broken on purpose, to mend. Without N: list them.",
        "ko": "일부러 망가뜨린 서버를 고치는 문제입니다. N을 쓰지 않으면 목록을 "
              "출력합니다."}))
    parser.add_argument("number", metavar="N", nargs="?", help=say({
        "en": "write this one's source into build/puzzles/N, and build it",
        "ko": "이 문제의 소스를 build/puzzles/N에 쓰고 빌드합니다"}))
    parser.add_argument("--check", action="store_true", help=say({
        "en": "build what is there, and say what holds",
        "ko": "거기 있는 소스를 빌드하고, 무엇이 맞는지 알려 줍니다"}))
    parser.add_argument("--again", action="store_true", help=say({
        "en": "write it again, over what has been changed there",
        "ko": "고친 것을 버리고 처음 소스를 다시 씁니다"}))
    language.add_option(parser)
    return parser.parse_args(arguments)


def choose(text):
    """Returns the number, or None if there is no such puzzle."""
    numbers = [str(n) for n in range(1, len(PUZZLES) + 1)]
    return int(text) if text in numbers else None


@program.entry
def main(arguments=None):
    """Returns the exit status."""
    options = parse_arguments(arguments)
    if options.number is None:
        list_puzzles()
        return 0
    number = choose(options.number)
    if number is None:
        print("puzzle.py: " + words.one_line(say({
            "en": "no puzzle '{n}'; there are 1 to {last}",
            "ko": "'{n}'번 문제는 없습니다. 1에서 {last}까지 있습니다",
        }, n=options.number, last=len(PUZZLES))), file=sys.stderr)
        return 2
    work = Work(number, DIRECTORY)
    there = work.path.exists() and not options.again
    if not there:
        work.write()
    work.build()
    if options.check:
        return 0 if work.check() else 1
    if there:
        print(say({
            "en": "{path} is there already, and stays as it is; --again "
                  "(AGAIN=1) writes it again\n",
            "ko": "{path}는 이미 있으므로 그대로 둡니다. 다시 쓰려면 "
                  "--again(AGAIN=1)을 붙이십시오\n"}, path=work.shown(
                      work.path)))
    work.tell()
    return 0


if __name__ == "__main__":
    sys.exit(main())
