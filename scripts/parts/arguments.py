"""Command lines."""

import argparse
import math

from parts import language
from parts.words import one_line

# What argparse itself says. It looks each text up before it prints it; one
# that is not here, as from another version, stays English.
KOREAN = {
    "usage: ": "사용법: ",
    "positional arguments": "인자",
    "options": "옵션",
    "optional arguments": "옵션",
    "show this help message and exit": "이 도움말을 출력하고 끝냅니다",
    "%(prog)s: error: %(message)s\n": "%(prog)s: 오류: %(message)s\n",
    "argument %(argument_name)s: %(message)s":
        "%(argument_name)s: %(message)s",
    "unrecognized arguments: %s": "알 수 없는 인자입니다: %s",
    "the following arguments are required: %s": "빠진 인자가 있습니다: %s",
    "expected one argument": "값이 하나 필요합니다",
    "not allowed with argument %s": "%s 옵션과 함께 쓸 수 없습니다",
    "invalid choice: %(value)r (choose from %(choices)s)":
        "%(value)r 값은 쓸 수 없습니다(가능한 값: %(choices)s)",
    "invalid %(type)s value: %(value)r": "%(value)r 값은 쓸 수 없습니다",
}
argparse._ = lambda text: (
    KOREAN.get(text, text) if language.Chosen.language == "ko" else text)


class Help(argparse.HelpFormatter):
    """Wraps Korean too. Keeps the lines of a text where they fit."""

    def _split_lines(self, text, columns):
        return language.wrap(text, columns)

    def _fill_text(self, text, columns, indent):
        return "\n".join(
            indent + line for part in text.splitlines() for line in (
                [part] if language.width(part) <= columns - len(indent)
                else language.wrap(part, columns - len(indent))))


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line in one line, whatever was typed."""

    def __init__(self, formatter_class=Help, **options):
        super().__init__(formatter_class=formatter_class, **options)

    def error(self, message):
        super().error(one_line(message))


def within(kind, least, most):
    """Returns a validator for numbers of this kind, bounds included."""
    def check(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(language.say({
                "en": "'{text}' is not a number from {least} to {most}",
                "ko": "'{text}' 값은 {least}에서 {most}까지의 수가 아닙니다",
            }, text=text, least=least, most=most))
        return value
    return check
