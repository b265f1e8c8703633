"""Every way in which a record can be wrong has a reason code, and nothing raises."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.contracts.dead_letters import Reason
from streams.contracts.events import Event
from streams.validate import LATEST_MS, Rejection, validate

NOW = 1_700_000_000_000
GOOD = {"event_id": "e", "timestamp": NOW, "user_id": "u", "item_id": "i", "event_type": "view"}


def raw(**changes):
    return json.dumps({k: v for k, v in (GOOD | changes).items() if v is not ...}).encode()


FAULTS = [
    (None, Reason.EMPTY),
    (b"", Reason.EMPTY),
    (b" " * 70_000, Reason.TOO_LARGE),
    (b'{"user_id": "\xff"}', Reason.NOT_UTF8),
    (b"{", Reason.NOT_JSON),
    (raw(user_id="\ud800"), Reason.NOT_JSON),
    (b"[1]", Reason.NOT_AN_OBJECT),
    (b"null", Reason.NOT_AN_OBJECT),
    (raw(v=2), Reason.WRONG_VERSION),
    (raw(v="1"), Reason.WRONG_VERSION),
    (raw(timestamp=...), Reason.MISSING_FIELD),
    (raw(user_id=...), Reason.MISSING_FIELD),
    (raw(item_id=...), Reason.MISSING_FIELD),
    (raw(event_type=...), Reason.MISSING_FIELD),
    (raw(event_id=...), Reason.MISSING_FIELD),
    (raw(event_id=""), Reason.MISSING_FIELD),
    (raw(user_id=7), Reason.WRONG_TYPE),
    (raw(timestamp="now"), Reason.WRONG_TYPE),
    (raw(timestamp=NOW + 0.5), Reason.WRONG_TYPE),
    (raw(context=[]), Reason.WRONG_TYPE),
    (raw(value="5"), Reason.WRONG_TYPE),
    (raw(user_id=""), Reason.EMPTY_ID),
    (raw(item_id=""), Reason.EMPTY_ID),
    (raw(user_id="u" * 257), Reason.ID_TOO_LONG),
    (raw(item_id="i" * 257), Reason.ID_TOO_LONG),
    (raw(timestamp=NOW // 1000), Reason.TIMESTAMP_IN_SECONDS),
    (raw(timestamp=-5), Reason.TIMESTAMP_OUT_OF_RANGE),
    (raw(timestamp=0), Reason.TIMESTAMP_OUT_OF_RANGE),
    (raw(timestamp=1 << 70), Reason.TIMESTAMP_IN_FUTURE),
    (raw(timestamp=NOW + 11 * 60_000), Reason.TIMESTAMP_IN_FUTURE),
    (raw(timestamp=NOW * 1000), Reason.TIMESTAMP_IN_FUTURE),
    (raw(value=float("nan")), Reason.VALUE_NOT_FINITE),
    (raw(value=float("inf")), Reason.VALUE_NOT_FINITE),
    (raw().replace(b'"e"', b'"e", "value": 1e999'), Reason.VALUE_NOT_FINITE),
    (raw(context={"page": "x" * 5000}), Reason.CONTEXT_TOO_LARGE),
]


@pytest.mark.parametrize(("record", "reason"), FAULTS, ids=lambda v: v.value if isinstance(v, Reason) else None)
def test_a_fault_has_its_reason_and_a_message_that_says_what_to_do(record, reason):
    got = validate(record, NOW)
    assert isinstance(got, Rejection)
    assert got.reason is reason
    assert got.message.startswith("expected ")
    assert ", got " in got.message
    assert "; " in got.message


def test_every_reason_but_the_key_is_shown_above():
    assert {reason for _, reason in FAULTS} == set(Reason) - {Reason.WRONG_KEY}


def test_good_records_pass_and_unknown_fields_are_left_out():
    event = validate(raw(session_id=None, value=3, request_id="r", context={"a": 1}, extra=[1], v=1), NOW)
    assert event == Event(
        event_id="e",
        timestamp=NOW,
        user_id="u",
        item_id="i",
        event_type="view",
        value=3.0,
        request_id="r",
        context={"a": 1},
    )
    assert isinstance(validate(raw(user_id="ü" * 256, event_type="anything else"), NOW), Event)


def test_a_line_number_stands_in_for_a_missing_event_id():
    assert validate(raw(event_id=...), NOW, event_id="17").event_id == "17"
    assert validate(raw(), NOW, event_id="17").event_id == "e"


def test_clocks_may_be_wrong_by_ten_minutes():
    assert isinstance(validate(raw(timestamp=NOW + 600_000), NOW), Event)
    assert isinstance(validate(raw(timestamp=NOW + 600_001), NOW), Rejection)


def test_a_recorded_log_has_no_clock_but_keeps_to_milliseconds():
    assert isinstance(validate(raw(timestamp=LATEST_MS - 1), None), Event)
    for timestamp in (LATEST_MS, NOW * 1000, 1 << 70):
        assert validate(raw(timestamp=timestamp), None).reason is Reason.TIMESTAMP_IN_FUTURE


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(record):
    assert isinstance(validate(record, NOW), (Event, Rejection))


_SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
_JSON = _SCALAR | st.lists(_SCALAR, max_size=2) | st.dictionaries(st.text(max_size=3), _SCALAR, max_size=2)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*GOOD, "value", "context", "session_id", "v"]), _JSON))
def test_no_object_makes_it_raise(changes):
    record = json.dumps(GOOD | changes).encode()
    assert isinstance(validate(record, NOW), (Event, Rejection))
