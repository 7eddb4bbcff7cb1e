#!/usr/bin/env python3
"""Counts how large the server's source is, and checks each limit.

usage: count.py [DIRECTORY]

Counts src/*.c and src/*.h, without src/steps, all C of tests/simulated, and
README.md of the project or of DIRECTORY. Prints each figure with its limit,
then what exceeds one. Exit status: 0 within all limits, 1 over one, 2 could
not count.

A line of code has more on it than blanks and comment. A function's lines go
from the first line of its head to its closing brace.

A variable that changes is one that the compiler put in writable memory, as nm
shows: no typedef or macro hides one, a static inside a function counts too,
and the compiler decides what is const. count.py compiles the objects itself,
because those of a build may be old, and without optimization, which removes
variables.

A room is X.c with X.h. It stands on the rooms whose headers it includes and
on those it calls (by nm again, because a call can do without the header). Its
floor is one above the highest of them. Rooms that stand on each other form a
circle and have no floor.
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import unicodedata

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPILER = ["x86_64-w64-mingw32-gcc", "-std=c11", "-O0", "-c"]
NM = "x86_64-w64-mingw32-nm"
TIMEOUT = 60  # seconds
SHOWN = 20    # culprits shown for each limit

NOT_CORE = re.compile(r"(trace|work|options|log|version)(_\w+)?$")
TRACE = re.compile(r"trace(_\w+)?$")

LIMITS = {
    "lines of code, core": 1200,
    "lines of code, all": 2050,
    "lines of code, worker.c": 150,
    "lines of code, trace": 330,
    "lines of code, simulated": 2800,
    "lines of the longest function": 40,
    "variables that change": 15,
    "rooms in a circle": 0,
    "floors": 7,
    "lines of README.md": 220,
    "columns of README.md": 100,
}

COMMENT_OR_LITERAL = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'""",
    re.DOTALL | re.VERBOSE)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*["<](?:.*/)?(\w+)\.h[">]',
                     re.MULTILINE)
SYMBOL = re.compile(r"^(?:[0-9a-f]+| +) ([A-Za-z]) (\w\S*)$", re.MULTILINE)


class CannotCount(Exception):
    """The text says why."""


# ---------------------------------- text ------------------------------------


def blank(match):
    """Replaces the text by spaces and keeps its line ends."""
    return re.sub(r"[^\n]", " ", match[0])


def without_comments(text):
    return COMMENT_OR_LITERAL.sub(
        lambda match: blank(match) if match[0][0] == "/" else match[0], text)


def lines_of_code(text):
    return sum(1 for line in without_comments(text).splitlines()
               if line.strip())


def name_of(head):
    """Returns the name of the function with this head; None if it is none."""
    head, open_ones = head.rstrip(), 0
    if not head.endswith(")"):
        return None
    for place in range(len(head) - 1, -1, -1):
        open_ones += {")": 1, "(": -1}.get(head[place], 0)
        if open_ones == 0:
            name = re.search(r"(\w+)\s*$", head[:place])
            return name and name[1]
    return None


def functions(text):
    """Returns (name, lines) of each function in a source."""
    text = DIRECTIVE.sub(blank, COMMENT_OR_LITERAL.sub(blank, text))
    found, depth, head, body = [], 0, None, None
    for match in re.finditer(r"[{};]|[^\s{};]+", text):
        if head is None:
            head = match.start()
        if match[0] == "{":
            depth += 1
            if depth == 1:
                body = match.start()
        elif match[0] == "}":
            depth -= 1
            name = name_of(text[head:body]) if depth == 0 else None
            if name is not None:
                found.append((name, 1 + text.count("\n", head, match.end())))
                head = None
        elif match[0] == ";" and depth == 0:
            head = None
        if depth < 0:
            break
    if depth != 0:
        raise CannotCount("braces that do not match")
    return found


