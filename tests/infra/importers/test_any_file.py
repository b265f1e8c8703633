"""CSV, JSON Lines and Parquet by a column mapping."""

from __future__ import annotations

import json
import sys
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from infra.importers.engine import import_log
from infra.importers.formats import formats
from infra.importers.layout import Options
from online_models.errors import InputError

WANTED = {
    "timestamp": 1511544070000,
    "user_id": "7",
    "item_id": "B00",
    "event_type": "view",
    "event_id": "csv-1",
    "v": 1,
}


def test_csv_by_mapping(imported) -> None:
    content = "visitor,when,item_id,price,shop\n7,1511544070,B00,2.5,north\n7,1511544070,,2.5,\n7,1511544071,B01,,\n"
    columns = {"user_id": "visitor", "timestamp": "when", "value": "price", "context.shop": "shop"}
    events, tally = imported("csv", content, columns=columns, event_type="view")
    assert events == [
        WANTED | {"value": 2.5, "context": {"shop": "north"}},
        WANTED | {"timestamp": 1511544071000, "item_id": "B01", "event_id": "csv-3"},
    ]
    assert set(tally.drops) == {"empty_item_id"}


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_csv_separator_is_found_out(imported, delimiter: str) -> None:
    rows = [["user_id", "item_id", "timestamp"], ["7", "B00", "1511544070"]]
    events, _ = imported("csv", "\n".join(map(delimiter.join, rows)), event_type="view")
    assert events == [WANTED]


def test_csv_separator_of_two_characters(imported) -> None:
    events, _ = imported("csv", 'user_id::item_id::timestamp\n7::"B::1511544070\n', delimiter="::", event_type="view")
    assert events == [WANTED | {"item_id": '"B'}]


def test_csv_without_header(imported) -> None:
    names = ("user_id", "category", "item_id", "timestamp", "event_type")
    events, _ = imported("csv", "7,c,B00,1511544070,view\n", names=names)
    assert events == [WANTED]


def test_csv_columns_in_other_case_and_twice(imported) -> None:
    content = "USER_ID,Item_Id,item_id,item_id,Timestamp\n7,x,B00,y,1511544070\n"
    events, _ = imported("csv", content, event_type="view")
    assert events == [WANTED]
    events, _ = imported("csv", content.replace(",item_id", ",ITEM_ID"), event_type="view")
    assert events == [WANTED | {"item_id": "x"}]


def test_csv_of_our_own_fields_is_taken_as_it_is(imported) -> None:
    head = "event_id,timestamp,user_id,item_id,event_type,session_id,value,request_id,context\n"
    row = 'e-9,1511544070000,7,B00,,s,4,r,"{""page"": 3}"\n'
    bad = 'e-9,1511544070000,7,B00,,s,4,r,"[3]"\n'
    events, tally = imported("csv", head + row + bad, event_type="view")
    extra = {"event_id": "e-9", "session_id": "s", "value": 4.0, "request_id": "r", "context": {"page": 3}}
    assert events == [WANTED | extra]
    assert set(tally.drops) == {"wrong_type"}


@pytest.mark.parametrize(
    ("written", "time_format"),
    [
        ("1511544070", None),
        ("1511544070000", None),
        ("1511544070.0", None),
        ("2017-11-24T17:21:10Z", None),
        ("2017-11-24 18:21:10+01:00", None),
        ("2017-11-24T12:21:10-0500", None),
        ("2017-11-24 17:21:10", "iso"),
        ("1511544070", "seconds"),
        ("1511544070000", "ms"),
        ("24.11.2017 17:21:10", "%d.%m.%Y %H:%M:%S"),
        ("24.11.2017 12:21:10 -0500", "%d.%m.%Y %H:%M:%S %z"),
    ],
)
def test_times(imported, written: str, time_format: str | None) -> None:
    content = f"user_id,item_id,timestamp\n7,B00,{written}\n7,B00,soon\n7,B00,\n7,B00,inf\n7,B00,{'9' * 30}\n"
    events, tally = imported("csv", content, time_format=time_format, event_type="view")
    assert events == [WANTED]
    assert tally.dropped == 4


