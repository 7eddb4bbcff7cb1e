"""count.py: a project at every limit passes; one step beyond a limit fails."""

import re
import shutil
import subprocess
import sys

import pytest

import count
from support import TEXT

needs_compiler = pytest.mark.skipif(
    not all(map(shutil.which, [count.COMPILER[0], count.NM])),
    reason="needs MinGW's compiler and nm, as make analyze does")

ONCE = "#pragma once\n"
COMMENT = "/* No line of code,\n   and neither is the next.\n */\n\n"
FUNCTION = ("int main(void)\n{\n    static int calls;\n" + "\n" * 34
            + "    calls++;\n    return 0;\n}\n")


def lines(name, number):
    """Returns `number` lines of code, which add nothing else to count."""
    return "".join(f"extern int {name}{i};  // {i}\n" for i in range(number))


def write(tree, files):
    for name, text in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.fixture
def tree(tmp_path):
    """A project that is exactly at each limit."""
    write(tmp_path, {
        # Seven floors: worker.c, then six.h to one.h.
        "src/worker.c": COMMENT + '#include "six.h"\n' + FUNCTION + "".join(
            f"int variable{i};\n" for i in range(14)) + lines("w", 129),
        **{f"src/{name}.h": f'{ONCE}#include "{below}.h"\n'
           for name, below in [("six", "five"), ("five", "four"),
                               ("four", "three"), ("three", "two"),
                               ("two", "one")]},
        "src/one.h": ONCE + COMMENT + lines("one", 1039),
        "src/trace.c": lines("t", 200), "src/trace_file.h": lines("f", 130),
        "src/options.h": lines("o", 400), "src/work.c": lines("s", 120),
        "tests/simulated/a.c": COMMENT + lines("a", 2000),
        "tests/simulated/include/b.h": lines("b", 800),
        # Not counted
        "src/steps/step.c": FUNCTION.replace("\n\n", "\n\n\n\n"),
        "README.md": ("x" * 100 + "\n") * 219 + "\uac00" * 50 + "\n"})
    return tmp_path


def run(tree):
    """Returns its status, the figures, what is over, and its other lines."""
    done = subprocess.run(
        [sys.executable, count.__file__, str(tree)], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, **TEXT)
    assert "Traceback" not in done.stderr
    rows = re.findall(r"^(\w.*?\w) +([\d,]+) of +([\d,]+)(  over)?$",
                      done.stdout, re.MULTILINE)
    figures = {name: int(value.replace(",", "")) for name, value, *_ in rows}
    over = {name for name, _, _, over in rows if over}
    return done.returncode, figures, over, done.stdout + done.stderr


@needs_compiler
def test_at_every_limit(tree):
    status, figures, over, output = run(tree)
    assert (status, over) == (0, set()), output
    assert figures == count.LIMITS


(CORE, ALL, WORKER, TRACE, SIMULATED, LONGEST, VARIABLES, CIRCLE, FLOORS,
 README, WIDE) = count.LIMITS

ONE_MORE = {
    # the file, the old text, the new text, what is over, what is said of it
    "core": ("src/one.h", "extern int one0;", "extern\nint one0;",
             {CORE, ALL}, "one.h 1041"),
    "all": ("src/work.c", "extern int s0;", "extern\nint s0;", {ALL},
            "options.h 400"),
    "worker": ("src/worker.c", "extern int w0;", "extern\nint w0;",
               {WORKER, CORE, ALL}, "worker.c 151"),
    "trace": ("src/trace_file.h", "extern int f0;", "extern\nint f0;",
              {TRACE, ALL}, "trace.c 200, trace_file.h 131"),
    "simulated": ("tests/simulated/include/b.h", "extern int b0;",
                  "extern\nint b0;", {SIMULATED}, "a.c 2000, b.h 801"),
    "function": ("src/worker.c", "calls++;\n", "calls++;\n\n", {LONGEST},
                 "worker.c: main has 41"),
    "variable": ("src/trace.c", "extern int t0;", "int t0;", {VARIABLES},
                 "trace.c: t0"),
    "circle": ("src/one.h", "extern int one0;", '#include "six.h"', {CIRCLE},
               "one stands on six"),
    "floor": ("src/one.h", "extern int one0;", '#include "work.h"', {FLOORS},
              "8: worker"),
    "README": ("README.md", "\uac00\n", "\uac00\nx\n", {README}, ""),
    "wide README": ("README.md", "\uac00\n", "\uac00x\n", {WIDE},
                    "line 220 has 101"),
}


