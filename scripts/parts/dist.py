#!/usr/bin/env python3
"""Makes the package to hand out: a zip with what a class needs.

usage: dist.py DIRECTORY SERVER.EXE STEPS

It has the same folders as the project, so the scripts find the server where
make would have put it; there is no makefile, so they build nothing. The
sources are there to be read. `lessons` has the pages of the lessons that the
simulated Windows plays: they are the same each time. So is the whole zip, byte
for byte, from the same commit.
"""

import os
import sys

if __name__ == "__main__":  # first: the other imports take their time
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(
        __file__))))
    from parts import words
    words.begin("dist.py")

import modulefinder
import pathlib
import re
import tempfile
import zipfile

import demo
import launch
from parts import program
from parts.language import say
from parts.words import Failure

SCRIPTS = launch.ROOT / "scripts"
# What a user starts; the modules that they import come along.
STARTED = ["echo_client.py", "demo.py", "live.py", "trace_view.py"]
COMMANDS = ["run.cmd", "demo.cmd", "live.cmd", "script.cmd", "build.cmd"]
OTHERS = ["*.md", "src/*.md", "scripts/*.md", "tests/*.md", ".github/*.svg",
          "src/*.[ch]", "src/steps/*.c", "scripts/*.html",
          "scripts/parts/*.html"]
# A zip has no time zone, and no time before this.
TIME = (1980, 1, 1, 0, 0, 0)


def version():
    text = (launch.ROOT / "src" / "version.h").read_text(encoding="ascii")
    return ".".join(re.findall(r"^#define VERSION_\w+ (\d+)$", text, re.M))


def modules():
    """Returns the files of scripts/ that the started ones import, too."""
    finder = modulefinder.ModuleFinder([str(SCRIPTS)])
    for name in STARTED:
        finder.run_script(str(SCRIPTS / name))
    found = {pathlib.Path(module.__file__)
             for module in finder.modules.values() if module.__file__}
    return found | {SCRIPTS / name for name in STARTED}


def of_project():
    """Returns the project's files that are packed as they are."""
    found = modules() | {SCRIPTS / name for name in COMMANDS}
    for pattern in OTHERS:
        found |= set(launch.ROOT.glob(pattern))
    return {path.relative_to(launch.ROOT).as_posix(): path for path in found}


def made(server, steps):
    """Returns the programs. What is in `steps` without a source is old."""
    files = {f"build/{server.name}": server}
    for source in sorted(launch.ROOT.glob("src/steps/*.c")):
        name = source.with_suffix(".exe").name
        files[f"build/steps/{name}"] = steps / name
    return files


def lessons(directory):
    """Plays the lessons. Returns their pages."""
    pages = {}
    for name, lesson in demo.TRACED.items():
        said, page = demo.demonstrate_simulated(name, lesson(), directory)
        if page:
            pages[f"lessons/{name}.html"] = page[0]
        elif said:
            raise Failure(f"lesson {name}: {say(said[0][1])}")
    return pages


def pack(path, files):
    """Writes the zip, in order, without anything of this machine."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        for name, file in sorted(files.items()):
            entry = zipfile.ZipInfo(f"{path.stem}/{name}", TIME)
            entry.create_system = 3  # Unix, or Python says which it is on
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            package.writestr(entry, file.read_bytes())


@program.entry
def main():
    """Returns the exit status."""
    if len(sys.argv) != 4:
        print("usage: dist.py DIRECTORY SERVER.EXE STEPS", file=sys.stderr)
        return 2
    directory, server, steps = map(pathlib.Path, sys.argv[1:])
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"iocp-echo-server-{version()}.zip"
    with tempfile.TemporaryDirectory() as pages:
        files = {**of_project(), **made(server, steps),
                 **lessons(pathlib.Path(pages))}
        pack(path, files)
    print(f"{path}: {len(files)} files, {path.stat().st_size // 1000} KB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
