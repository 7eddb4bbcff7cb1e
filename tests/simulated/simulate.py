#!/usr/bin/env python3
"""Builds the simulated Windows with the server on it, and runs it.

--seed N and --count N say which lives of lives.py it runs; with --faults
calls fail in them; --without NAME leaves out something that Windows permits.
--case NAME runs one of cases.py. One life alone is printed as a story. If a
life fails, it leaves out what the failure does not need and prints the rest.
With --races it uses the build that sees every access to memory. --coverage
prints which blocks of the server no life enters. Exit status: 0 all passed, 1
one failed, 2 it could not be built, or the arguments are wrong.
"""

import argparse
import collections
import concurrent.futures
import hashlib
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE.parent), str(ROOT / "scripts")]
from parts import files  # noqa: E402
from parts.language import say  # noqa: E402
from simulated import cases  # noqa: E402
from simulated.lives import of_lesson, of_seed, packed  # noqa: E402

BUILD = ROOT / "build" / "simulated"
TIMEOUT = 900  # seconds

HEADERS = next((path for path in map(pathlib.Path, (
    "/usr/include/wine/wine/windows", "/usr/include/wine/windows"))
    if path.exists()), None)
COMPILE = ["gcc", "-std=gnu11", "-fshort-wchar", "-g", "-I",
           str(HERE / "include"), "-isystem", str(HEADERS),
           "-include", str(HERE / "include" / "linux.h"),
           "-Wno-incompatible-pointer-types", "-c"]
OURS = ["-DSIMULATION", "-O2", "-Wall", "-Wextra", "-Wno-unused-parameter",
        "-Werror"]
SERVER = {  # flags that make mistakes visible; "%lu" is Windows'
    "plain": ["-O1", "-Wno-format", "-DKEPT_BYTES=24576u", "-DFULL_READS=2",
              "-fsanitize=address,undefined",
              "-fno-sanitize-recover=undefined",
              "-fsanitize-coverage=trace-pc"],
    "races": ["-O1", "-Wno-format", "-DKEPT_BYTES=24576u", "-DFULL_READS=2",
              "-DRACES", "-fsanitize=thread", "--param",
              "tsan-distinguish-volatile=1"],
    "bare": ["-O2", "-Wno-format"],  # as it would be, to count instructions
}
LINK = {"plain": ["-fsanitize=address,undefined", "-no-pie"],
        "races": ["-fsanitize=address", "-no-pie"],
        # Without the sanitizers: what tells them something does nothing.
        "bare": ["-no-pie", *(f"-Wl,--defsym=__{name}=nothing" for name in (
            "sanitizer_set_death_callback", "sanitizer_start_switch_fiber",
            "sanitizer_finish_switch_fiber", "asan_poison_memory_region",
            "asan_unpoison_memory_region", "asan_region_is_poisoned"))]}


