"""Topic ``experiments`` as a worker takes it: in effect at a flip, records that are none left out, what was stopped stays stopped."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec

from streams.contracts.experiments import Definition, Experiment, Ramp, Variant
from streams.experiment_feed import ExperimentFeed
from streams.experiment_rules import alone, ramp, stop

RUNNING = alone(Definition(name="x", variants=(Variant(name="a"), Variant(name="b"))), 5)


def feed(*records: tuple[str, Experiment | bytes | None]) -> tuple[ExperimentFeed, list[list[Experiment]]]:
    ran: list[list[Experiment]] = []
    found = ExperimentFeed(None, lambda experiments: ran.append(list(experiments)))  # type: ignore[arg-type]
    for offset, (key, value) in enumerate(records):
        raw = value if value is None or isinstance(value, bytes) else msgspec.json.encode(value)
        found._take(
            {0: [SimpleNamespace(topic="experiments", partition=0, offset=offset, key=key.encode(), value=raw)]}
        )
    return found, ran


def test_in_effect_at_a_flip() -> None:
    found, ran = feed(("x", RUNNING))
    assert ran == []
    found.flip()
    found.flip()
    assert ran == [[RUNNING]]


def test_a_record_taken_away_ends_it() -> None:
    found, ran = feed(("x", RUNNING), ("x", None))
    found.flip()
    assert ran == [[]]


def test_what_was_stopped_stays_stopped_and_older_records_do_not_count() -> None:
    over, grown = stop(RUNNING, 9), ramp(RUNNING, {}, 0.5, 20)
    assert feed(("x", over), ("x", grown))[0].known["x"].state == "stopped"
    assert feed(("x", grown), ("x", RUNNING))[0].known["x"] == grown


def test_a_namesake_is_not_changed_by_who_means_the_one_before() -> None:
    """Who had read the experiment that was deleted since then, and stops it now."""
    another = msgspec.structs.replace(RUNNING, created=30, changed=30)
    late = stop(RUNNING, 40)
    assert feed(("x", stop(RUNNING, 20)), ("x", None), ("x", another), ("x", late))[0].known["x"] == another


def test_records_that_are_none_are_left_out(caplog) -> None:
    uneven = msgspec.structs.replace(RUNNING, ramps=(Ramp(number=0, since=5, ranges=(("a", 10),)),))
    stranger = msgspec.structs.replace(RUNNING, ramps=(Ramp(number=0, since=5, ranges=(("z", 1_000_000),)),))
    later = msgspec.structs.replace(RUNNING, v=2)
    found, ran = feed(("x", b"nonsense"), ("y", RUNNING), ("x", uneven), ("x", stranger), ("x", later), ("x", b"{}"))
    found.flip()
    assert (found.known, ran) == ({}, [])
    assert "4 records are no experiments" in caplog.text


def test_of_two_ramps_made_of_the_same_one_the_first_counts() -> None:
    """Lists may have been made under it: what it gave to whom must stay known."""
    first, second = ramp(RUNNING, {"a": 98.0, "b": 2.0}, None, 20), ramp(RUNNING, {"a": 30.0, "b": 70.0}, None, 25)
    assert feed(("x", RUNNING), ("x", first), ("x", second))[0].known["x"] == first
    again = ramp(first, {"a": 30.0, "b": 70.0}, None, 30)
    assert feed(("x", RUNNING), ("x", first), ("x", second), ("x", again))[0].known["x"] == again


def test_a_stop_holds_whatever_ramp_it_was_made_of() -> None:
    grown, over = ramp(RUNNING, {"a": 98.0, "b": 2.0}, None, 20), stop(RUNNING, 25, reason="enough")
    found = feed(("x", RUNNING), ("x", grown), ("x", over))[0].known["x"]
    assert (found.state, found.reason, found.ramps, found.definition) == (
        "stopped", "enough", grown.ramps, grown.definition,
    )  # fmt: skip