@needs_compiler
@pytest.mark.parametrize("mistake", ONE_MORE)
def test_one_more_is_too_much(tree, mistake):
    name, old, new, expected, said = ONE_MORE[mistake]
    text = (tree / name).read_text(encoding="utf-8")
    assert text.count(old) == 1
    write(tree, {name: text.replace(old, new), "src/work.h": "\n"})
    status, _, over, output = run(tree)
    assert (status, over) == (1, expected), output
    assert said in output


VARIABLE = {
    # a declaration: whether it makes a variable that changes
    "static int {};": True,
    "int {} = 1;": True,
    "static const char *{}[] = {{\"a\"}};": True,
    "static struct {{ int a, b; }} {};": True,
    "static _Thread_local int {0};\nint f{0}(void) {{ return {0}; }}": True,
    "int *f{0}(void) {{ static int {0}; return &{0}; }}": True,
    "#define VALUE const int\nvolatile int {};": True,
    "const int {} = 1;": False,
    "typedef const int VALUE;\nVALUE {} = 1;": False,
    "const char *const {}[] = {{\"a\"}};": False,
    "extern int other;\nint *const {} = &other;": False,
    "int f{0}(int i) {{ static const int {0}[] = {{1, 2}}; return {0}[i]; }}":
        False,
}


@needs_compiler
@pytest.mark.parametrize("declaration", VARIABLE)
def test_what_a_variable_is(tmp_path, declaration):
    write(tmp_path, {"src/a.c": declaration.format("novel") + "\n"})
    status, figures, _, output = run(tmp_path)
    assert status == 0, output
    assert figures[VARIABLES] == VARIABLE[declaration]


@needs_compiler
def test_a_call_without_a_header(tmp_path):
    """No file includes a header upwards, but one calls upwards."""
    write(tmp_path, {
        "src/low.h": "void low(void);\n",
        "src/low.c": "void low(void);\nvoid high(void);\n"
                     "void low(void) { high(); }\n",
        "src/high.c": '#include "low.h"\nvoid high(void) { low(); }\n'})
    status, _, over, output = run(tmp_path)
    assert (status, over) == (1, {CIRCLE})
    assert "low stands on high" in output


@needs_compiler
def test_a_static_function_is_called_by_its_own_file(tmp_path):
    write(tmp_path, {
        "src/base.c": "void go(void) { }\n",
        "src/low.c": "void go(void);\nvoid low(void) { go(); }\n",
        "src/upper.c": "static void go(void) { }\nvoid low(void);\n"
                       "void upper(void) { go(); low(); }\n"})
    status, figures, _, output = run(tmp_path)
    assert (status, figures[FLOORS]) == (0, 3), output


def test_floors():
    below = {"a": set(), "b": {"a"}, "c": {"b", "a"}, "d": {"a"}}
    assert count.floors_of(below) == ([["a"], ["b", "d"], ["c"]], [])
    below["b"] = {"c"}
    below["e"] = {"b"}
    assert count.floors_of(below) == ([["a"], ["d"]], ["b", "c"])


FUNCTIONS = r"""
#define BEGIN {
#define TWO_LINES(x) \
    { x
/* int commented(void) { */ // {
int declared(void);
struct pair { int a; };
static const char *const words[] = {
    "{", "\"{", "}"
};
enum { ONE, TWO };
static int
split(int a,
      int b)
{
    const char brace = '{';  /* } */
    if (a) { while (b) { b--; } }
    return brace;
}

static struct pair *__attribute__((unused)) next(
    struct pair (*order)(void)) { return 0; }
typedef struct { int x; } POINT; int (*pointer)(void);
void *last(void) {
    struct pair all[] = {{1}, {2}};
    return all; }
"""


def test_functions():
    assert count.functions(FUNCTIONS) == [("split", 8), ("next", 2),
                                          ("last", 3)]
    for text in ("int f(void) { ", "int f(void) { } }"):
        with pytest.raises(count.CannotCount):
            count.functions(text)


def test_lines_of_code():
    assert count.lines_of_code(
        "/* a */\n\n   // b\nint x; /* c\n d */\n/**/ int y;\n"
        'const char *z = "/*";\n#include "x.h"\n"*/"\n') == 5


@needs_compiler
@pytest.mark.parametrize("files, said", [
    ({}, "no source in"), ({"src/a.c": "int f(void { }\n"}, "failed"),
    ({"src/a.c": "#if 0\n{\n#endif\n"}, "a.c: braces that do not match")])
def test_what_cannot_be_counted(tmp_path, files, said):
    write(tmp_path, files)
    status, figures, _, output = run(tmp_path)
    assert (status, figures) == (2, {})
    assert output.startswith("count.py: ") and said in output
