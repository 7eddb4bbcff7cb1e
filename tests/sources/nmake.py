#!/usr/bin/env python3
"""A small, strict NMAKE, to run NMakefile where Microsoft's is not.

usage: nmake.py /f MAKEFILE [MACRO=VALUE...] [TARGET...]

It knows what NMakefile uses of NMAKE, as Microsoft's reference describes it:
macros, !IFDEF and its like, description blocks, wildcards in dependents,
inference rules with paths, filename macros, the @ and - before a command, SET.
All the rest, and what NMAKE takes but hardly anyone means (a macro without a
definition, a rule that never applies), is an error with file and line. So what
passes here is plain NMAKE; what fails here need not fail there.

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

# NMAKE's own list, in its order of priority.
SUFFIXES = [".exe", ".obj", ".asm", ".c", ".cpp", ".cxx", ".bas", ".cbl",
            ".for", ".pas", ".res", ".rc", ".f", ".f90"]

NAME = r"[\w.\\~-]+"  # of a file, without GNU's %, and without /
MACRO = re.compile(r"\$(?:\(([^)]*)\)|(\*\*|[@*?<])|(.?))")
FILE_MACRO = re.compile(r"(\*\*|[@*?<])([DBFR]?)")
RULE = re.compile(r"(?:\{(.*?)\})?(\.\w+)(?:\{(.*?)\})?(\.\w+)\s*:(.*)")


class MakefileError(Exception):
    """What is wrong, as FILE(LINE): message."""

    def __init__(self, where, message):
        super().__init__(f"{where[0]}({where[1]}): {message}")


class CommandError(Exception):
    """A command has failed, and with it the build."""


# ---------------------------------- names ----------------------------------

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


def split(name):
    """Directory, base name and extension."""
    directory, _, rest = name.rpartition("\\")
    base, dot, extension = rest.rpartition(".")
    return (directory, base, "." + extension) if dot else (directory, rest, "")


def join(directory, name):
    """The opposite; "" is the current directory."""
    return f"{directory}\\{name}" if directory else name


def part(name, letter):
    """$(@D), $(@B), $(@F), $(@R); without a letter all of it."""
    directory, base, extension = split(name)
    return {"": name, "D": directory or ".", "B": base, "F": base + extension,
            "R": join(directory, base)}[letter]


class Target:
    """A name to the left of a colon, and all that is said of it."""

    def __init__(self, where):
        self.where = where
        self.dependents = []
        self.commands = []  # (where, text)


class Rule:
    """An inference rule: from_path\\x.from_ext makes to_path\\x.to_ext."""

    def __init__(self, where, from_path, from_ext, to_path, to_ext):
        self.where = where
        self.from_path, self.from_ext = from_path, from_ext.lower()
        self.to_path, self.to_ext = to_path, to_ext.lower()
        self.commands = []

    def names(self):
        """What it is about: no other rule may be."""
        return self.from_path, self.from_ext, self.to_path, self.to_ext

    def source(self, target):
        """The file it would make the target from, or None."""
        directory, base, extension = split(target)
        if (directory, extension.lower()) != (self.to_path, self.to_ext):
            return None
        return join(self.from_path, base + self.from_ext)


# --------------------------------- reading ---------------------------------

class Makefile:
    """A makefile that was read and found to be right."""

    def __init__(self, path, overrides, environment):
        self.environment = dict(environment)
        self.inherited = {k.upper(): v for k, v in environment.items()
                          if re.fullmatch(r"\w+", k) and "$" not in v}
        self.overrides = dict(overrides)
        self.macros = {}
        self.defined_at = {}
        self.targets = {}
        self.rules = []
        self.suffixes = list(SUFFIXES)
        self.open = []      # what an indented line would be a command of
        self.started = False  # ... and whether there was one already
        self.done = {}
        self.read(path)
        self.check()

    def read(self, path):
        """All lines, one after the other."""
        conditions = []  # [line of the !IF, is true, was true, has !ELSE]
        where = (path, 1)
        for where, line in logical_lines(path):
            if line.startswith("!"):
                self.directive(where, line, conditions)
            elif all(c[1] for c in conditions):
                self.line(where, line)
        if conditions:
            raise MakefileError(conditions[-1][0], "no !ENDIF for this")
        if not self.targets:
            raise MakefileError(where, "no target")

    def directive(self, where, line, conditions):
        """A line that begins with an exclamation mark."""
        words = line[1:].split("#")[0].split()
        name = words[0].upper() if words else ""
        if name in ("IFDEF", "IFNDEF"):
            if len(words) != 2 or not re.fullmatch(r"\w+", words[1]):
                raise MakefileError(where, f"!{name} takes one macro name")
            true = (self.lookup(words[1]) is not None) == (name == "IFDEF")
            conditions.append([where, true, true, False])
        elif name in ("ELSE", "ENDIF"):
            if len(words) > 1:
                raise MakefileError(where, f"text after !{name}")
            if not conditions or name == "ELSE" and conditions[-1][3]:
                raise MakefileError(where, f"no !IF for this !{name}")
            if name == "ELSE":
                conditions[-1][1] = not conditions[-1][2]
                conditions[-1][3] = True
            else:
                conditions.pop()
        else:
            raise MakefileError(where, f"directive not known here: {line}")

    def line(self, where, line):
        """Any other line."""
        if not line:
            # A block's commands have to follow at once.
            if not self.started:
                self.open = []
        elif line[0] in " \t":
            self.command(where, line)
        elif not line.startswith("#"):
            self.open = []
            line = line.split("#")[0].rstrip()
            definition = re.fullmatch(r"(\w+)\s*=\s*(.*)", line)
            if definition:
                self.define(where, *definition.groups())
            else:
                self.block(where, line)

    def command(self, where, line):
        """An indented line."""
        text = line.strip()
        if not self.open:
            raise MakefileError(where, "indented, but no command: no target "
                                "or rule right before it")
        if not text:
            raise MakefileError(where, "blanks alone are a command to NMAKE")
        if text.startswith("#"):
            raise MakefileError(where, "an indented comment is a command to "
                                "NMAKE")
        for each in self.open:
            if each.commands and not self.started:
                raise MakefileError(where, "this target has commands already")
        for each in self.open:
            each.commands.append((where, text))
        self.started = True

    def define(self, where, name, value):
        """NAME = VALUE. The command line overrides it."""
        if name in self.macros:
            raise MakefileError(where, f"{name} is defined twice")
        self.macros[name] = value
        self.defined_at[name] = where

    def block(self, where, line):
        """A dependency line, an inference rule, a dot directive."""
        text = self.expand(where, line)
        if "::" in text or ";" in text:
            raise MakefileError(where, "'::' and ';' are not known here")
        rule = RULE.fullmatch(text)
        if rule:
            self.rule(where, *rule.groups())
        elif text.startswith("."):
            name, colon, rest = text.partition(":")
            if name.strip() != ".SUFFIXES" or not colon:
                raise MakefileError(where, f"not known here: {text}")
            added = rest.split()
            self.suffixes = self.suffixes + added if added else []
        else:
            self.dependency(where, text)

    def rule(self, where, from_path, from_ext, to_path, to_ext, rest):
        """{from_path}.from_ext{to_path}.to_ext:"""
        if (from_path is None) != (to_path is None):
            raise MakefileError(where, "a rule has two paths or none")
        if rest.strip():
            raise MakefileError(where, "text after a rule's colon")
        paths = []
        for path in (from_path or "", to_path or ""):
            path = path.rstrip("\\")
            if path and not re.fullmatch(NAME, path):
                raise MakefileError(where, f"not a path for NMAKE: '{path}'")
            paths.append("" if path == "." else path)
        rule = Rule(where, paths[0], from_ext, paths[1], to_ext)
        if rule.from_ext not in self.suffixes:
            raise MakefileError(where, f"{from_ext} is not in .SUFFIXES")
        for other in self.rules:
            if other.names() == rule.names():
                raise MakefileError(where, "this rule is there already")
        self.rules.append(rule)
        self.open, self.started = [rule], False

    def dependency(self, where, text):
        """targets : dependents"""
        left, colon, right = text.partition(":")
        if not colon:
            raise MakefileError(where, f"not a line for NMAKE: {text}")
        if not left.strip():
            raise MakefileError(where, "no target to the left of the colon")
        if re.fullmatch(r"\w", left):
            raise MakefileError(where, f"'{left}:' is a drive to NMAKE")
        names = left.split()
        for name in names:
            if not re.fullmatch(NAME, name):
                raise MakefileError(where, f"not a name for NMAKE: '{name}'")
        dependents = []
        for name in right.split():
            dependents += self.wildcard(where, name)
        for name in names:
            target = self.targets.setdefault(name, Target(where))
            target.dependents += [x for x in dependents
                                  if x not in target.dependents]
        self.open = [self.targets[name] for name in dict.fromkeys(names)]
        self.started = False

    @staticmethod
    def wildcard(where, name):
        """The files that a dependent with * or ? stands for."""
        if not re.fullmatch(NAME, re.sub(r"[*?]", "x", name)):
            raise MakefileError(where, f"not a name for NMAKE: '{name}'")
        if not re.search(r"[*?]", name):
            return [name]
        found = sorted(glob.glob(on_disk(name)))
        if not found:
            raise MakefileError(where, f"no file is like '{name}'")
        return [x.replace(os.sep, "\\") for x in found]

    # ------------------------------- macros --------------------------------

    def lookup(self, name):
        """A macro's text, not yet expanded; None if it has no definition."""
        for place in (self.overrides, self.macros, self.inherited):
            if name in place:
                return place[name]
        return None

    def expand(self, where, text, files=None, inside=()):
        """The text with its macros replaced.

        `files` has the filename macros, which only commands have.
        """
        def value(match):
            name, file_macro, letter = match.groups()
            if name is not None and FILE_MACRO.fullmatch(name):
                file_macro, modifier = FILE_MACRO.fullmatch(name).groups()
            else:
                modifier = ""
            if file_macro:
                if files is None or file_macro not in files:
                    raise MakefileError(where, f"{match[0]} has no meaning "
                                        "here")
                return " ".join(part(x, modifier) for x in files[file_macro])
            if letter == "$":
                return "$"
            name = letter if name is None else name
            if not re.fullmatch(r"\w+", name):
                raise MakefileError(where, f"not a macro of NMAKE: {match[0]}")
            if name in inside:
                raise MakefileError(where, f"{name} is defined by itself")
            found = self.lookup(name)
            if found is None:
                raise MakefileError(where, f"{name} has no definition")
            return self.expand(where, found, files, (*inside, name))
        return MACRO.sub(value, text)

    # ------------------------------ checking -------------------------------

    def infer(self, name):
        """The rule that applies to a target, and its source; or None, None."""
        target = self.targets.get(name)
        given = [split(x)[2].lower() for x in target.dependents
                 ] if target else []
        for suffix in self.suffixes:
            for rule in self.rules:
                source = rule.source(name)
                if (rule.from_ext == suffix and source is not None
                        and (source in self.targets
                             or modified(source) is not None)):
                    return rule, source
            if suffix in given:
                break  # an explicit dependent goes before
        return None, None

    def check(self):
        """What NMAKE would find out late, or never say."""
        for name, where in self.defined_at.items():
            self.expand(where, f"$({name})")
        fired = set()
        for name, target in self.targets.items():
            for other in [name, *target.dependents]:
                fired.add(self.infer(other)[0])
                if (other not in self.targets and modified(other) is None
                        and self.infer(other)[0] is None):
                    raise MakefileError(target.where, "don't know how to make "
                                        f"'{other}'")
            if (is_file_name(name) and not target.commands
                    and self.infer(name)[0] is None):
                raise MakefileError(target.where, f"'{name}' has no commands, "
                                    "and no rule applies to it")
            self.check_commands(target.commands, {
                "@": [name], "*": [part(name, "R")],
                "**": target.dependents, "?": target.dependents})
        for rule in self.rules:
            if rule not in fired:
                raise MakefileError(rule.where, "this rule applies to nothing")
            if not rule.commands:
                raise MakefileError(rule.where, "this rule has no commands")
            self.check_commands(rule.commands, {
                x: ["a.b"] for x in ("@", "*", "**", "?", "<")})

    def check_commands(self, commands, files):
        """Whether all of them could be run."""
        for where, text in commands:
            parse_command(where, self.expand(where, text, files))

    # ------------------------------ building -------------------------------

    def update(self, name, chain=()):
        """Bring a target up to date. Returns its time."""
        if name in self.done:
            return self.done[name]
        target = self.targets.get(name)
        rule, source = self.infer(name)
        if name in chain:
            raise MakefileError(target.where, f"'{name}' depends on itself")
        if target is None and rule is None and modified(name) is None:
            raise CommandError(f"don't know how to make '{name}'")
        dependents = list(target.dependents) if target else []
        if source is not None and source not in dependents:
            dependents.insert(0, source)
        times = [self.update(x, (*chain, name)) for x in dependents]
        own = modified(name)
        newer = [x for x, t in zip(dependents, times)
                 if own is None or t > own]
        if own is None or newer:
            files = {"@": [name], "*": [part(name, "R")], "**": dependents,
                     "?": newer}
            commands = target.commands if target else []
            if not commands and rule:
                commands = rule.commands
                files["<"] = [source]
            for where, text in commands:
                self.run(where, self.expand(where, text, files))
            own = modified(name)
            if own is None and is_file_name(name):
                raise CommandError(f"'{name}' was not made by its commands")
        # A pseudotarget is as new as the newest of what it depends on.
        self.done[name] = (own if own is not None
                           else max(times, default=time.time_ns()))
        return self.done[name]

    def build(self, names):
        """All of these, or the first target of the makefile."""
        # A macro named like an environment variable changes that too.
        for name in self.macros:
            if name in self.environment:
                self.environment[name] = self.expand(self.defined_at[name],
                                                     f"$({name})")
        for name in names or [next(iter(self.targets))]:
            self.update(name)

    def run(self, where, text):
        """One command."""
        quiet, ignore, words = parse_command(where, text)
        if not quiet:
            print("\t" + text.lstrip("@- \t"), flush=True)
        status = execute(words, self.environment)
        if status != 0 and not ignore:
            raise CommandError(f"'{words[0]}': return code '{status:#x}'")


