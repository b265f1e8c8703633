"""Reads headings, tables and code blocks of the documentation, for the tests that hold it to the code."""

from __future__ import annotations

import re


def sections(text: str, mark: str) -> list[tuple[str, str]]:
    """Title and body of each heading of a level; a body ends at the next heading of that level or above.

    >>> sections("# a\\n1\\n## b\\n2\\n## c\\n3\\n# d\\n4", "##")
    [('b', '2'), ('c', '3')]
    """
    found: list[tuple[str, list[str]]] = []
    inside = False
    for line in text.splitlines():
        level = re.match(r"(#+) ", line)
        if level and len(level[1]) <= len(mark):
            inside = level[1] == mark
            if inside:
                found.append((line[len(mark) + 1 :].strip(), []))
        elif inside:
            found[-1][1].append(line)
    return [(title, "\n".join(body)) for title, body in found]


def tables(text: str) -> list[list[list[str]]]:
    """The tables, each a list of rows of cells; the first row is the head.

    >>> tables("|a|b|\\n|---|---|\\n|1|2|")
    [[['a', 'b'], ['1', '2']]]
    """
    blocks = re.findall(r"(?:^\|.*\|[ ]*\n?)+", text, re.MULTILINE)
    return [[cells(line) for line in block.splitlines() if not re.fullmatch(r"[|\-: ]+", line)] for block in blocks]


def cells(line: str) -> list[str]:
    """The cells of a table's row."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def code_blocks(text: str, language: str) -> list[str]:
    """What stands between ```language and ```."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