def test_csv_limits_of_the_contract(imported) -> None:
    rows = [
        f"{'u' * 257},B00,1511544070,view,1,",
        f"7,B00,1511544070,{'w' * 65},1,",
        "7,B00,1511544070,,1,",
        "7,B00,1511544070,view,1e999,",
        "7,B00,1511544070,view,much,",
        f'7,B00,1511544070,view,1,"{{""a"": ""{"x" * 5000}""}}"',
        "7,B00,1511544070,view,1,",
    ]
    content = "user_id,item_id,timestamp,event_type,value,context\n" + "\n".join(rows) + "\n"
    events, tally = imported("csv", content)
    assert events == [WANTED | {"event_id": "csv-7", "value": 1.0}]
    assert {reason: drop.first.rpartition(":")[2] for reason, drop in tally.drops.items()} == {
        "user_id_too_long": "2",
        "event_type_too_long": "3",
        "empty_event_type": "4",
        "value_not_finite": "5",
        "bad_number": "6",
        "context_too_large": "7",
    }


@pytest.mark.parametrize(
    ("head", "options", "expected", "remedy"),
    [
        (
            "timestamp,user_id,item_id",
            {},
            "a column for event_type",
            "--event-type WORD (such as click) if every row is of one type, else --map event_type=COLUMN",
        ),
        (
            "time;user_id;sku",
            {"columns": {"timestamp": "time", "item_id": "skuu"}, "event_type": "click"},
            "a column 'skuu' (for item_id)",
            "did you mean --map item_id=sku?",
        ),
        (
            "TIMESTAMP\tUser_id\tshop",
            {"columns": {"context.shop": "store"}},
            "a column 'store' (for context.shop), and one for item_id, event_type",
            "correct --map context.shop=store. say which columns they are: --map item_id=COLUMN. For event_type: "
            "--event-type WORD (such as click) if every row is of one type, else --map event_type=COLUMN",
        ),
        (
            "7,B00,1511544070",
            {"event_type": "click"},
            "a column for timestamp, user_id, item_id",
            "say which columns they are: --map timestamp=COLUMN --map user_id=COLUMN --map item_id=COLUMN. "
            "If the first line is no header: --columns NAME,...",
        ),
        (
            "1,2,3",
            {"names": ("user_id", "item_id", "when"), "event_type": "click"},
            "a column for timestamp",
            "say which columns they are: --map timestamp=COLUMN",
        ),
    ],
)
def test_csv_that_lacks_a_column_says_which(imported, head: str, options: dict, expected: str, remedy: str) -> None:
    with pytest.raises(InputError) as caught:
        imported("csv", f"{head}\n1,2,3\n", **options)
    assert (caught.value.expected, caught.value.remedy) == (expected, remedy)


@pytest.mark.parametrize(
    ("content", "options", "found", "remedy"),
    [
        ("user_id,item_id,timestamp\n", {"event_type": "view"}, "no rows in ", "whole file"),
        (
            "user_id,item_id,timestamp\n1,2,24.11.2017 09:00\n3,,24.11.2017 09:01\n",
            {"event_type": "view"},
            "2 bad_time, first at .*:2: 24.11.2017 09:00",
            "--time-format",
        ),
        ("user_id,item_id,timestamp,event_type\n1,2,1511544070,\n", {}, "1 empty_event_type", "--event-type"),
        ("user_id,item_id,timestamp,event_type\n1,2,7,view\n", {}, "1 timestamp_out_of_range", "--since"),
        ("user_id,item_id,timestamp\n1\n", {"event_type": "view"}, "1 wrong_column_count", "--map"),
    ],
)
def test_an_import_that_keeps_nothing_fails_and_writes_nothing(
    imported, tmp_path: Path, content: str, options: dict, found: str, remedy: str
) -> None:
    with pytest.raises(InputError, match=found) as caught:
        imported("csv", content, **options)
    assert remedy in caught.value.remedy
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["source0.csv"]


def test_what_is_no_text_is_called_so(imported, tmp_path: Path) -> None:
    for content in (Path(sys.executable).read_bytes()[:100_000], "a;b\n1;2\n".encode("utf-16")):
        for name in ("csv", "jsonl", "movielens"):
            with pytest.raises(InputError, match="expected UTF-8 text, got something else in") as caught:
                imported(name, content)
            assert str(caught.value).isprintable()


def test_what_stood_in_a_row_cannot_take_over_the_terminal(imported) -> None:
    rows = "1,2,1511544070\n1,2,\x1b[2J\n"
    _, tally = imported("csv", f"user_id,item_id,timestamp\n{rows}", event_type="view")
    assert "\ufffd[2J" in tally.report("log")
    assert "\x1b" not in tally.report("log")


def test_a_type_from_which_nothing_is_learned_is_named(imported) -> None:
    content = "user_id,item_id,timestamp,event_type\n1,2,1511544070,kauf\n1,2,1511544070,click\n"
    _, tally = imported("csv", content)
    assert "nothing will be learned from kauf until" in tally.report("log")
    _, tally = imported("csv", content.replace("kauf", "view"))
    assert "nothing will be learned" not in tally.report("log")