def logical_lines(path):
    """Each line with those that continue it, and where it began."""
    with open(path, encoding="ascii") as file:
        lines = file.read().split("\n")
    start, text = 0, ""
    for number, line in enumerate(lines, 1):
        where = (os.path.basename(path), number)
        if start and (not line.strip() or line[0] in "#!"):
            raise MakefileError(where, "the line before goes on here")
        start = start or number
        comment = line.startswith("#")
        if re.search(r"\\\s+$", line):
            raise MakefileError(where, "blanks after the backslash")
        if "^" in line and not comment:
            raise MakefileError(where, "'^' is not known here")
        text = f"{text} {line.lstrip()}" if text else line
        if line.endswith("\\"):
            if comment:
                raise MakefileError(where, "a comment that goes on")
            text = text[:-1].rstrip()
            continue
        yield (where[0], start), text
        start, text = 0, ""
    if start:
        raise MakefileError((os.path.basename(path), start),
                            "the end is in the middle of a line")


# -------------------------------- commands ---------------------------------

def parse_command(where, text):
    """(not shown, may fail, words), or an error: see the top."""
    modifiers = re.match(r"[@\-\s]*", text)[0]
    words = [x.replace('"', "") for x in
             re.findall(r'(?:"[^"]*"|[^\s"])+', text[len(modifiers):])]
    if not words or re.search(r"[&|<>^%#;!]", text) or text.count('"') % 2:
        raise MakefileError(where, f"not known here: {text}")
    check_words(where, words)
    return "@" in modifiers, "-" in modifiers, words


