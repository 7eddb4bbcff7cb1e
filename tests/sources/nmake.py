#!/usr/bin/env python3
"""A small, strict NMAKE, to run NMakefile where Microsoft's is not.

usage: nmake.py MAKEFILE [MACRO=VALUE...] [TARGET...]

It knows what NMakefile uses of NMAKE, as Microsoft's reference describes it:
macros, !IFDEF, description blocks, wildcards in dependents, inference rules
from .c with paths, $@ $** $<, the @ before a command, SET. All the rest, and
what NMAKE takes but hardly anyone means (a macro without a definition, a rule
that never applies), is an error with file and line. So what passes here is
plain NMAKE; what fails here need not fail there.

Commands are started without a shell, found on PATH; those of cmd.exe that
NMakefile uses (if exist, mkdir, rmdir, del) are done here.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import time

COMMAND_TIMEOUT = 120  # seconds
NAME = r"[\w.\\-]*\w"  # of a file, without GNU's %, and without /
MACRO = re.compile(r"\$(\((\w+)\)|\*\*|[@<]|.?)")
RULE = re.compile(rf"\{{({NAME})\}}\.c\{{({NAME})\}}(\.\w+)\s*:")
# NMAKE would take an explicit dependent of these kinds before a rule from .c.
BEFORE_C = (".exe", ".obj", ".asm")


class MakefileError(Exception):
    """What is wrong, as FILE(LINE): message."""

    def __init__(self, where, message):
        super().__init__("{}({}): {}".format(*where, message))


def on_disk(name):
    """NMAKE's name of a file as this system's."""
    return name.replace("\\", os.sep)


def modified(name):
    """When the file was last written, in ns; None if there is none."""
    try:
        return os.stat(on_disk(name)).st_mtime_ns
    except FileNotFoundError:
        return None


def is_file_name(name):
    """Whether it looks like a file; all, run and clean are pseudotargets."""
    return "." in name or "\\" in name


class Block:
    """A target or an inference rule, and all that is said of it."""

    def __init__(self, where, path=None):
        self.where = where
        self.path = path  # a rule's: where the sources are
        self.dependents = []
        self.commands = []  # (where, text)


class Makefile:
    """A makefile that was read and found to be right."""

    def __init__(self, path, overrides):
        self.overrides = overrides
        self.macros = {}      # name -> (where, text)
        self.targets = {}
        self.rules = {}       # (directory, extension) of targets -> Block
        self.condition = []   # of the !IFDEF: [is true, has an !ELSE]
        self.open = []        # what an indented line would be a command of
        self.started = False  # ... and whether there was one already
        self.fired = set()    # rules that apply to something
        self.done = {}        # name -> time
        for where, line in logical_lines(path):
            if line.startswith("!"):
                self.directive(where, line)
            elif not self.condition or self.condition[0]:
                self.line(where, line)
        if self.condition or not self.targets:
            raise MakefileError((path, "end"), "no !ENDIF, or no target")
        self.check()

    def directive(self, where, line):
        """A line that begins with an exclamation mark."""
        words = line[1:].split()
        if words[:1] == ["IFDEF"] and len(words) == 2 and not self.condition:
            self.condition = [words[1] in {**self.overrides, **self.macros},
                              False]
        elif words == ["ELSE"] and self.condition and not self.condition[1]:
            self.condition = [not self.condition[0], True]
        elif words == ["ENDIF"] and self.condition:
            self.condition = []
        else:
            raise MakefileError(where, f"directive not known here: {line}")

    def line(self, where, line):
        """Any other line."""
        if not line:
            if not self.started:  # a block's commands have to follow at once
                self.open = []
        elif line[0] in " \t":
            self.command(where, line.strip())
        elif not line.startswith("#"):
            self.open = []
            name, equals, text = map(str.strip, line.partition("="))
            if "#" in line:
                raise MakefileError(where, "'#' is not known here")
            if not equals or not re.fullmatch(r"\w+", name):
                self.block(where, self.expand(where, line))
            elif name in self.macros:
                raise MakefileError(where, f"{name} is defined twice")
            else:
                self.macros[name] = (where, text)

    def command(self, where, text):
        """An indented line."""
        if not self.open:
            raise MakefileError(where, "indented, but no command")
        if not self.started and any(x.commands for x in self.open):
            raise MakefileError(where, "this target has commands already")
        for each in self.open:
            each.commands.append((where, text))
        self.started = True

    def block(self, where, text):
        """A dependency line or an inference rule."""
        rule = RULE.fullmatch(text)
        left, colon, right = text.partition(":")
        names = left.split()
        if rule:
            path, *target = rule.groups()
            if tuple(target) in self.rules:
                raise MakefileError(where, "this rule is there already")
            self.open = [Block(where, path)]
            self.rules[tuple(target)] = self.open[0]
        elif not colon or not names or re.fullmatch(r"\w", left):
            raise MakefileError(where, f"not a line for NMAKE: {text}")
        else:
            dependents = [x for name in right.split()
                          for x in self.files(where, name)]
            self.open = [self.targets.setdefault(x, Block(where))
                         for name in names for x in self.files(where, name)]
            for target in self.open:
                target.dependents += dependents
        self.started = False

    @staticmethod
    def files(where, name):
        """The name; the files that one with * or ? stands for."""
        if not re.fullmatch(NAME, re.sub(r"[*?]", "x", name)):
            raise MakefileError(where, f"not a name for NMAKE: '{name}'")
        if not re.search(r"[*?]", name):
            return [name]
        found = sorted(glob.glob(on_disk(name)))
        if not found:
            raise MakefileError(where, f"no file is like '{name}'")
        return [x.replace(os.sep, "\\") for x in found]

    def expand(self, where, text, files=None, inside=()):
        """The text with its macros replaced; `files` has $@, $** and $<."""
        def value(match):
            special, name = match.groups()
            if name is None:
                if special not in (files or ()):
                    raise MakefileError(where, f"{match[0]} has no meaning")
                return files[special]
            found = self.overrides.get(
                name, self.macros.get(name, (where, None))[1])
            if found is None or name in inside:
                raise MakefileError(where, f"{name} has no definition")
            return self.expand(where, found, files, (*inside, name))
        return MACRO.sub(value, text)

    def plan(self, name):
        """What a target depends on, its commands, what their macros are."""
        target = self.targets.get(name) or Block(None)
        dependents, commands = target.dependents, target.commands
        files = {"@": name}
        directory, _, base = name.rpartition("\\")
        base, dot, extension = base.rpartition(".")
        rule = self.rules.get((directory, dot + extension))
        source = f"{rule.path}\\{base}.c" if rule else ""
        if modified(source) and not any(x.endswith(BEFORE_C)
                                        for x in dependents):
            self.fired.add(rule)
            dependents = [source, *dependents]
            if not commands:
                commands, files["<"] = rule.commands, source
        files["**"] = " ".join(dependents)
        return dependents, commands, files

    def check(self):
        """What NMAKE would find out late, or never say."""
        for name, (where, _) in self.macros.items():
            self.expand(where, f"$({name})")
        for name, target in self.targets.items():
            dependents, commands, files = self.plan(name)
            for other in dependents:
                if (other not in self.targets and modified(other) is None
                        and not self.plan(other)[1]):
                    raise MakefileError(target.where,
                                        f"don't know how to make '{other}'")
            if is_file_name(name) and not commands:
                raise MakefileError(target.where, f"no commands for '{name}', "
                                    "and no rule applies")
            for where, text in commands:
                parse_command(where, self.expand(where, text, files))
        for rule in self.rules.values():
            if rule not in self.fired:
                raise MakefileError(rule.where, "this rule applies to nothing")

    def update(self, name, environment, chain=()):
        """Bring a target up to date. Returns its time."""
        if name in self.done:
            return self.done[name]
        dependents, commands, files = self.plan(name)
        if name in chain or not (name in self.targets or commands
                                 or modified(name)):
            raise MakefileError(("target", name), "don't know how to make it")
        times = [self.update(x, environment, (*chain, name))
                 for x in dependents]
        own = modified(name)
        if own is None or any(x > own for x in times):
            for where, text in commands:
                run(where, self.expand(where, text, files), environment)
            own = modified(name)
            if own is None and is_file_name(name):
                raise MakefileError(where, f"'{name}' was not made")
        # A pseudotarget is as new as the newest of what it depends on.
        self.done[name] = own or max(times, default=time.time_ns())
        return self.done[name]


def logical_lines(path):
    """Each line with those that continue it, and where it began."""
    with open(path, encoding="ascii") as file:
        text = file.read()
    for pattern, message in [
            (r"[ \t]$", "blanks at the end"),
            (r"^#.*\\$", "a comment that goes on"),
            (r"\\\n([#!]|[ \t]*$)", "the line goes on where it can't"),
            (r"^[^#\n].*\^", "'^' is not known here")]:
        found = re.search(pattern, text, re.M)
        if found:
            number = text.count("\n", 0, found.start()) + 1
            raise MakefileError((path, number), message)
    number = 1
    for line in re.split(r"(?<!\\)\n", text):
        yield (path, number), re.sub(r"\s*\\\n\s*", " ", line)
        number += line.count("\n") + 1


def parse_command(where, text):
    """The words of a command, or an error if it can't be done here."""
    words = [x.replace('"', "") for x in
             re.findall(r'(?:"[^"]*"|[^\s"])+', text.lstrip("@"))]
    line = " ".join(words)
    rest = re.sub(rf"if (not )?exist {NAME} ", "", line)
    # With a blank beside it, the = of set would be part of the name.
    known = (rf"(mkdir|del|rmdir /s /q) {NAME}|set \w+=\S.*|"
             r"(?!(if|set|mkdir|del|rmdir|cd|copy|echo|erase|for|md|move|rd|"
             r"ren|rm|cp|touch)\b)\w+( .*)?")
    if (re.search(r"[&|<>%#;!]", text) or text.count('"') % 2
            or not re.fullmatch(known, rest)):
        raise MakefileError(where, f"not known here: {text}")
    return words


