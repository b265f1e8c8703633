"""Text of others, for people."""

from __future__ import annotations


def printable(text: str) -> str:
    """Text that may be shown on a terminal, whatever others have written.

    >>> printable("a\\x1b[2Jb")
    'a\ufffd[2Jb'
    """
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