def check_words(where, words):
    """Whether a command can be done here, and in cmd.exe."""
    name = words[0]
    if name == "if":
        rest = words[2:] if words[1:2] == ["not"] else words[1:]
        if len(rest) < 3 or rest[0] != "exist" or "/" in rest[1]:
            raise MakefileError(where, f"not known here: {' '.join(words)}")
        check_words(where, rest[2:])
        return
    if name == "set":
        # With a blank beside it, the = would be part of the name.
        right = len(words) == 2 and re.fullmatch(r"\w+=.+", words[1])
    elif name in ("mkdir", "del"):
        right = len(words) == 2 and re.fullmatch(NAME, words[1])
    elif name == "rmdir":
        right = (words[1:3] == ["/s", "/q"] and len(words) == 4
                 and re.fullmatch(NAME, words[3]))
    else:
        right = (re.fullmatch(r"\w+", name)
                 and name not in ("cd", "copy", "echo", "erase", "for", "md",
                                  "move", "rd", "ren", "rm", "cp", "touch"))
    if not right:
        raise MakefileError(where, f"not known here: {' '.join(words)}")


def execute(words, environment):
    """Run it. Returns its exit status."""
    name = words[0]
    if name == "if":
        wanted = words[1] != "not"
        rest = words[2:] if wanted else words[3:]
        return (execute(rest[1:], environment)
                if os.path.exists(on_disk(rest[0])) == wanted else 0)
    if name == "set":
        variable, _, value = words[1].partition("=")
        environment[variable] = value
        return 0
    try:
        if name == "mkdir":
            os.makedirs(on_disk(words[1]))
        elif name == "rmdir":
            shutil.rmtree(on_disk(words[3]))
        elif name == "del":
            os.remove(on_disk(words[1]))
        else:
            program = shutil.which(name, path=environment.get("PATH"))
            if program is None:
                raise OSError(f"no program '{name}' on PATH")
            return subprocess.run([program, *words[1:]], env=environment,
                                  timeout=COMMAND_TIMEOUT).returncode
    except (OSError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def main(arguments):
    """Returns NMAKE's exit status: 2 for an error."""
    if len(arguments) < 2 or arguments[0].lower() != "/f":
        print(__doc__, file=sys.stderr)
        return 2
    overrides, names = {}, []
    for argument in arguments[2:]:
        name, equals, value = argument.partition("=")
        if equals:
            overrides[name] = value
        else:
            names.append(argument)
    try:
        Makefile(arguments[1], overrides, os.environ).build(names)
    except MakefileError as error:
        print(f"{error}", file=sys.stderr)
    except CommandError as error:
        print(f"nmake.py: {error}", file=sys.stderr)
    else:
        return 0
    print("Stop.", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
