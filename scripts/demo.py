#!/usr/bin/env python3
"""Shows one thing about completion ports: runs the server, says what it saw.

usage: demo.py LESSON [-o DIR] [--server EXE] [--open] [--live]
       demo.py --list        and --lang en or --lang ko with both

A lesson starts the server with a trace, sends it some clients and stops it
with Ctrl+C. What it prints as observed is computed only from the trace and
from what the server printed. Then it prints what Windows documents. It writes
DIR/LESSON.html, a page for the class, .json, the trace, and .log, the
server's output. DIR is build/demo if not given. --live first shows the lesson
while it runs, in slow motion, on live.py's page.

The lessons at-once, shortened, copies and calls count calls instead, in the
checked build (make checked). They have no page.

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

import html
import pathlib
import subprocess
import webbrowser

import launch
import live
import trace_view
from parts import costs, files, language, program
from parts.arguments import Parser
from parts.counted import COUNTED
from parts.language import LANGUAGES, fill, say, wrap
from parts.lesson_server import LessonServer, traced
from parts.lessons import TRACED
from parts.observed import operations
from parts.words import Failure, one_line

LESSONS = {**TRACED, **COUNTED}

PROGRAM = launch.ROOT / "build" / "iocp_echo_server.exe"
DIRECTORY = launch.ROOT / "build" / "demo"


def list_lessons():
    return "".join(f"  {name:13} {say(lesson.about)}\n"
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
    server = LessonServer(program, directory, name,
                          traced(name, lesson.options))
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
        raise Failure(say({
            "en": "gcc could not build it, or it did not end",
            "ko": "gcc로 빌드하지 못했거나 끝나지 않았습니다",
        })) from None
    except RuntimeError as error:
        raise Failure(one_line(error)) from None
    return trace_view.load(path)


def seen(model, observed):
    """Returns what was observed, under a heading that says on what."""
    info = model["info"]
    heading = {
        "en": "Simulated Windows, in virtual time",
        "ko": "시뮬레이션한 윈도우에서, 가상 시간으로",
    } if info["simulated"] else {
        "en": "Observed on {system}", "ko": "{system}에서 관찰한 것"}
    return fill({
        "en": "{heading} ({cpus} CPUs; {workers} workers, limit "
              "{concurrency})",
        "ko": "{heading}(CPU {cpus}개, 작업자 쓰레드 {workers}개, 동시 실행 "
              "제한 {concurrency})",
    }, heading=fill(heading, **info), **info), observed


def documents(lesson):
    return fill({"en": 'Windows documents ("{page}", Microsoft)',
                 "ko": 'Microsoft 문서의 설명("{page}")',
                 }, page=lesson.page), lesson.documented


def differs(lesson):
    return {"en": "Wine is not Windows",
            "ko": "Wine은 윈도우와 다릅니다"}, lesson.wine


def tell(lesson, model, observed, simulated=()):
    """Returns what to say, as a list of (heading, text)."""
    parts = [seen(model, observed), *simulated, documents(lesson)]
    if model["info"]["wine"] and lesson.wine:
        parts.append(differs(lesson))
    if lesson.paper:
        parts.append(({
            "en": "By the documented rules (computed, not recorded)",
            "ko": "문서의 규칙대로(기록이 아니라 계산한 것)"}, lesson.paper))
    return parts


def title_of(name, lesson):
    return fill({"en": "{name}: {about}", "ko": "{name}: {about}"},
                name=name, about=lesson.about)


def make_page(model, title, parts):
    """Returns trace_view's page with the lesson's title and words on it. The
    page shows those in its language."""
    def both(tag, text):
        return "".join(f'<{tag} lang="{one}">{html.escape(text[one])}</{tag}>'
                       for one in LANGUAGES)
    lesson = both("h2", title) + "".join(
        f"<div>{both('h2', heading)}{both('p', text)}</div>"
        for heading, text in parts)
    page = trace_view.make_page(model)
    for old, new in (("<title>", f"<title>{html.escape(title['en'])} - "),
                     ('<div id="below">', '<div id="below"><section id="lesson'
                      f'">{lesson}</section>')):
        page = page.replace(old, new, 1)
    return page


def show(title, parts):
    print(say(title) + "\n")
    for heading, text in parts:
        print("\n".join(wrap(say(heading), 78)))
        print("".join(f"    {line}\n" for line in wrap(say(text), 72)))


def demonstrate_simulated(name, lesson, directory):
    """Does the lesson on the simulated Windows, if it has one there. Returns
    what to say of it, as a list of (heading, text), and a list of its page, if
    it has one."""
    if not lesson.simulated:
        return [], []
    try:
        model = simulate(name, lesson, directory)
    except Failure as error:
        return [({"en": "Not simulated here",
                  "ko": "여기서는 시뮬레이션하지 못했습니다"},
                 fill({"en": "{error}; see the playground.",
                       "ko": "{error}. scripts/playground.html에서 볼 수 "
                             "있습니다."},
                      error=error))], []
    observed = lesson.observed(model, {})
    page = directory / f"{name}-simulated.html"
    title = title_of(fill({"en": "{name}, simulated",
                           "ko": "{name}, 시뮬레이션"}, name=name), lesson)
    files.write(page, make_page(model, title, tell(lesson, model, observed)))
    return [seen(model, fill({
        "en": "{observed} Its picture: {page}.",
        "ko": "{observed} 그림은 {page} 파일입니다.",
    }, observed=observed, page=page.name))], [page]


def demonstrate_counted(name, lesson, directory):
    """Runs a lesson without a picture, and prints its words."""
    numbers = lesson.count(directory)
    parts = [({"en": "Counted on Windows", "ko": "윈도우에서 센 것"}
              if launch.WINDOWS else
              {"en": "Counted under Wine", "ko": "Wine에서 센 것"},
              fill(lesson.text, **numbers)),
             ({"en": "What follows", "ko": "무엇을 뜻합니까"}, lesson.meaning),
             documents(lesson)]
    if lesson.wine and not launch.WINDOWS:
        parts.append(differs(lesson))
    show(title_of(name, lesson), parts)


def demonstrate(name, program, directory, watch=None):
    """Runs the lesson, prints its words, writes its pages. Returns the pages'
    paths. watch(TRACE) makes the page that shows it live."""
    lesson = LESSONS[name]()
    launch.check(program)
    directory.mkdir(parents=True, exist_ok=True)
    launch.prepare()
    if name in COUNTED:
        demonstrate_counted(name, lesson, directory)
        return []
    live_page = watch and watch(directory / f"{name}.json")
    clients, reported = run(name, lesson, program.resolve(), directory)
    model = trace_view.load(directory / f"{name}.json")
    observed = fill({
        "en": "{observed} The server reports {reported} completions in all, "
              "the trace has {traced}.",
        "ko": "{observed} 서버가 보고한 완료 패킷은 모두 {reported}개이고, "
              "트레이스에는 {traced}개가 있습니다.",
    }, observed=lesson.observed(model, clients), reported=reported,
        traced=len(operations(model)))
    simulated, pages = demonstrate_simulated(name, lesson, directory)
    parts = tell(lesson, model, observed, simulated)
    title = title_of(name, lesson)
    pages.insert(0, directory / f"{name}.html")
    text = make_page(model, title, parts)
    files.write(pages[0], text)
    if live_page:
        live_page.finish(text)
    show(title, parts)
    for page in pages:
        print(say({"en": "Picture: {path}", "ko": "그림: {path}"},
                  path=shown_path(page)))
    return pages


def shown_path(path):
    """Returns the path as seen from here, if it is on the same drive."""
    try:
        return os.path.relpath(path)
    except ValueError:  # another drive
        return str(path)


def parse_arguments(arguments):
    language.choose(arguments)
    parser = Parser(
        prog="demo.py", description=say({
            "en": "Run a lesson with the echo server.",
            "ko": "에코 서버로 시연을 하나 실행합니다."}),
        epilog=say({"en": "lessons:", "ko": "시연:"}) + "\n"
        + list_lessons())
    parser.add_argument("lesson", metavar="LESSON", nargs="?")
    parser.add_argument("-o", "--output", metavar="DIR", type=pathlib.Path,
                        default=DIRECTORY, help=say({
                            "en": "default: build/demo",
                            "ko": "기본값: build/demo"}))
    parser.add_argument("--server", metavar="EXE", type=pathlib.Path,
                        default=PROGRAM, help=say({
                            "en": "default: build/iocp_echo_server.exe",
                            "ko": "기본값: build/iocp_echo_server.exe"}))
    parser.add_argument("--open", action="store_true", help=say({
        "en": "show the page in the browser",
        "ko": "페이지를 브라우저로 엽니다"}))
    parser.add_argument("--live", action="store_true", help=say({
        "en": "show it live, in slow motion: see live.py",
        "ko": "실행하는 동안 느리게 보여 줍니다. live.py를 보십시오"}))
    live.add_http(parser)
    language.add_option(parser)
    parser.add_argument("--list", action="store_true", help=say({
        "en": "print the lessons and exit",
        "ko": "시연 목록을 출력하고 끝냅니다"}))
    return parser.parse_args(arguments)


@program.entry
def main(arguments=None):
    """Returns the exit status."""
    options = parse_arguments(arguments)
    if options.list:
        print(list_lessons(), end="")
        return 0
    if options.lesson not in LESSONS:
        wrong = ({"en": "no lesson '{name}'; there are",
                  "ko": "'{name}' 시연은 없습니다. 있는 시연:"}
                 if options.lesson else {
                     "en": "which lesson? there are",
                     "ko": "어느 시연입니까? 있는 시연:"})
        print("demo.py: " + say(wrong, name=one_line(options.lesson)) + "\n"
              + list_lessons(), end="", file=sys.stderr)
        return 2
    if options.live and options.lesson in COUNTED:
        raise Failure(say({
            "en": "this lesson has no picture: leave out --live",
            "ko": "이 시연에는 그림이 없습니다. --live 없이 실행하십시오"}))
    pages = demonstrate(options.lesson, options.server, options.output,
                        live.watching(options) if options.live else None)
    for page in pages if options.open and not options.live else ():
        webbrowser.open(page.resolve().as_uri())
    return 0


if __name__ == "__main__":
    sys.exit(main())
