"""Tables in a pipe: a row a line, without spaces at its end, and without columns that have nothing to say."""

from __future__ import annotations

import io

import pytest
from rich.table import Table

from infra.cli.tables import Column, console, print_table

COLUMNS = (Column("name"), Column("by", wide=True), Column("unit", wide=True), Column("why\nit is so", fold=True))


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_lines_have_no_spaces_at_their_end(capsys: pytest.CaptureFixture[str]) -> None:
    out = console()
    print_table(out, "of what it is", COLUMNS[:1], [("a",)])
    assert lines(capsys)[0] == "of what it is"
    print_table(out, "t", COLUMNS, [("a", "me", "user", "it is [bold]best[/]"), ("b", "you", "user", "")])
    boxed = Table("x", title="short", title_justify="left")
    boxed.add_row("a long row of it")
    out.print(boxed)
    out.print("words " * 40)
    found = lines(capsys)
    assert found == [line.rstrip() for line in found]
    assert found[0] == "t"
    assert found[1].split() == ["name", "by", "unit", "why", "it", "is", "so"]
    assert [line.split() for line in found[3:5]] == [["a", "me", "user", "it", "is", "best"], ["b", "you", "user"]]
    assert found[5] == "short"
    assert found[-1] == " ".join(["words"] * 40), "one line, however long"


def test_a_column_in_which_no_row_has_anything_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(console(), "t", COLUMNS, [("a", "", "user", ""), ("b", "", "", "")])
    assert lines(capsys)[1].split() == ["name", "unit"]
    print_table(console(), "t", COLUMNS, [])
    assert lines(capsys)[1].split()[:3] == ["name", "by", "unit"], "of no rows all are named"


def test_a_narrow_terminal_is_told_what_it_has_no_room_for_and_no_more() -> None:
    out = console()
    out.file, out.width, out._force_terminal = io.StringIO(), 80, True
    print_table(out, "t", COLUMNS, [("a", "", "user", "so")])
    text = out.file.getvalue()
    assert "in a pipe: unit)" in text
    assert "user" not in text
