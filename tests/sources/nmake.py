#!/usr/bin/env python3
"""A small, strict NMAKE, to run NMakefile where there is no NMAKE.

usage: nmake.py MAKEFILE [MACRO=VALUE...] [TARGET...]

It knows the part of NMAKE that NMakefile uses, as Microsoft's reference
describes it: macros, !IFDEF, description blocks, wildcards in dependents,
inference rules from .c with paths, $@ $* $** $<, @ before a command, SET. It
reports anything else as an error, with file and line; so too what NMAKE
accepts but hardly anyone means (a macro without a definition, a rule that
never applies). What passes here, NMAKE accepts; what fails here, NMAKE may
accept.

It finds commands on PATH and starts them without a shell. It carries out the
commands of cmd.exe that NMakefile uses (if exist, mkdir, rmdir, del) itself.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import time

COMMAND_TIMEOUT = 120  # seconds
NAME = r"[\w.\\-]*\w"  # a file's, without GNU's % and without /
MACRO = re.compile(r"\$(\((\w+)\)|\*\*|[@<*]|.?)")
RULE = re.compile(rf"\{{({NAME})\}}\.c\{{({NAME})\}}(\.\w+)\s*:")
# NMAKE prefers an explicit dependent of these kinds to a rule from .c.
BEFORE_C = (".exe", ".obj", ".asm")


class MakefileError(Exception):
    """Says what is wrong, as FILE(LINE): message."""

    def __init__(self, where, message):
        super().__init__("{}({}): {}".format(*where, message))


def on_disk(name):
    """Returns this system's name for a file that NMAKE names."""
    return name.replace("\\", os.sep)


def modified(name):
    """Returns when the file was last written, in ns; None without a file."""
    try:
        return os.stat(on_disk(name)).st_mtime_ns
    except FileNotFoundError:
        return None


def is_file_name(name):
    """Returns whether this names a file: `all`, say, is a pseudotarget."""
    return "." in name or "\\" in name


class Block:
    """A target or an inference rule, with its dependents and commands."""

    def __init__(self, where, path=None):
        self.where = where
        self.path = path  # of a rule: the directory of its sources
        self.dependents = []
        self.commands = []  # (where, text)


class Makefile:
    """A makefile, read and checked."""

    def __init__(self, path, overrides):
        self.overrides = overrides
        self.macros = {}      # name -> (where, text)
        self.targets = {}
        self.rules = {}       # (directory, extension) of targets -> Block
        self.condition = []   # in an !IFDEF: [is true, has an !ELSE]
        self.open = []        # blocks that an indented line belongs to
        self.started = False  # they have commands
        self.fired = set()    # rules that apply to something
        self.done = {}        # targets that are up to date: name -> time
        for where, line in logical_lines(path):
            if line.startswith("!"):
                self.directive(where, line)
            elif not self.condition or self.condition[0]:
                self.line(where, line)
        if self.condition or not self.targets:
            raise MakefileError((path, "end"), "no !ENDIF, or no target")
        self.check()

    def directive(self, where, line):
        """Reads a line that begins with an exclamation mark."""
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
        """Reads any other line."""
        if not line:
            if not self.started:  # commands must follow at once
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
        """Adds an indented line to the open blocks."""
        if not self.open:
            raise MakefileError(where, "indented, but no command")
        if not self.started and any(x.commands for x in self.open):
            raise MakefileError(where, "this target has commands already")
        for each in self.open:
            each.commands.append((where, text))
        self.started = True

    def block(self, where, text):
        """Reads a dependency line or an inference rule."""
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
        """Returns the name, or the files that match it if it has * or ?."""
        if not re.fullmatch(NAME, re.sub(r"[*?]", "x", name)):
            raise MakefileError(where, f"not a name for NMAKE: '{name}'")
        if not re.search(r"[*?]", name):
            return [name]
        found = sorted(glob.glob(on_disk(name)))
        if not found:
            raise MakefileError(where, f"no file is like '{name}'")
        return [x.replace(os.sep, "\\") for x in found]

    def expand(self, where, text, files=None, inside=()):
        """Replaces the text's macros; `files` holds $@, $*, $**, $<."""
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
        """Returns a target's dependents, its commands, and their macros."""
        target = self.targets.get(name) or Block(None)
        dependents, commands = target.dependents, target.commands
        files = {"@": name}
        directory, _, base = name.rpartition("\\")
        base, dot, extension = base.rpartition(".")
        files["*"] = name[:len(name) - len(dot + extension)]
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
        """Looks for mistakes that NMAKE reports late or never."""
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
        """Brings a target up to date. Returns its time."""
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
    """Yields where each line began, and the line with its continuations."""
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
    """Returns a command's words. Raises MakefileError if it isn't known."""
    words = [x.replace('"', "") for x in
             re.findall(r'(?:"[^"]*"|[^\s"])+', text.lstrip("@"))]
    line = " ".join(words)
    rest = re.sub(rf"if (not )?exist {NAME} ", "", line)
    # A blank before the = of set would become part of the variable's name.
    known = (rf"(mkdir|del|rmdir /s /q) {NAME}|set \w+=\S.*|"
             r"(?!(if|set|mkdir|del|rmdir|cd|copy|echo|erase|for|md|move|rd|"
             r"ren|rm|cp|touch)\b)\w+( .*)?")
    if (re.search(r"[&|<>%#;!]", text) or text.count('"') % 2
            or not re.fullmatch(known, rest)):
        raise MakefileError(where, f"not known here: {text}")
    return words


def run(where, text, environment):
    """Runs a command, and shows it unless it begins with an @."""
    words = parse_command(where, text)
    if not text.startswith("@"):
        print("\t" + text, flush=True)
    status = execute(words, environment)
    if status != 0:
        raise MakefileError(where, f"return code '{status:#x}'")


def execute(words, environment):
    """Runs a command. Returns its exit status."""
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
    """Returns NMAKE's exit status, 2 for an error."""
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
