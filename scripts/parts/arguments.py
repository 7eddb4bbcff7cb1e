"""Command lines."""

import argparse
import math

from parts.words import one_line


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line in one line, whatever was typed."""

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
            raise argparse.ArgumentTypeError(
                f"'{text}' is not a number from {least} to {most}")
        return value
    return check
