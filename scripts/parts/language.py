"""The language that a script prints: English or Korean.

A text in both is a pair, {"en": ..., "ko": ...}, where it is used. say()
chooses; fill() keeps both, for a page that has a button for the language.
"""

import argparse
import os
import sys
import unicodedata

from parts.words import Chosen

LANGUAGES = ("en", "ko")
KOREAN_UI = 0x12  # the primary part of Windows' identifier of a language


def choose(arguments=None):
    """Chooses the language by --lang, else the user's. Call this before the
    parser is made, because its help is in that language too."""
    wanted = add_option(argparse.ArgumentParser(
        add_help=False, exit_on_error=False))
    try:
        language = wanted.parse_known_args(arguments)[0].lang
    except argparse.ArgumentError:
        language = None  # the script's own parser will say what is wrong
    Chosen.language = language or of_user()
    if not all(map(can_show_korean, (sys.stdout, sys.stderr))):
        Chosen.language = "en"


def add_option(parser):
    parser.add_argument("--lang", choices=LANGUAGES, help=say({
        "en": "language; default: the system's",
        "ko": "언어. 기본값은 시스템의 언어입니다"}))
    return parser


def of_user():
    """Returns the language of the environment, or on Windows that of its
    menus."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if os.environ.get(name):
            return "ko" if os.environ[name].startswith("ko") else "en"
    if os.name == "nt":
        import ctypes
        menus = ctypes.windll.kernel32.GetUserDefaultUILanguage()
        return "ko" if menus & 0x3FF == KOREAN_UI else "en"
    return "en"


def can_show_korean(stream):
    try:
        "한국어".encode(getattr(stream, "encoding", None) or "ascii")
        return True
    except (UnicodeEncodeError, LookupError):
        return False


# ---------------------------------- texts -----------------------------------

def say(text, /, **values):
    """Returns the text in the chosen language, with the values filled in. A
    value may be a pair too."""
    return fill(text, **values)[Chosen.language]


def fill(text, /, **values):
    """Returns the pair with the values filled in."""
    return {language: text[language].format(
        **{name: value[language] if isinstance(value, dict) else value
           for name, value in values.items()}) for language in LANGUAGES}


def width(text):
    """Returns how many columns of a terminal the text takes."""
    return sum(1 + (unicodedata.east_asian_width(letter) in "WF")
               for letter in text)


def wrap(text, columns):
    """Returns the words in lines that are no wider. textwrap counts letters,
    and Korean ones take two columns."""
    lines = []
    for word in text.split():
        if lines and width(f"{lines[-1]} {word}") <= columns:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines
