"""English or Korean: who chooses, and whether both say the same."""

import argparse
import ast
import os
import re
import string
import subprocess
import sys

import pytest

from support import IO_TIMEOUT, ROOT, WINDOWS
from parts import language, streams, words  # where support finds the scripts

SCRIPTS = sorted((ROOT / "scripts").rglob("*.py"))
HANGUL = re.compile("[\uac00-\ud7a3]")
LOCALES = ("LC_ALL", "LC_MESSAGES", "LANG")


def help_of(script, *arguments, encoding="utf-8", **env):
    """Returns its --help. `env` is all that says the language."""
    env = {**{name: value for name, value in os.environ.items()
              if name not in LOCALES},
           "PYTHONIOENCODING": encoding, **env}
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), *arguments, "--help"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=IO_TIMEOUT,
        env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode(encoding)


@pytest.mark.parametrize("env, korean", [
    ({"LANG": "ko_KR.UTF-8"}, True),
    ({"LC_MESSAGES": "ko", "LANG": "de_DE.UTF-8"}, True),
    ({"LC_ALL": "C.UTF-8", "LANG": "ko_KR.UTF-8"}, False),
    ({"LC_ALL": "", "LANG": "ko_KR.UTF-8"}, True),
    pytest.param({}, False, marks=pytest.mark.skipif(
        WINDOWS, reason="the language of its menus counts"))])
def test_the_user_s_locale(env, korean):
    assert bool(HANGUL.search(help_of("live.py", **env))) is korean


def test_the_option_comes_before_the_locale():
    assert HANGUL.search(help_of("live.py", "--lang=ko", LC_ALL="C"))
    assert not HANGUL.search(
        help_of("live.py", "--lang", "en", LC_ALL="ko_KR.UTF-8"))


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1", "cp437"])
def test_a_console_that_cannot_show_korean(encoding):
    """It gets English, not escapes."""
    text = help_of("live.py", "--lang", "ko", encoding=encoding)
    assert text.isascii() and "\\u" not in text
    assert "Run the echo server" in text


def test_a_console_of_korean_windows():
    assert HANGUL.search(help_of("live.py", "--lang", "ko", encoding="cp949"))


@pytest.mark.parametrize("script, arguments", [
    ("demo.py", ["none"]), ("demo.py", ["cycle", "--server", "none.exe"]),
    ("demo.py", ["calls", "--live"]), ("demo.py", ["--none"]),
    ("launch.py", ["none.exe"]), ("live.py", ["--server", "none.exe"])])
def test_what_goes_wrong_is_said_in_korean(script, arguments):
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=IO_TIMEOUT,
        env={**os.environ, "LC_ALL": "ko_KR.UTF-8",
             "PYTHONIOENCODING": "utf-8"})
    assert done.returncode in (1, 2) and done.stdout == b""
    lines = done.stderr.decode().splitlines()
    assert HANGUL.search(lines[0]) and HANGUL.search(lines[-1])


def test_both_languages_are_filled_in():
    pair = {"en": "{n} of {text}", "ko": "{text} {n}"}
    assert language.fill(pair, n=3, text={"en": "all", "ko": "모두"}) == {
        "en": "3 of all", "ko": "모두 3"}


def test_wrapping_counts_columns():
    assert language.wrap("가나다 라마바 ab", 10) == ["가나다", "라마바 ab"]
    assert language.wrap("a b  c", 3) == ["a b", "c"]
    assert language.wrap("", 3) == []


def pairs(path):
    """Returns the line and the texts of each {"en": ..., "ko": ...} in a
    source."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Dict) and all(
                isinstance(key, ast.Constant) for key in node.keys):
            found = dict(zip((key.value for key in node.keys), node.values))
            if "ko" in found:
                yield node.lineno, found


def placeholders(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_both_languages_hold_the_same_placeholders(path):
    for line, pair in pairs(path):
        assert list(pair) == ["en", "ko"], line
        english, korean = map(ast.literal_eval, pair.values())
        assert placeholders(english) == placeholders(korean), line
        assert english.isascii(), line


@pytest.mark.parametrize("error, said", [
    (KeyboardInterrupt, "중단되었습니다"),
    (MemoryError, "메모리가 모자랍니다"),
    (streams.closed, "닫혀 있습니다")])
def test_what_ends_any_script_is_told_in_korean(monkeypatch, capsys, error,
                                                said):
    monkeypatch.setattr(language.Chosen, "language", "ko")
    words.tell(error(), "x")
    assert capsys.readouterr().err == f"x: {said}\n"


def test_argparse_speaks_korean(monkeypatch, capsys):
    from parts.arguments import Parser
    monkeypatch.setattr(language.Chosen, "language", "ko")
    with pytest.raises(SystemExit):
        Parser(prog="x").parse_args(["--no\nsuch"])
    assert capsys.readouterr().err == (
        "사용법: x [-h]\nx: 오류: 알 수 없는 인자입니다: --no such\n")
    monkeypatch.undo()
    assert argparse._("usage: ") == "usage: "
