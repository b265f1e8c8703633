"""Damage costs the rows that it hits, and they are counted; files that are no such files at all are refused."""

from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path

import pytest

from infra.importers import sources
from infra.importers.engine import import_log
from infra.importers.formats import formats
from infra.importers.layout import Options
from infra.importers.sources import OVERLONG, split_lines
from online_models.errors import InputError

HEAD = "user_id,item_id,timestamp,note\n"


def rows(start: int, count: int) -> str:
    return "".join(f"u{n},i,{1511544070 + n},x\n" for n in range(start, start + count))


def users(events: list[dict]) -> list[str]:
    return [event["user_id"] for event in events]


def test_a_quote_that_is_never_closed_costs_one_row(imported) -> None:
    events, tally = imported("csv", HEAD + 'bad,i,1511544070,"open\n' + rows(0, 200), event_type="view")
    assert users(events) == [f"u{n}" for n in range(200)]
    assert [(d.count, d.first[-6:]) for d in tally.drops.values()] == [(1, ".csv:2")]
    assert list(tally.drops) == ["bad_quoting"]


def test_a_quote_that_another_row_closes_costs_one_row_each(imported) -> None:
    content = HEAD + 'bad,i,1511544070,"open\n' + rows(0, 5) + 'bad,i,1511544070,x"\n' + rows(5, 1)
    events, tally = imported("csv", content, event_type="view")
    assert users(events) == ["u0", "bad", *[f"u{n}" for n in range(1, 6)]]
    assert tally.drops["bad_quoting"].count == 1


def test_bad_rows_inside_a_stray_quote_are_counted_too(imported) -> None:
    content = HEAD + 'bad,i,1511544070,"open\nu0,i,soon,x\nu1,i,1511544070,x",more\n' + rows(0, 1)
    _, tally = imported("csv", content, event_type="view")
    assert {reason: drop.first[-1] for reason, drop in tally.drops.items()} == {
        "bad_quoting": "2",
        "bad_time": "3",
        "wrong_column_count": "4",
    }


def test_text_of_several_lines_is_no_row(imported) -> None:
    events, tally = imported("csv", HEAD + 'u1,i,1511544070,"a, b, c, d\ne, f, g, h\nend"\n', event_type="view")
    assert (users(events), tally.read) == (["u1"], 1)


def test_many_open_quotes(imported) -> None:
    content = HEAD + "".join('bad,i,1511544070,"open\n' + rows(n, 1) for n in range(1000))
    events, tally = imported("csv", content, event_type="view")
    assert users(events) == [f"u{n}" for n in range(1000)]
    assert tally.drops["bad_quoting"].count == 1000


def test_line_numbers_survive_records_of_many_lines(imported) -> None:
    content = HEAD + 'u1,i,1511544070,"a\nb\nc"\nu2,i,soon,x\n'
    events, tally = imported("csv", content, event_type="view")
    assert users(events) == ["u1"]
    assert tally.drops["bad_time"].first.endswith(":5")


def test_bytes_that_are_not_utf8_fail_only_where_they_matter(imported) -> None:
    content = HEAD.encode() + b"u1,i,1511544070,caf\xe9\nu\xe9,i,1511544070,x\n" + "ü,i,1511544071,x\n".encode()
    events, tally = imported("csv", content, event_type="view")
    assert users(events) == ["u1", "ü"]
    assert tally.drops["not_utf8"].first.endswith(":3")


def test_json_that_is_not_utf8(imported) -> None:
    good = b'{"user_id":"u","item_id":"i","timestamp":1511544070,"event_type":"view"}\n'
    events, tally = imported("jsonl", good + good.replace(b'"u"', b'"\xe9"'), suffix=".jsonl")
    assert (users(events), list(tally.drops)) == (["u"], ["not_utf8"])


def test_zero_bytes_and_blank_lines(imported) -> None:
    content = "\n" + HEAD + "\n   \nu1,i,1511544070,\0\nu2,\0,1511544070,x\n\n"
    events, tally = imported("csv", content, event_type="view")
    assert users(events) == ["u1", "u2"]
    assert tally.blank == 3
    assert "3  blank lines" in tally.report("log")


def test_lines_of_any_length(imported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_LINE", 1000)
    monkeypatch.setattr(sources, "BLOCK", 64)
    content = HEAD + rows(0, 1) + "x" * 5000 + "\n" + rows(1, 2) + '"' + "y" * 5000 + "\n" + rows(3, 1) + "z" * 5000
    events, tally = imported("csv", content, event_type="view")
    assert users(events) == ["u0", "u1", "u2", "u3"]
    assert (tally.drops["line_too_long"].count, tally.drops["line_too_long"].first[-2:]) == (3, ":3")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64])
def test_lines_do_not_depend_on_blocks(size: int) -> None:
    data = "a\r\nbé,\n\n\rc\n坂本\r\nend\r".encode()
    blocks = (data[at : at + size] for at in range(0, len(data), size))
    assert list(split_lines(blocks)) == ["a", "bé,", "", "\rc", "坂本", "end"]


def test_overlong_lines_do_not_hide_their_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_LINE", 4)
    assert list(split_lines(iter([b"abc", b"def", b"\n"]))) == [OVERLONG]
    assert list(split_lines(iter([b"abc", b"def", b"g", b"h\nok\nx"]))) == [OVERLONG, "ok", "x"]


