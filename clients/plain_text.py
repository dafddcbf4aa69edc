"""Words of somebody else's, made fit to be shown: nothing in them moves a terminal's cursor, or hides what is there."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with `?` for what cannot be printed.

    Escape sequences, line ends and other control characters, marks that turn the direction of writing and lone
    surrogates are not printable, as `str.isprintable` has it.
    """
    return text if text.isprintable() else "".join(one if one.isprintable() else "?" for one in text)


def one_line(text: str) -> str:
    """The text on one line, each run of white space as one blank, and what cannot be printed as `?`."""
    return printable(" ".join(text.split()))
