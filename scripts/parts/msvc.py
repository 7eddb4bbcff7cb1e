#!/usr/bin/env python3
"""Microsoft's cl, rc and link, as far as they can be had on Linux.

usage: msvc.py cl ARGUMENTS...
       msvc.py rc ARGUMENTS...
       msvc.py link ARGUMENTS...

clang understands cl's command line and makes objects with Microsoft's ABI;
llvm-rc does the same for rc, lld for link. Headers and import libraries, of
the universal C runtime too, are Wine's. All that this needs and the real ones
do not is here, so that a makefile can say what it would say to Microsoft's.
"""

import os
import sys

if __name__ == "__main__":  # first: the other imports take their time
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(
        __file__))))
    from parts import words
    words.begin("msvc.py")

import pathlib
import subprocess

from parts import program
from parts.words import Failure

HEADERS = pathlib.Path("/usr/include/wine/wine")
LIBRARIES = pathlib.Path("/usr/lib/x86_64-linux-gnu/wine/x86_64-windows")
RUNTIME = ["kernel32.lib", "ucrtbase.lib", "winecrt0.lib"]
TIMEOUT = 120  # seconds

# Wine's C runtime has none of what these two need at run time: neither the
# cookie of /GS, which cl turns on by itself, nor the checks of /guard:cf.
NO_COOKIE = "/GS-"
NO_GUARD = "/guard:cf"

# Of what cl warns of at /W4 clang has some under other names: hidden names
# (C4456 to C4459), conversions that lose bits (C4244, C4267), unreachable
# code (C4702). And cl has none of GNU's extensions.
WARNINGS = ["-Wshadow", "-Wconversion", "-Wno-sign-conversion",
            "-Wunreachable-code", "-Wpedantic"]


def compile_line(arguments):
    """The clang command for cl's arguments."""
    return ["clang", "--driver-mode=cl", "--target=x86_64-pc-windows-msvc",
            "/imsvc", str(HEADERS / "msvcrt"),
            "/imsvc", str(HEADERS / "windows"),
            *arguments, *WARNINGS, NO_COOKIE]


def resource_line(arguments):
    """The llvm-rc command for rc's arguments."""
    return ["llvm-rc", "/i", str(HEADERS / "msvcrt"),
            "/i", str(HEADERS / "windows"), *arguments]


def library(name):
    """What stands for a Windows library here: ws2_32.lib, libws2_32.a."""
    return str(LIBRARIES / f"lib{name[:-len('.lib')]}.a")


def link_line(arguments):
    """The lld-link command for link's arguments."""
    named = [library(x) if x.endswith(".lib") else x for x in arguments]
    # By itself lld would ask for Microsoft's libraries, and can't tell from
    # Wine's, which have a start for each, whether this is main or wmain.
    return ["lld-link", "/nodefaultlib", "/subsystem:console",
            "/entry:mainCRTStartup", *named, *map(library, RUNTIME)]


TOOLS = {"cl": compile_line, "rc": resource_line, "link": link_line}


@program.entry
def main():
    """Runs one of them. Returns its exit status."""
    if len(sys.argv) < 3 or sys.argv[1] not in TOOLS:
        print(__doc__, file=sys.stderr)
        return 2
    arguments = [x.replace("\\", "/") for x in sys.argv[2:] if x != NO_GUARD]
    line = TOOLS[sys.argv[1]](arguments)
    try:
        return subprocess.run(line, timeout=TIMEOUT).returncode
    except FileNotFoundError:
        raise Failure(f"{line[0]} is not installed: sh scripts/setup.sh msvc"
                      ) from None
    except subprocess.TimeoutExpired:
        raise Failure(f"{line[0]} is not done after {TIMEOUT} seconds"
                      ) from None


if __name__ == "__main__":
    sys.exit(main())
