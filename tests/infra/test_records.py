"""Every record gives exactly one line, whatever its bytes are."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.records import KINDS, json_line, text_line
from streams.contracts.catalogue import Item
from streams.contracts.dead_letters import DeadLetter, Reason
from streams.contracts.drifts import QualityDrift
from streams.contracts.events import Event
from streams.contracts.interactions import Delta, Interaction
from streams.contracts.recommendations import Cause, Exposure, ModelVersion, Recommendation, RecommendedItem
from streams.contracts.topics import Topics

NOW = 1_400_000_000_000
RECOMMENDATION = Recommendation(
    request_id="r",
    user_id="ada",
    timestamp=NOW,
    caused_by=Cause("e", "events", 0, 1),
    items=[RecommendedItem(f"i{rank}", 0.5 / rank, "near", "because") for rank in range(1, 6)],
    model=ModelVersion("blend", "7"),
    experiment=Exposure("x", "b"),
    latency_ms=3.25,
)
SEVERAL = [Exposure("x", "b"), Exposure("home", "control"), Exposure("n" * 90, "new")]
EVENT = Event(event_id="e", timestamp=NOW, user_id="ada", item_id="i", event_type="rating", value=4.5)
LETTER = DeadLetter(
    raw=b"\x1b[31mnonsense",
    key=b"k",
    topic="events",
    partition=2,
    offset=9,
    reason=Reason.NOT_JSON,
    message="bad",
    time=NOW,
)
INTERACTION = Interaction(
    item_id="i", event_type="view", weight=1.0, timestamp=NOW, value=None, user=2**63, session=2, event=3,
    history=["h"], ages=[5], in_session=1, partition=0, offset=4, clock=6,
    deltas={"factors": Delta(["i"], b"\x00\xff")},
)  # fmt: skip
DRIFT = QualityDrift(
    drift_id="d", figure="hr@20 blend", before=0.41, after=0.22, worse=True, moments=4711, timestamp=NOW, partition=2,
    offset=9,
)  # fmt: skip
ITEM = Item(item_id="i", title="A thing", categories=["toys"], price=2.5, available=False)


def record(value: bytes | None, key: bytes | None = b"k") -> SimpleNamespace:
    return SimpleNamespace(value=value, key=key, partition=1, offset=5)


@pytest.mark.parametrize(
    ("kind", "value", "line"),
    [
        (
            "recommendations",
            msgspec.json.encode(RECOMMENDATION),
            "2014-05-13 16:53:20Z ada → i1 (0.500 near), i2 (0.250 near), i3 (0.167 near) and 2 more "
            "[blend 7, x=b, 3.2 ms]",
        ),
        (
            "recommendations",
            msgspec.json.encode(msgspec.structs.replace(RECOMMENDATION, items=[], experiments=SEVERAL)),
            f"2014-05-13 16:53:20Z ada → nothing [blend 7, x=b, home=control, {'n' * 90}=new, 3.2 ms]",
        ),
        ("events", msgspec.json.encode(EVENT), "2014-05-13 16:53:20Z ada rating i = 4.5"),
        (
            "events.dlq",
            msgspec.json.encode(LETTER),
            "2014-05-13 16:53:20Z events 2/9 not_json: bad | \ufffd[31mnonsense",
        ),
        (
            "interactions",
            msgspec.msgpack.encode(INTERACTION),
            "2014-05-13 16:53:20Z 0/4 view i after 1 items [factors 2 B]",
        ),
        ("items", msgspec.json.encode(ITEM), "i A thing [toys; 2.5; not available]"),
        (
            "drift",
            msgspec.json.encode(DRIFT),
            "2014-05-13 16:53:20Z 2/9 hr@20 blend 0.4100 → 0.2200 (worse) after 4711 moments",
        ),
        ("models", b'{"version":"3"}', '{"version":"3"}'),
        ("models", None, "k removed"),
        ("events", b"nonsense", "1/5 unreadable: nonsense"),
    ],
)
def test_a_line_for_people(kind: str, value: bytes | None, line: str) -> None:
    assert text_line(kind, record(value)) == line


def test_json_is_as_it_is_on_the_wire() -> None:
    raw = msgspec.json.encode(RECOMMENDATION)
    assert json_line("recommendations", record(raw)) == raw
    assert json_line("events", record(b'{\n "a": [1,\r\n 2]}')) == b'{"a":[1,2]}'


def test_an_interaction_becomes_an_object() -> None:
    decoded = json.loads(json_line("interactions", record(msgspec.msgpack.encode(INTERACTION))))
    assert decoded["item_id"] == "i"
    assert decoded["user"] == 2**63
    assert decoded["deltas"] == {"factors": {"items": ["i"], "data": base64.b64encode(b"\x00\xff").decode()}}
    assert set(decoded) == set(Interaction.__struct_fields__)


def test_what_is_not_json_is_wrapped() -> None:
    place = {"partition": 1, "offset": 5, "key": None}
    assert json.loads(json_line("events", record(b"\xff\n", None))) == place | {"not_json": "/wo="}
    assert json.loads(json_line("items", record(None, b"i"))) == place | {"key": "i", "value": None}


def test_all_topics_are_known() -> None:
    assert set(KINDS) == set(Topics().configs())


@given(st.sampled_from(KINDS), st.binary(max_size=60) | st.text().map(lambda text: json.dumps(text).encode()))
def test_any_bytes_give_one_line(kind: str, value: bytes) -> None:
    line = json_line(kind, record(value))
    assert len(line.splitlines()) == 1
    json.loads(line)
    assert text_line(kind, record(value)).isprintable()
