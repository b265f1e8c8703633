"""docs/records.md: the examples are valid records, and the tables name the fields that there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streams.contracts.catalogue import Item
from streams.contracts.dead_letters import DeadLetter, Reason
from streams.contracts.drifts import QualityDrift
from streams.contracts.events import Event
from streams.contracts.explanations import Explanation
from streams.contracts.interactions import Interaction
from streams.contracts.recommendations import Recommendation
from streams.contracts.topics import Topics
from streams.validate import Rejection, validate
from tests.docs.markdown import code_blocks, sections, tables

TEXT = (Path(__file__).parents[2] / "docs" / "records.md").read_text("utf-8")
PARTS = dict(sections(TEXT, "##"))
RECORDS: dict[str, type[msgspec.Struct]] = {
    "Event": Event,
    "Recommendation": Recommendation,
    "Explanation": Explanation,
    "Drift": QualityDrift,
    "Catalogue item": Item,
    "Dead letter": DeadLetter,
}


def first_column(table: list[list[str]]) -> list[str]:
    return [row[0].strip("`") for row in table[1:]]


@pytest.mark.parametrize("title", RECORDS)
def test_the_example_is_such_a_record_with_every_field(title: str) -> None:
    [example] = code_blocks(PARTS[title], "json")
    record = msgspec.json.decode(example, type=RECORDS[title])
    plain = msgspec.to_builtins(record, builtin_types=())
    shown = json.loads(example)
    assert shown.keys() == {field.encode_name for field in msgspec.structs.fields(RECORDS[title])}
    # What the structs leave out as a default is not lost, and nothing of the example was ignored at any depth.
    assert shown | plain == shown


@pytest.mark.parametrize("title", [*RECORDS, "Interaction"])
def test_the_table_names_every_field(title: str) -> None:
    kind = RECORDS.get(title, Interaction)
    assert sorted(first_column(tables(PARTS[title])[0])) == sorted(kind.__struct_fields__)


def test_the_event_passes_and_the_dead_letter_is_what_its_bytes_lead_to() -> None:
    [event] = code_blocks(PARTS["Event"], "json")
    assert isinstance(validate(event.encode(), now_ms=1 << 41), Event)
    letter = msgspec.json.decode(code_blocks(PARTS["Dead letter"], "json")[0], type=DeadLetter)
    refused = validate(letter.raw, now_ms=1 << 41)
    assert isinstance(refused, Rejection)
    assert (refused.reason, refused.message) == (letter.reason, letter.message)


def test_every_reason_is_explained() -> None:
    assert first_column(tables(PARTS["Dead letter"])[1]) == [reason.value for reason in Reason]


def test_the_interaction_is_an_array_in_this_order() -> None:
    rows = tables(PARTS["Interaction"])[0][1:]
    assert [row[0].strip("`") for row in rows] == list(Interaction.__struct_fields__)
    values: list[Any] = [json.loads(row[1].strip("`")) for row in rows]
    record = msgspec.json.decode(json.dumps(values), type=Interaction)
    assert json.loads(msgspec.json.encode(record)) == values
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=Interaction) == record


def test_the_topics_are_those_that_are_made() -> None:
    rows = {row[0].strip("`"): row[-1] for row in tables(PARTS["Topics"])[0][1:]}
    configs = Topics().configs()
    assert rows.keys() == configs.keys()
    for topic, config in configs.items():
        assert [f"`{key}={value}`" in rows[topic] for key, value in config.items()] == [True] * len(config)
        assert ("=" in rows[topic]) == bool(config)