def test_a_wrong_file_is_refused(imported) -> None:
    with pytest.raises(InputError, match=r"expected a header with timestamp, visitorid.*got 'a,b'.*check FORMAT"):
        imported("retailrocket", "a,b\n1,2\n")
    with pytest.raises(InputError, match="5 columns user, item, category, behavior, timestamp without header"):
        imported("taobao", "a,b\n1,2\n")
    with pytest.raises(InputError, match="an empty file"):
        imported("otto", "", suffix=".jsonl")


def test_a_damaged_first_line_does_not_hide_the_format(imported) -> None:
    events, tally = imported("taobao", "1,2,pv\n1,2,3,pv,1511544070\n")
    assert (len(events), tally.dropped) == (1, 1)


@pytest.mark.parametrize("content", [gzip.compress(b"x" * 1000)[:-12], b"not gzip"], ids=["cut off", "not packed"])
def test_broken_gzip_is_fatal_and_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in.gz").write_bytes(content)
    with pytest.raises(InputError, match="a readable file"):
        import_log(formats()["csv"], [tmp_path / "in.gz"], tmp_path / "log")
    assert [path.name for path in tmp_path.iterdir()] == ["in.gz"]


def test_gzip_that_breaks_in_the_middle_leaves_no_log(tmp_path: Path) -> None:
    whole = gzip.compress((HEAD + "".join(f"{os.urandom(20).hex()},i,1511544070,x\n" for _ in range(30000))).encode())
    (tmp_path / "in.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="fetch it again"):
        import_log(formats()["csv"], [tmp_path / "in.csv.gz"], tmp_path / "log", Options(event_type="view"))
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv.gz"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing.csv", "got nothing at"), ("sheet.xlsx", "save the sheet as CSV"), ("data.tar.gz", "unpack it first")],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, message: str) -> None:
    if name != "missing.csv":
        (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(InputError, match=message):
        import_log(formats()["online-retail"], [tmp_path / name], tmp_path / "log")


def test_folders_and_archives(tmp_path: Path) -> None:
    folder = tmp_path / "ml"
    folder.mkdir()
    (folder / "u.data").write_text("1\t2\t3\t881250949\n")
    (folder / "README").write_text("text")
    with zipfile.ZipFile(tmp_path / "ml.zip", "w") as archive:
        archive.writestr("ml-100k/README", "text")
        archive.writestr("ml-100k/u.data", "1\t2\t3\t881250949\nx\n")
    for path in (folder, tmp_path / "ml.zip"):
        assert import_log(formats()["movielens"], [path], tmp_path / "log").kept == 1
    with pytest.raises(InputError, match=r"expected a file events.csv in .*ml.zip, got ml-100k/README, ml-100k/u.data"):
        import_log(formats()["retailrocket"], [tmp_path / "ml.zip"], tmp_path / "log")
    with pytest.raises(InputError, match=r"expected a file events.csv in .*, got none"):
        import_log(formats()["retailrocket"], [folder], tmp_path / "log")
    (tmp_path / "bad.zip").write_text("no")
    with pytest.raises(InputError, match="a zip archive"):
        import_log(formats()["retailrocket"], [tmp_path / "bad.zip"], tmp_path / "log")


DEEP = "[" * 2_000 + "]" * 2_000
ROW = '{"user_id":"u%d","item_id":"i","timestamp":1511544070,"event_type":"view"%s}\n'


@pytest.mark.parametrize("place", [0, 2])
def test_a_deeply_nested_line_is_one_bad_row(imported, place: int) -> None:
    lines = [ROW % (n, "") for n in range(40)]
    lines.insert(place, ROW % (99, f',"x":{DEEP}'))
    lines.insert(30, ROW % (99, f',"context":{{"x":{DEEP}}}'))
    events, tally = imported("jsonl", "".join(lines), suffix=".jsonl")
    assert users(events) == [f"u{n}" for n in range(40)]
    assert {reason: drop.count for reason, drop in tally.drops.items()} == {"nested_too_deep": 2}


def test_no_nesting_ends_an_import(tmp_path: Path) -> None:
    """Just below what can be read, what follows may be too deep: the words of a refusal, the check of the size."""
    nested = ["[" * depth + "]" * depth for depth in range(900, 1_010)]
    lines = [ROW % (1, f',"context":{{"x":{each}}}') + ROW % (2, f',"context":{each}') for each in nested]
    lines += [ROW.replace('"i"', each) % (3, "") for each in nested]
    (tmp_path / "deep.jsonl").write_text("".join(lines) + ROW % (0, ""))
    tally = import_log(formats()["jsonl"], [tmp_path / "deep.jsonl"], tmp_path / "log.jsonl", Options())
    assert tally.read == 3 * len(nested) + 1
    assert tally.drops.keys() == {"nested_too_deep", "wrong_type"}
    assert (tmp_path / "log.jsonl").read_text().count('"u0"') == 1


def test_a_deeply_nested_context_in_a_cell_is_one_bad_row(imported) -> None:
    head = "user_id;item_id;timestamp;event_type;context\n"
    content = head + f'u0;i;1511544070;view;{{"x":{DEEP}}}\nu1;i;1511544070;view;\n'
    events, tally = imported("csv", content)
    assert users(events) == ["u1"]
    assert list(tally.drops) == ["wrong_type"]
