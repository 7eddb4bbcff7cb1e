#!/usr/bin/env python3
"""Shows one thing about completion ports: runs the server, says what it saw.

usage: demo.py LESSON [-o DIR] [--server EXE] [--open] [--live]
       demo.py --list

A lesson starts the server with a trace, sends it some clients and stops it
with Ctrl+C. What it prints as observed is computed only from the trace and
from what the server printed. Then it prints what Windows documents. It writes
DIR/LESSON.html, a page for the class, .json, the trace, and .log, the
server's output. DIR is build/demo if not given. --live first shows the lesson
while it runs, in slow motion, on live.py's page.

The server's source also plays the lessons lifo, limit and paused on the
simulated Windows (tests/README.md), where that can be built. Its page and its
trace are DIR/LESSON-simulated.html and .json.
"""

import os
import sys

if __name__ == "__main__":  # first: the other imports take their time
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from parts import words
    words.begin("demo.py")

import argparse
import html
import pathlib
import subprocess
import textwrap
import webbrowser

import launch
import live
import trace_view
from parts import costs, files, program
from parts.arguments import Parser
from parts.lesson_server import LessonServer
from parts.lessons import LESSONS
from parts.observed import operations
from parts.words import Failure, one_line

PROGRAM = launch.ROOT / "build" / "iocp_echo_server.exe"
DIRECTORY = launch.ROOT / "build" / "demo"


def list_lessons():
    return "".join(f"  {name:13} {lesson.about}\n"
                   for name, lesson in LESSONS.items())


# --------------------------------- running ----------------------------------

def run(name, lesson, program, directory):
    """Runs the lesson. Returns what its clients know, and how many
    completions the server reports."""
    for suffix in (".html", ".json", ".log", "-simulated.html",
                   "-simulated.json"):  # or a failure leaves old ones
        path = directory / (name + suffix)
        if path.exists():
            path.unlink()
    server = LessonServer(program, directory, name, lesson.options)
    known = server.perform(lesson.drive)
    return known, server.reported()


def simulate(name, lesson, directory):
    """Plays the lesson on the simulated Windows. Returns its model. Raises
    Failure, saying why not."""
    simulation = costs.simulation()
    if simulation.why_not():
        raise Failure(simulation.why_not())
    path = directory / f"{name}-simulated.json"
    try:
        simulation.lesson(path, *lesson.simulated, *lesson.options)
    except subprocess.SubprocessError:
        raise Failure("gcc could not build it, or it did not end") from None
    except RuntimeError as error:
        raise Failure(one_line(error)) from None
    return trace_view.load(path)


def seen(model, observed):
    """Returns what was observed, under a heading that says on what."""
    info = model["info"]
    where = ("Simulated Windows, in virtual time" if info["simulated"]
             else f"Observed on {info['system']}")
    return (f"{where} ({info['cpus']} CPUs; {info['workers']} workers, limit "
            f"{info['concurrency']})", observed)


def tell(lesson, model, observed, simulated=()):
    """Returns what to say, as a list of (heading, text)."""
    parts = [seen(model, observed), *simulated,
             (f'Windows documents ("{lesson.page}", Microsoft)',
              lesson.documented)]
    if model["info"]["wine"] and lesson.wine:
        parts.append(("Wine is not Windows", lesson.wine))
    if lesson.paper:
        parts.append(("By the documented rules (computed, not recorded)",
                      lesson.paper))
    return parts


def make_page(model, title, parts):
    """Returns trace_view's page with the lesson's title and words on it."""
    title = html.escape(title)
    lesson = f"<h2>{title}</h2>" + "".join(
        f"<div><h2>{html.escape(heading)}</h2><p>{html.escape(text)}</p></div>"
        for heading, text in parts)
    page = trace_view.make_page(model)
    for old, new in (("<title>", f"<title>{title} - "),
                     ('<div id="below">', '<div id="below"><section id="lesson'
                      f'">{lesson}</section>')):
        page = page.replace(old, new, 1)
    return page


def show(title, parts):
    print(title + "\n")
    for heading, text in parts:
        print(heading)
        print(textwrap.fill(text, 76, initial_indent="    ",
                            subsequent_indent="    ") + "\n")


def demonstrate_simulated(name, lesson, directory):
    """Does the lesson on the simulated Windows, if it has one there. Returns
    what to say of it, as a list of (heading, text), and a list of its page, if
    it has one."""
    if not lesson.simulated:
        return [], []
    try:
        model = simulate(name, lesson, directory)
    except Failure as error:
        return [("Not simulated here", f"{error}; see the playground.")], []
    observed = lesson.observed(model, {})
    page = directory / f"{name}-simulated.html"
    files.write(page, make_page(model, f"{name}, simulated: {lesson.about}",
                                tell(lesson, model, observed)))
    return [seen(model, f"{observed} Its picture: {page.name}.")], [page]


def demonstrate(name, program, directory, watch=None):
    """Runs the lesson, prints its words, writes its pages. Returns the pages'
    paths. watch(TRACE) makes the page that shows it live."""
    lesson = LESSONS[name]()
    launch.check(program)
    directory.mkdir(parents=True, exist_ok=True)
    launch.prepare()
    live_page = watch and watch(directory / f"{name}.json")
    clients, reported = run(name, lesson, program.resolve(), directory)
    model = trace_view.load(directory / f"{name}.json")
    observed = (f"{lesson.observed(model, clients)} The server reports "
                f"{reported} completions in all, the trace has "
                f"{len(operations(model))}.")
    simulated, pages = demonstrate_simulated(name, lesson, directory)
    parts = tell(lesson, model, observed, simulated)
    title = f"{name}: {lesson.about}"
    pages.insert(0, directory / f"{name}.html")
    text = make_page(model, title, parts)
    files.write(pages[0], text)
    if live_page:
        live_page.finish(text)
    show(title, parts)
    for page in pages:
        print(f"Picture: {shown_path(page)}")
    return pages


def shown_path(path):
    """Returns the path as seen from here, if it is on the same drive."""
    try:
        return os.path.relpath(path)
    except ValueError:  # another drive
        return str(path)


def parse_arguments(arguments):
    parser = Parser(
        prog="demo.py", description="Run a lesson with the echo server.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="lessons:\n" + list_lessons())
    parser.add_argument("lesson", metavar="LESSON", nargs="?")
    parser.add_argument("-o", "--output", metavar="DIR", type=pathlib.Path,
                        default=DIRECTORY, help="default: build/demo")
    parser.add_argument("--server", metavar="EXE", type=pathlib.Path,
                        default=PROGRAM,
                        help="default: build/iocp_echo_server.exe")
    parser.add_argument("--open", action="store_true",
                        help="show the page in the browser")
    parser.add_argument("--live", action="store_true",
                        help="show it live, in slow motion: see live.py")
    live.add_http(parser)
    parser.add_argument("--list", action="store_true",
                        help="print the lessons and exit")
    return parser.parse_args(arguments)


@program.entry
def main(arguments=None):
    """Returns the exit status."""
    options = parse_arguments(arguments)
    if options.list:
        print(list_lessons(), end="")
        return 0
    if options.lesson not in LESSONS:
        wrong = (f"no lesson '{one_line(options.lesson)}'" if options.lesson
                 else "which lesson?")
        print(f"demo.py: {wrong}"
              + "; there are\n" + list_lessons(), end="", file=sys.stderr)
        return 2
    pages = demonstrate(options.lesson, options.server, options.output,
                        live.watching(options) if options.live else None)
    for page in pages if options.open and not options.live else ():
        webbrowser.open(page.resolve().as_uri())
    return 0


if __name__ == "__main__":
    sys.exit(main())