def test_jsonl_by_mapping(imported) -> None:
    rows: list[object] = [
        {"user": {"id": 7}, "sku": "B00", "timestamp": "2017-11-24T17:21:10Z", "context": {"page": 1}},
        {"user": {"id": 7.0}, "sku": 12, "timestamp": 1511544071, "value": "3.5"},
        {"user": {"id": True}, "sku": 12, "timestamp": 1511544071},
        {"user": {"id": [7]}, "sku": 12, "timestamp": 1511544071},
        {"user": None, "sku": 12, "timestamp": 1511544071},
        {"user": {"id": 7}, "sku": 12, "timestamp": None},
        {"user": {"id": 7}, "sku": 12, "timestamp": 1511544071, "value": [1]},
        "text",
    ]
    content = "\n".join(json.dumps(row) for row in rows) + '\n{"user": {"id": NaN}}\n'
    columns = {"user_id": "user.id", "item_id": "sku"}
    events, tally = imported("jsonl", content, suffix=".jsonl", columns=columns, event_type="view")
    assert events == [
        WANTED | {"event_id": "jl-1", "context": {"page": 1}},
        WANTED | {"event_id": "jl-2", "timestamp": 1511544071000, "item_id": "12", "value": 3.5},
    ]
    assert {reason: drop.count for reason, drop in tally.drops.items()} == {
        "wrong_type": 2,
        "empty_user_id": 1,
        "bad_time": 1,
        "bad_number": 1,
        "not_an_object": 1,
        "not_json": 1,
    }


def test_jsonl_without_the_keys_is_refused(imported) -> None:
    with pytest.raises(InputError, match=r"a column for timestamp, user_id, item_id, event_type, got a, b\.c in"):
        imported("jsonl", '{"a": 1, "b": {"c": 2}}\n', suffix=".jsonl")
    with pytest.raises(InputError, match="one JSON object a line with timestamp, user_id, item_id, event_type"):
        imported("jsonl", "a;b\n", suffix=".jsonl")


def test_import_of_a_log_of_ours_changes_nothing(imported, tmp_path: Path) -> None:
    imported("csv", "user_id,item_id,timestamp,value\n7,B00,1511544070,2\n", event_type="view")
    first = (tmp_path / "log.jsonl").read_text()
    imported("jsonl", first, suffix=".jsonl")
    assert (tmp_path / "log.jsonl").read_text() == first


def test_parquet_by_mapping(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    noon = datetime(2017, 11, 24, 17, 21, 10, tzinfo=timezone.utc)
    table = pyarrow.table(
        {
            "visitor": [7, 7, None],
            "item_id": pyarrow.array(["B00", "B00", "B00"]).dictionary_encode(),
            "at": pyarrow.array([noon, noon, noon], pyarrow.timestamp("us", tz="Europe/Rome")),
            "value": [Decimal("2.50"), None, None],
        }
    )
    parquet.write_table(table, tmp_path / "in.parquet")
    options = Options(columns={"user_id": "visitor", "timestamp": "at"}, event_type="view")
    tally = import_log(formats()["parquet"], [tmp_path / "in.parquet"], tmp_path / "log.jsonl", options)
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [
        WANTED | {"event_id": "pq-1", "value": 2.5},
        WANTED | {"event_id": "pq-2"},
    ]
    assert tally.drops["empty_user_id"].first.endswith("in.parquet:3")


def test_parquet_days_are_times_too(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"user_id": ["7"], "item_id": ["B00"], "timestamp": [date(2017, 11, 24)]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "in.parquet")
    import_log(formats()["parquet"], [tmp_path / "in.parquet"], tmp_path / "log", Options(event_type="view"))
    assert json.loads((tmp_path / "log").read_text())["timestamp"] == 1511481600000


def test_parquet_that_lacks_a_column_or_is_none(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"user_id": ["7"]}), tmp_path / "in.parquet")
    with pytest.raises(InputError, match="a column for timestamp, item_id, got user_id in"):
        import_log(formats()["parquet"], [tmp_path / "in.parquet"], tmp_path / "log", Options(event_type="view"))
    (tmp_path / "in.parquet").write_text("no")
    with pytest.raises(InputError, match="expected a Parquet file"):
        import_log(formats()["parquet"], [tmp_path / "in.parquet"], tmp_path / "log", Options())


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install 'headrace\[parquet\]'"):
        import_log(formats()["parquet"], [tmp_path / "in.parquet"], tmp_path / "log", Options())