def why_not():
    """Returns why it can't be built here, or None."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return say({"en": "the simulation switches stacks as x86-64 Linux "
                          "does",
                    "ko": "시뮬레이션은 x86-64 리눅스에서만 됩니다"})
    if HEADERS is None:
        return say({"en": "it needs Wine's headers: sh scripts/setup.sh msvc",
                    "ko": "Wine의 헤더가 필요합니다(sh scripts/setup.sh "
                          "msvc)"})
    return None if shutil.which("gcc") else say({
        "en": "it needs gcc", "ko": "gcc가 필요합니다"})


def compile_all(jobs):
    """Compiles the jobs (source, object, flags) whose object is out of date.
    Raises CalledProcessError."""
    def run(job):
        source, target, flags = job
        newest = max(path.stat().st_mtime for path in (
            source, HERE / "simulate.py", *source.parent.glob("*.h"),
            *HERE.glob("include/*.h")))
        if not target.exists() or target.stat().st_mtime <= newest:
            subprocess.run([*COMPILE, *flags, str(source), "-o", str(target)],
                           check=True, timeout=TIMEOUT)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(run, jobs))


def build(kind="plain", changed=None, directory=None):
    """Builds a kind of SERVER in `directory`. `changed` has sources that
    replace those of the same name. Returns the program."""
    objects = BUILD / kind
    objects.mkdir(parents=True, exist_ok=True)
    jobs = [(HERE / "edge.c", objects / f"edge_{edge}.o",
             ["-DEDGE=" + edge]) for edge in ("begin", "end")]
    ours = [(path, objects / f"{path.stem}.o", OURS)
            for path in sorted(HERE.glob("*.c")) if path.stem != "edge"]
    server = {path.name: (path, objects / f"server_{path.stem}.o",
                          SERVER[kind])
              for path in sorted((ROOT / "src").glob("*.c"))}
    for path in changed or ():
        server[path.name] = (path, path.with_suffix(".o"),
                             [*SERVER[kind], "-I", str(ROOT / "src")])
    program = (directory or objects) / "simulate"
    # The linker puts the server's variables between the two edges.
    made = [jobs[0][1], *(job[1] for job in server.values()), jobs[1][1],
            *(job[1] for job in ours)]
    with files.alone(objects / "lock"):
        compile_all([*jobs, *ours, *server.values()])
        if not program.exists() or any(path.stat().st_mtime
                                       > program.stat().st_mtime
                                       for path in made):
            subprocess.run(["gcc", *LINK[kind], "-o", str(program), *map(
                str, made)], check=True, timeout=TIMEOUT)
    return program


def live(program, lives, *files, story=False, timeout=TIMEOUT, before=()):
    """Runs lives, each some lines. `files` are the program's arguments, and
    `before` is a command that runs it. Returns the CompletedProcess, with its
    output."""
    line = [*before, str(program), *map(str, files)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        late = threading.Timer(timeout, process.kill)
        writer = threading.Thread(target=write_lives,
                                  args=(process.stdin, lives, story))
        late.daemon = writer.daemon = True  # Ctrl+C comes anywhere here
        writer.start()
        late.start()
        try:
            output = process.stdout.read().decode("utf-8", "replace")
        except BaseException:  # Ctrl+C
            process.kill()
            raise
        finally:
            writer.join()
            late.cancel()
    return subprocess.CompletedProcess(line, process.returncode, output)


def write_lives(file, lives, story):
    try:
        with file:
            for life in lives:
                file.write(packed(life, story))
    except (BrokenPipeError, ValueError):
        pass  # one has failed, and ended the program; or Ctrl+C came


def parse(arguments):
    parser = argparse.ArgumentParser(prog="simulate.py", allow_abbrev=False)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--without", action="append", default=[])
    parser.add_argument("--case", choices=cases.CASES)
    for name in ("--faults", "--races", "--coverage"):
        parser.add_argument(name, action="store_true")
    return parser.parse_args(list(map(str, arguments)))


def lives_of(options):
    """Yields the lives that the options name."""
    if options.case:
        yield cases.life(options.case)
        return
    for seed in range(options.seed, options.seed + options.count):
        *life, may = of_seed(seed, options.faults)
        yield [*life, " ".join(word for word in may.split()
                               if word not in options.without)]


def run(program, *arguments, files=()):
    """The same for the lives that arguments name: see parse."""
    return live(program, lives_of(parse(arguments)), *files)


def coverage(program, *runs):
    """Runs the program once for each of the runs' arguments. Returns the
    number of the server's blocks, and a line for each that no run entered."""
    name = BUILD / "covered.txt"
    covered = set()
    for arguments in runs:
        done = run(program, *arguments, files=["/dev/null", name])
        if done.returncode != 0:
            raise RuntimeError(done.stdout)
        covered |= {i for i, byte in enumerate(name.read_bytes()) if byte}
    code = subprocess.run(["objdump", "-d", "--no-show-raw-insn", program],
                          check=True, stdout=subprocess.PIPE,
                          encoding="ascii", timeout=TIMEOUT).stdout
    function, after_call, blocks = "", False, []
    for line in code.splitlines():
        head = re.match(r"[0-9a-f]+ <(\w[\w.]*)>:", line)
        function = head[1] if head else function
        place = re.match(r" +([0-9a-f]+):", line)
        if place and after_call and not function.startswith("_sub_"):
            blocks.append(int(place[1], 16))
        if place:
            after_call = "<__sanitizer_cov_trace_pc>" in line
    base = min(int(x, 16) for x in re.findall(
        r"^([0-9a-f]+) \w __executable_start$", subprocess.run(
            ["nm", program], check=True, stdout=subprocess.PIPE,
            encoding="ascii", timeout=TIMEOUT).stdout, re.MULTILINE))
    missed = [block for block in blocks if block - base not in covered]
    lines = subprocess.run(
        ["addr2line", "-s", "-f", "-p", "-e", program,
         *(hex(block - 1) for block in missed)], check=True,
        stdout=subprocess.PIPE, encoding="ascii",
        timeout=TIMEOUT).stdout.splitlines() if missed else []
    return len(blocks), sorted(lines)


def wrong_in(trace):
    """Returns what is wrong with a trace's text, or None."""
    try:
        events = json.loads(trace)
    except ValueError as error:
        return f"no JSON: {error}"
    depths, outstanding = collections.Counter(), collections.Counter()
    for event in events:
        phase = event["ph"]
        if phase in "BE":  # on a thread, packets and work are nested
            depths[event["tid"]] += 1 if phase == "B" else -1
            if depths[event["tid"]] < 0:
                return f"ends what has not begun: {event}"
        elif phase in "be":  # a connection has one operation at a time
            outstanding[event["id"]] += 1 if phase == "b" else -1
            if outstanding[event["id"]] not in (0, 1):
                return f"out of order: {event}"
        elif phase not in "Mi":
            return f"unknown: {event}"
    return None


