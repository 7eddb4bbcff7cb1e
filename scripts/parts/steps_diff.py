#!/usr/bin/env python3
"""Shows two neighbours of src/steps side by side: what the next step changes.

usage: steps_diff.py N

Shows step N and the one after it: on the terminal, and as a page,
build/steps/N-M.html. The programs share much of their text, so what differs
is the lesson. Their first comments are left out on the terminal.
"""

import os
import sys

if __name__ == "__main__":  # first: the other imports take their time
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(
        __file__))))
    from parts import words
    words.begin("steps_diff.py")

import difflib
import html
import itertools
import pathlib
import re
import shutil

from parts import files, program
from parts.arguments import Parser

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src" / "steps"
PAGES = ROOT / "build" / "steps"
CONTEXT = 3       # equal lines around what differs
SIDE = (20, 79)   # least and most columns of a side on a terminal

STYLE = """
body { margin: 1rem; background: #FBFAF7; color: #1B1B1B;
  font: 1rem/1.4 "Segoe UI", "Malgun Gothic", "Noto Sans", system-ui,
  sans-serif; }
.about { display: flex; gap: 1rem; }
.about pre { flex: 1; }
pre, table.diff { font-family: Consolas, "DejaVu Sans Mono", monospace;
  font-size: clamp(9px, 0.9vw, 1.1rem); }
table.diff { border-collapse: collapse; }
table.diff td { padding: 0 0.4rem; vertical-align: top; }
.diff_header { color: #57534B; text-align: right; }
.diff_next { display: none; }
.diff_add { background: #CBE6C9; }
.diff_chg { background: #FBE3A0; }
.diff_sub { background: #F3C6B0; }
"""


def steps():
    """Returns the sources of the steps by their numbers."""
    return {int(re.match(r"step(\d+)_", path.name)[1]): path
            for path in SOURCES.glob("step*_*.c")}


def parts_of(path):
    """Returns a step's first comment, and the lines of its code."""
    about, end, code = path.read_text(encoding="ascii").partition("*/\n")
    return about + end, code.splitlines()


def rows(old, new):
    """Yields (left, mark, right) for each line that differs and those near
    it, and None between two such places."""
    groups = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for number, group in enumerate(groups.get_grouped_opcodes(CONTEXT)):
        if number:
            yield None
        for kind, i, i_end, j, j_end in group:
            mark = {"equal": " ", "replace": "|", "delete": "<",
                    "insert": ">"}[kind]
            for left, right in itertools.zip_longest(old[i:i_end],
                                                     new[j:j_end]):
                yield (left or "", "<" if right is None else
                       ">" if left is None else mark, right or "")


def pieces(line, width):
    """Returns the line in pieces that fit."""
    return [line[i:i + width] for i in range(0, len(line), width)] or [""]


def make_text(old, new, columns):
    """Returns both sides for a terminal of so many columns."""
    width = min(max((columns - 4) // 2, SIDE[0]), SIDE[1])
    lines = []
    for row in rows(old, new):
        if row is None:
            lines.append("-" * (2 * width + 3))
            continue
        left, mark, right = row
        lines += [f"{a:{width}} {mark} {b}".rstrip() for a, b in
                  itertools.zip_longest(pieces(left, width),
                                        pieces(right, width), fillvalue="")]
    return "\n".join(lines) + "\n"


def make_page(first, second):
    """Returns a page that loads nothing else."""
    abouts, codes = zip(parts_of(first), parts_of(second))
    title = f"{first.stem} - {second.stem}"
    about = "".join(f"<pre>{html.escape(x)}</pre>" for x in abouts)
    table = difflib.HtmlDiff(tabsize=4).make_table(
        *codes, first.name, second.name, context=True, numlines=CONTEXT)
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f"<title>{title}</title><style>{STYLE}</style></head>\n"
            f'<body><h1>{title}</h1><div class="about">{about}</div>\n'
            f"{table}</body></html>\n")


@program.entry
def main():
    known = steps()
    parser = Parser(description="What the step after step N changes.")
    parser.add_argument("number", metavar="N", type=int,
                        help=f"{min(known)} to {max(known) - 1}")
    number = parser.parse_args().number
    if number not in known or number + 1 not in known:
        parser.error(f"no step after {number}: FROM is {min(known)} to "
                     f"{max(known) - 1}")
    first, second = known[number], known[number + 1]
    page = PAGES / f"{number}-{number + 1}.html"
    PAGES.mkdir(parents=True, exist_ok=True)
    files.write(page, make_page(first, second))
    columns = shutil.get_terminal_size((2 * SIDE[1] + 4, 24)).columns
    print(f"{first.name} - {second.name}")
    print(make_text(parts_of(first)[1], parts_of(second)[1], columns), end="")
    print(f"as a page: {page.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
