#!/usr/bin/env python3
"""Runs the tools that examine the sources without running them.

usage: analyze.py [--fix] [format] [cppcheck] [gcc] [tidy] [flake8] [count]

Without a name it runs all. The first four read C, flake8 reads Python; count
prints the size of the server's source and checks its limits. .clang-format,
.clang-tidy, .flake8, tests/sources/count.py and this file set what each looks
for, and say why some checks are off. A false alarm is marked in its place,
with the reason. --fix reformats the C files. Exit status: 0 nothing found,
1 something found, 2 a tool is missing.
"""

import os
import sys

if __name__ == "__main__":  # first: the other imports take their time
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(
        __file__))))
    from parts import words
    words.begin("analyze.py")

import concurrent.futures
import difflib
import pathlib
import re
import shutil
import subprocess

from parts import program
from parts.arguments import Parser

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TIMEOUT = 600  # seconds, for each file
COMPILER = "x86_64-w64-mingw32-gcc"
LANGUAGE = "-std=c11"
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion"]

# Newer tools may find more, and format differently.
MADE_WITH = "The sources are clean with Debian 12's LLVM 14, cppcheck 2.10, " \
            "gcc 12 and flake8 5."

CPPCHECK = [
    "cppcheck", "--quiet", "--enable=all", "--inline-suppr",
    "--error-exitcode=1", "--std=c11", "--platform=win64", "--library=windows",
    "-D_WIN32", "-D_WIN64",
    # It uses its own description of Windows instead of the headers.
    "--suppress=missingIncludeSystem",
    # The server's sources call these, by the names in checked.h.
    "--suppress=unusedFunction:tests/checked/faults.c",
]


def sources():
    """Returns the C sources for Windows, relative to ROOT."""
    found = [path for directory in ("src", "src/steps", "tests/checked")
             for path in sorted((ROOT / directory).glob("*.c"))]
    return [path.relative_to(ROOT).as_posix() for path in found]


def headers():
    found = [path for directory in ("src", "tests/checked")
             for path in sorted((ROOT / directory).glob("*.h"))]
    return [path.relative_to(ROOT).as_posix() for path in found]


def simulated():
    """Returns the C files for Linux; only their format is checked."""
    return [path.relative_to(ROOT).as_posix()
            for path in sorted((ROOT / "tests" / "simulated").glob("*.[ch]"))]


def run(line):
    """Runs a tool. Returns what it printed if it found something, else ''."""
    done = subprocess.run(line, cwd=ROOT, stdin=subprocess.DEVNULL,
                          capture_output=True, encoding="utf-8",
                          errors="replace", timeout=TIMEOUT)
    if done.returncode == 0:
        return ""
    return done.stdout or done.stderr or f"{line} failed\n"


def run_each(lines):
    """Does the same for several, as many at once as there are CPUs."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(run, lines)
        try:
            return "".join(found)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


# ---------------------------------- tools -----------------------------------


def comments_moved(line):
    """Returns the line with one space before a comment: see .clang-format."""
    return re.sub(r" +/\*", " /*", line)


def formatted(path):
    """Returns the file's lines as they are, and as they should be."""
    text = (ROOT / path).read_text(encoding="ascii")
    new = subprocess.run(["clang-format", path], cwd=ROOT, check=True,
                         stdout=subprocess.PIPE, encoding="ascii",
                         timeout=TIMEOUT).stdout.splitlines(True)
    old = text.splitlines(True)
    result = []
    matcher = difflib.SequenceMatcher(
        None, *([comments_moved(x) for x in lines] for lines in (old, new)),
        autojunk=False)
    for kind, i, i_end, j, j_end in matcher.get_opcodes():
        result += old[i:i_end] if kind == "equal" else new[j:j_end]
    return old, result


def check_format(fix):
    """Returns the differences as a patch; with `fix` mends them."""
    found = ""
    for path in sources() + headers() + simulated():
        old, new = formatted(path)
        if old != new and fix:
            (ROOT / path).write_text("".join(new), encoding="ascii",
                                     newline="\n")
        elif old != new:
            found += "".join(difflib.unified_diff(old, new, path,
                                                  "as it should be"))
    return found and found + "analyze.py --fix format makes it so\n"


def check_cppcheck():
    return run([*CPPCHECK, *sources()])


def check_gcc():
    return run_each([COMPILER, LANGUAGE, "-O2", *WARNINGS, "-Werror",
                     "-fanalyzer", "-c", "-o", os.devnull, path]
                    for path in sources())


def check_tidy():
    """clang finds MinGW's headers beside MinGW's compiler. Leaves conversions
    to gcc: clang complains about an enumeration in a LONG."""
    return run_each(["clang-tidy", "--quiet", path, "--",
                     "--target=x86_64-w64-mingw32", LANGUAGE, "-Wall",
                     "-Wextra"]
                    for path in sources())


def check_flake8():
    return run(["flake8", "scripts", "tests"])


def check_count():
    """Counts. count.py prints its figures itself, whatever they are."""
    done = subprocess.run([sys.executable, "tests/sources/count.py"], cwd=ROOT,
                          stdin=subprocess.DEVNULL, timeout=TIMEOUT)
    return "" if done.returncode == 0 else "count.py: a limit is passed\n"


TOOLS = {  # name: the program, the check, the line printed before it
    "format": ("clang-format", check_format, "is it formatted?"),
    "cppcheck": ("cppcheck", check_cppcheck, "all checks"),
    "gcc": (COMPILER, check_gcc, "-fanalyzer, and all warnings"),
    "tidy": ("clang-tidy", check_tidy, "the checks of .clang-tidy"),
    "flake8": ("flake8", check_flake8, "Python: is it right, and in style?"),
    "count": (COMPILER, check_count, "is it small? tests/sources/count.py"),
}


@program.entry
def main():
    parser = Parser(
        description="What tools find in the sources without running them.")
    parser.add_argument("--fix", action="store_true", help="reformat files")
    parser.add_argument("tools", nargs="*", metavar="TOOL",
                        help="of " + ", ".join(TOOLS))
    arguments = parser.parse_args()
    status = 0
    for name in arguments.tools or TOOLS:
        if name not in TOOLS:
            parser.error(f"no tool '{name}'")
        program, check, what = TOOLS[name]
        if shutil.which(program) is None:
            print(f"analyze.py: {program} is not installed: "
                  "sh scripts/setup.sh x86_64 analysis", file=sys.stderr)
            return 2
        print(f"{program}: {what}", flush=True)
        found = check(arguments.fix) if name == "format" else check()
        if found:
            print(found, end="", flush=True)
            status = 1
    if status != 0:
        print(f"analyze.py: see above. {MADE_WITH}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