def traces(program, count):
    """Runs `count` lives. Returns how many wrote a trace, and what is wrong
    with the first wrong one."""
    name = program.parent / "traces.txt"
    done = run(program, "--count", count, files=[name])
    texts = [text[:-len("whole")] for text in name.read_text(
        encoding="ascii").split("----\n") if re.search(r".whole$", text, re.S)]
    return len(texts), next(filter(None, map(wrong_in, texts)), (
        done.stdout if done.returncode else None))


def lesson(path, *words):
    """Plays a lesson: see of_lesson. Writes its trace, which says that it is
    simulated. Raises OSError, SubprocessError or RuntimeError."""
    done = live(build(), [of_lesson(*words, "--trace=file")], path, timeout=60)
    if done.returncode != 0:
        path.unlink()
        raise RuntimeError(done.stdout.partition("\n")[0])
    trace = path.read_text(encoding="ascii").partition("----\n")[0]
    path.write_text(trace.replace(
        '"system":"Windows"', '"system":"simulated Windows"'),
        encoding="ascii")


def instructions(path, echoes, *options):
    """Plays one client with that many echoes under valgrind. Returns how many
    instructions each of the server's functions took: {"FILE FUNCTION": N}.
    Writes to `path`. Raises OSError, SubprocessError or RuntimeError."""
    line = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={path}"]
    done = live(build("bare"), [of_lesson(1, echoes, 2, 0, *options)],
                before=line, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(done.stdout)
    return instructions_in(path.read_text(encoding="utf-8"))


def instructions_in(profile):
    """Reads callgrind's format. A name comes once, with a number, which stands
    for it from then on; what a call took is not the caller's."""
    names, counts, of_call = {}, collections.Counter(), False
    for line in profile.splitlines():
        name = re.fullmatch(r"(c?)(f.)=\((\d+)\)(?: (.*))?", line)
        if name:
            key = name[2] == "fn", name[3]
            names.setdefault(key, name[4])
            if name[2] == "fl" and not name[1]:
                file = pathlib.Path(names[key])
            elif name[2] == "fn" and not name[1]:
                function = names[key].partition("'")[0]  # '2: it recurses
        elif re.match(r"[+*\d-]", line) and not of_call:
            if file.parent == ROOT / "src":
                counts[f"{file.name} {function}"] += int(line.split()[1])
        of_call = line.startswith("calls=")
    return counts


def print_coverage(program):
    blocks, missed = coverage(program, ["--count", 6000],
                              ["--count", 6000, "--faults"])
    print(f"{blocks} blocks, {len(missed)} of them never entered:",
          *dict.fromkeys(missed), sep="\n  ")


FAILED = re.compile(r"^(seed (\d+)|case .*?): (.*?)(?:\n +|; )"
                    r"after (\d+) steps", re.MULTILINE | re.DOTALL)


def shorter(life):
    """Yields the life without one of its clients, faults or liberties."""
    for i, line in enumerate(life):
        kind, *words = line.split()
        if kind in ("client", "fault"):
            yield life[:i] + life[i + 1:]
        for word in words if kind == "may" else ():
            rest = " ".join(each for each in words if each != word)
            yield [*life[:i], f"may {rest}", *life[i + 1:]]


def fewest_steps(program, life):
    """Returns what a life that fails needs to fail in the same way after as
    few steps, or fewer."""
    def tried(life):
        failed = FAILED.search(live(program, [life]).stdout)
        return failed and (re.sub(r"\d+", "", failed[3]), int(failed[4]))
    best = tried(life)
    found = best is not None
    while found:
        for less in shorter(life):
            result = tried(less)
            found = result and result[0] == best[0] and result[1] <= best[1]
            if found:
                life, best = less, result
                break
        else:
            found = False
    return life


def source_hash():
    """Returns a hash of the server's sources, to compare when a failure is
    repeated later."""
    text = b"".join(path.read_bytes()
                    for path in sorted((ROOT / "src").glob("*.[ch]")))
    return hashlib.sha256(text).hexdigest()[:12]


def print_failed(program, options, failed):
    """Prints the life that failed, as short as it still fails."""
    seed = failed[2]
    if seed:
        options.seed, options.count = int(seed), 1
    life = fewest_steps(program, *lives_of(options))
    print(live(program, [life], story=True).stdout, *life, sep="\n")
    more = [name for name in ("--faults", "--races")
            if getattr(options, name[2:])]
    if seed:
        print(f"To repeat it: make simulate SEED={seed}"
              + (f' ARGS="{" ".join(more)}"' if more else "")
              + f" (sources {source_hash()})")


def main(arguments):
    options = parse(arguments)
    if why_not():
        sys.exit(why_not())
    try:
        program = build("races" if options.races else "plain")
    except subprocess.CalledProcessError:
        return 2
    if options.coverage:
        print_coverage(program)
        return 0
    alone = options.count == 1
    done = live(program, lives_of(options), story=alone)
    failed = FAILED.search(done.stdout)
    if failed:
        print_failed(program, options, failed)
    else:
        print(done.stdout, end="")
    return min(done.returncode, 2) if done.returncode >= 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