def columns(line):
    """Returns the line's width on a screen, where a Korean letter takes two
    columns."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1
               for letter in line)


# --------------------------------- objects ----------------------------------


def run(line):
    """Runs a command. Returns what it printed."""
    try:
        done = subprocess.run(line, stdin=subprocess.DEVNULL,
                              capture_output=True, encoding="utf-8",
                              errors="replace", timeout=TIMEOUT)
    except FileNotFoundError:
        raise CannotCount(f"{line[0]} is not installed: "
                          "sh scripts/setup.sh x86_64")
    if done.returncode != 0:
        raise CannotCount(f"{line[0]} failed: {done.stderr}")
    return done.stdout


def symbols(source):
    """Compiles a source. Returns (letter, name) of each symbol: see man nm."""
    with tempfile.TemporaryDirectory() as directory:
        target = pathlib.Path(directory) / "object.o"
        run([*COMPILER, "-o", str(target), str(source)])
        return SYMBOL.findall(run([NM, str(target)]))


def floors_of(below):
    """Returns the rooms by floors, from the lowest, and those in a circle.
    `below` maps each room to those it stands on."""
    floors = []
    while True:
        floor = {room for room in below if not below[room]}
        if not floor:
            break
        floors.append(sorted(floor))
        below = {room: below[room] - floor for room in below
                 if room not in floor}
    while True:  # rooms that only stand on a circle are not in it
        top = set(below).difference(*below.values())
        if not top:
            return floors, sorted(below)
        below = {room: below[room] for room in below if room not in top}


# --------------------------------- figures ----------------------------------


class Count:
    """All figures of a directory, and the culprits if one is over."""

    def __init__(self, root):
        paths = sorted((root / "src").glob("*.[ch]"))
        if not paths:
            raise CannotCount(f"no source in '{root / 'src'}'")
        self.texts = {path: path.read_text(encoding="utf-8") for path in paths}
        self.objects = {path.stem: symbols(path) for path in paths
                        if path.suffix == ".c"}
        self.figures, self.culprits = {}, {}
        self.count_lines()
        self.count_simulated(root / "tests" / "simulated")
        self.count_functions()
        self.count_variables()
        self.count_floors()
        self.count_readme(root / "README.md")

    def add(self, name, value, culprits=()):
        self.figures[name], self.culprits[name] = value, culprits

    def add_lines(self, name, texts):
        """Adds the lines of code in texts, a mapping from paths."""
        some = sorted(((lines_of_code(text), path.name)
                       for path, text in texts.items()), reverse=True)
        self.add(f"lines of code, {name}", sum(x for x, _ in some),
                 [", ".join(f"{name} {x}" for x, name in some)])

    def count_simulated(self, directory):
        self.add_lines("simulated", {
            path: path.read_text(encoding="utf-8")
            for path in directory.rglob("*.[ch]")})

    def count_lines(self):
        def add(name, is_counted):
            self.add_lines(name, {path: text for path, text
                                  in self.texts.items() if is_counted(path)})
        add("core", lambda path: not NOT_CORE.match(path.stem))
        add("all", lambda path: True)
        add("worker.c", lambda path: path.name == "worker.c")
        add("trace", lambda path: TRACE.match(path.stem))

    def count_functions(self):
        longest, too_long = 0, []
        for path, text in self.texts.items():
            try:
                found = functions(text)
            except CannotCount as error:
                raise CannotCount(f"{path}: {error}")
            for name, lines in found:
                longest = max(longest, lines)
                if lines > LIMITS["lines of the longest function"]:
                    too_long.append(f"{path.name}: {name} has {lines}")
        self.add("lines of the longest function", longest, too_long)

    def count_variables(self):
        found = {room: [name for letter, name in symbols
                        if letter in "BbCcDdGgSsVv"]
                 for room, symbols in self.objects.items()}
        self.add("variables that change", sum(map(len, found.values())),
                 [f"{room}.c: {', '.join(names)}"
                  for room, names in found.items() if names])

    def count_floors(self):
        rooms = {path.stem for path in self.texts}
        below = {room: set() for room in rooms}
        for path, text in self.texts.items():
            below[path.stem] |= rooms.intersection(
                INCLUDE.findall(without_comments(text)))
        owner = {name: room for room, symbols in self.objects.items()
                 for letter, name in symbols if letter.isupper()
                 and letter != "U"}
        for room, symbols in self.objects.items():
            below[room] |= {owner[name] for letter, name in symbols
                            if letter == "U" and name in owner}
        for room in rooms:
            below[room].discard(room)
        floors, circle = floors_of(below)
        self.add("rooms in a circle", len(circle), [
            f"{room} stands on {', '.join(sorted(below[room] & set(circle)))}"
            for room in circle])
        self.add("floors", len(floors), [
            f"{number}: {', '.join(floor)}"
            for number, floor in reversed(list(enumerate(floors, 1)))])

    def count_readme(self, path):
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        lines = text.splitlines()
        limit = LIMITS["columns of README.md"]
        self.add("lines of README.md", len(lines))
        self.add("columns of README.md", max(map(columns, lines), default=0), [
            f"line {number} has {columns(line)}"
            for number, line in enumerate(lines, 1) if columns(line) > limit])

    def show(self):
        """Prints the figures. Returns whether all are within their limits."""
        over = [name for name in LIMITS if self.figures[name] > LIMITS[name]]
        for name, limit in LIMITS.items():
            print(f"{name:30} {self.figures[name]:6,} of {limit:6,}"
                  f"{'  over' if name in over else ''}")
        for name in over:
            culprits = self.culprits[name]
            for culprit in culprits[:SHOWN]:
                print(f"{name}: {culprit}")
            if culprits[SHOWN:]:
                print(f"{name}: and {len(culprits) - SHOWN} more")
        return not over


def main():
    if len(sys.argv) > 2 or sys.argv[1:2] in (["-h"], ["--help"]):
        print(__doc__)
        return 2
    root = pathlib.Path(sys.argv[1]) if sys.argv[1:] else ROOT
    try:
        within = Count(root).show()
    except (CannotCount, OSError, subprocess.SubprocessError) as error:
        print(f"count.py: {error}", file=sys.stderr)
        return 2
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