def run(where, text, environment):
    """One command, which may be shown."""
    words = parse_command(where, text)
    if not text.startswith("@"):
        print("\t" + text, flush=True)
    status = execute(words, environment)
    if status != 0:
        raise MakefileError(where, f"return code '{status:#x}'")


def execute(words, environment):
    """Run it. Returns its exit status."""
    if words[0] == "if":
        wanted = words[1] != "not"
        name, *words = words[3 - wanted:]
        if os.path.exists(on_disk(name)) != wanted:
            return 0
    inside = {"mkdir": os.makedirs, "rmdir": shutil.rmtree, "del": os.remove}
    try:
        if words[0] == "set":
            variable, _, value = words[1].partition("=")
            environment[variable] = value
        elif words[0] in inside:
            inside[words[0]](on_disk(words[-1]))
        else:
            program = shutil.which(words[0], path=environment.get("PATH"))
            return subprocess.run([program or words[0], *words[1:]],
                                  env=environment,
                                  timeout=COMMAND_TIMEOUT).returncode
    except (OSError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def main(path, *arguments):
    """Returns NMAKE's exit status: 2 for an error."""
    overrides = dict(x.split("=", 1) for x in arguments if "=" in x)
    names = [x for x in arguments if "=" not in x]
    try:
        makefile = Makefile(path, overrides)
        for name in names or list(makefile.targets)[:1]:
            makefile.update(name, dict(os.environ))
    except MakefileError as error:
        print(f"{error}\nStop.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
