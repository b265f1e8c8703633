"""What a read-out does about what it finds, and the sums of files: recorded logs, parts of others, topics as they come."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from kafka.errors import MessageSizeTooLargeError
from kafka.producer.future import FutureProduceResult, FutureRecordMetadata

from infra import experiment_readout, experiments, topics
from infra.cli.experiment import command
from infra.experiment_files import of_files
from infra.experiment_readout import Follower, act, better_shares, merged, save
from infra.experiment_shown import as_text
from infra.settings import load
from online_models.errors import InputError
from online_models.experiments import bandit
from streams.config import PipelineConfig
from streams.contracts.experiments import Definition, Experiment, Guardrail, Variant
from streams.experiment_feed import fold
from streams.experiment_rules import alone, ramp, stop
from streams.readout.fold import Readout
from streams.readout.result import read_out
from streams.readout.tally import Tally
from streams.replay import Replay
from tests.streams.readout_tape import Tape, definition
from tests.worlds import shop_log

SETTINGS = load(environ={})


class Partition:
    """A partition of a topic, as a client names it."""

    def __init__(self, topic: str) -> None:
        self.topic, self.partition = topic, 0


def client_of(*polled: dict[Any, list[SimpleNamespace]]) -> SimpleNamespace:
    """A client that gives these records, a poll after the other, and has nothing to hold back."""
    left = iter(polled)
    return SimpleNamespace(poll=lambda timeout_ms: next(left), assignment=set)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Experiment]:
    """What would have been written to the topic."""
    records: list[Experiment] = []
    monkeypatch.setattr(experiments, "write", lambda settings, experiment: records.append(experiment) or experiment)
    return records


def clicks(*later: dict[str, tuple[int, int]], **of: tuple[int, int]) -> Tally:
    """Sums of lists, so many clicked and so many not, by variant, and of ``later`` ramps; one of each unit."""
    t = Tape()
    for ramped, found in enumerate((of, *later)):
        for variant, (clicked, left) in found.items():
            for n in range(clicked + left):
                user = f"{variant}{ramped}/{n}"
                t.add(0, "x", "odd", user=user, shown="b", variant=variant, ramp=ramped)
                t.add(1, "b" if n < clicked else "c", user=user, shown="", variant=None)
    return t.play(**BANDIT).tally()


BANDIT = {"method": "bandit", "unit": "session"}


def test_a_bandit_moves_to_what_is_clicked() -> None:
    found = better_shares(alone(definition(**BANDIT), 0), clicks(control=(10, 90), new=(30, 70)))
    assert found["new"] > 0.95
    assert better_shares(alone(definition(**BANDIT), 0), clicks(control=(30, 70), new=(10, 90)))["control"] > 0.95


def test_a_bandit_counts_what_was_clicked_and_what_was_not() -> None:
    """Two arms of one rate, of which one has been seen often: neither is known to be better."""
    e, tally = alone(definition(**BANDIT), 0), clicks(control=(90, 210), new=(9, 21))
    chances = bandit.allocate([bandit.Arm(90, 210), bandit.Arm(9, 21)], floor=0.02).probabilities
    assert better_shares(e, tally) == {"control": round(chances[0], 4), "new": round(chances[1], 4)}
    assert 0.2 < chances[0] < 0.6
    there = ramp(e, better_shares(e, tally), None, 1)
    assert better_shares(there, tally) == {}  # hardly another share: left as it is


def test_a_bandit_is_not_taken_in_by_the_hours_at_which_a_variant_had_more() -> None:
    """By day people click three times as often as by night. ``new`` is better in both, and had half of the days and nearly all nights."""
    day = alone(definition(**BANDIT), 0)
    night = ramp(day, {"control": 0.02, "new": 0.98}, None, 1)
    tally = clicks({"control": (1, 9), "new": (74, 416)}, control=(120, 280), new=(160, 240))
    control, new = (tally.total("ctr", v).totals for v in ("control", "new"))
    assert control[0] / control[1] > 0.29 > 0.27 > new[0] / new[1], "added up, it looks the other way round"
    assert better_shares(night, tally).get("new", 0.98) > 0.6


def test_a_bandit_waits_until_all_were_seen_and_leaves_out_who_was_taken_out() -> None:
    three = definition(
        **BANDIT, variants=(Variant(name="control"), Variant(name="new"), Variant(name="old", weight=0.0))
    )
    assert better_shares(alone(three, 0), clicks(control=(10, 90))) == {}
    assert set(better_shares(alone(three, 0), clicks(control=(10, 90), new=(60, 40)))) == {"control", "new"}


def test_acting(told: list[Experiment]) -> None:
    guarded = {"guardrails": (Guardrail(metric="ctr", margin=0.01),)}
    tally = clicks(control=(400, 200), new=(100, 500))
    for on_harm, written in (("warn", 0), ("stop", 1)):
        e = alone(definition(on_harm=on_harm, **guarded), 0)
        result = read_out(e, tally)
        assert result.stop.startswith("new harms ctr")
        changed = act(SETTINGS, e, result, tally)
        assert len(told) == written
    assert changed is not None
    assert told == [changed]
    assert (changed.state, changed.by, changed.reason) == ("stopped", "readout", result.stop)
    assert act(SETTINGS, stop(e, 9), result, tally) is None
    moved = act(SETTINGS, alone(definition(**BANDIT), 0), read_out(alone(definition(**BANDIT), 0), tally), tally)
    assert moved is not None
    assert moved.state == "running"
    assert moved.definition.variants[0].weight > moved.definition.variants[1].weight
    assert len(told) == 2


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, str, str]:
    """A log, and the lists of its replay."""
    folder = tmp_path_factory.mktemp("recorded")
    log, published = str(folder / "log.jsonl"), str(folder / "published.jsonl")
    events = shop_log(400, users=30, seed=4)
    Path(log).write_bytes(b"".join(msgspec.json.encode(e) + b"\n" for e in events))
    e = alone(
        Definition(name="x", variants=(Variant(name="control"), Variant(name="new", sources=("popular-100",)))), 0
    )
    Replay(log, PipelineConfig(), published=published, experiments=(e,)).run()
    return e, log, published


def folded(e: Experiment, log: str, published: str) -> Iterator[tuple[str, SimpleNamespace]]:
    """Records of both topics as a consumer hands them over, the lists first."""
    for name, path in (("recommendations", published), ("events", log)):
        for offset, line in enumerate(Path(path).read_bytes().splitlines()):
            yield name, SimpleNamespace(partition=0, offset=offset, key=b"", value=line, timestamp=0)


def test_sums_of_files_are_those_of_the_topics(recorded: tuple[Experiment, str, str], tmp_path: Path) -> None:
    e, log, published = recorded
    tally = of_files(e, log, published, 86_400)
    assert (tally.lists, tally.events) == (400, 400)
    assert {v for v, _ in tally.entered} == {"control", "new"}
    topics: list[dict[Any, list[SimpleNamespace]]] = [
        {Partition(SETTINGS.topics.events if name == "events" else SETTINGS.topics.recommendations): [record]}
        for name, record in folded(e, log, published)
    ]
    follower = Follower(SETTINGS, client_of(*topics), e, Readout(e.definition))
    for _ in topics:
        follower.poll()
    follower.readout.caught_up()
    assert follower.readout.tally().plain() == tally.plain()
    save(tally, tmp_path / "a.json")
    assert merged(e, [tmp_path / "a.json"]).plain() == tally.plain()
    with pytest.raises(InputError, match="add each once"):
        merged(e, [tmp_path / "a.json"] * 2)
    other = json.loads((tmp_path / "a.json").read_text()) | {"partitions": [1]}
    (tmp_path / "b.json").write_text(json.dumps(other))
    both = merged(e, [tmp_path / "a.json", tmp_path / "b.json"])
    assert both.lists == 2 * tally.lists
    assert both.total("ctr", "new").n == 2 * tally.total("ctr", "new").n
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(InputError, match="what `readout --save` wrote"):
        merged(e, [tmp_path / "c.json"])
    (tmp_path / "d.jsonl").write_text("")
    with pytest.raises(InputError, match="0 of 0 in"):
        of_files(e, str(tmp_path / "d.jsonl"), published, 86_400)


def test_the_page_and_the_sums_are_never_half_written(recorded: tuple[Experiment, str, str], tmp_path: Path) -> None:
    """What is written takes the old file's place: whoever has that open reads it to its end."""
    e, log, published = recorded
    (tmp_path / "x.yaml").write_text(as_text(e))
    old = {}
    for name in ("page.html", "sums.json"):
        (tmp_path / name).write_text("old")
        old[name] = (tmp_path / name).open()
    arguments = [
        "--file",
        "x.yaml",
        "--log",
        log,
        "--published",
        published,
        "--html",
        "page.html",
        "--save",
        "sums.json",
    ]
    arguments = [str(tmp_path / a) if (tmp_path / a).is_file() else a for a in arguments]
    found = CliRunner().invoke(command, ["readout", *arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    for name, file in old.items():
        with file:
            assert file.read() == "old"
        assert len((tmp_path / name).read_text()) > 1_000


def test_a_follower_takes_changes_of_its_experiment_and_no_older_ones() -> None:
    e = alone(definition(), 5)
    grown, other = ramp(e, {}, 0.5, 9), alone(definition(name="y"), 20)
    records = [
        SimpleNamespace(partition=0, offset=0, key=key, value=value)
        for key, value in (
            (b"x", msgspec.json.encode(grown)),
            (b"x", msgspec.json.encode(e)),
            (b"y", msgspec.json.encode(other)),
            (b"x", b"{"),
            (b"x", None),
            (b"x", msgspec.json.encode(alone(definition(), 30))),  # another one, of the same name
        )
    ]
    client = client_of({Partition(SETTINGS.topics.experiments): records})
    follower = Follower(SETTINGS, client, e, Readout(e.definition))
    follower.poll()
    assert follower.experiment == grown
    assert experiment_readout.as_json(read_out(e, follower.readout.tally())).startswith('{"experiment":"x"')


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes | None]]:
    """Topic `experiments`, in memory; who reads it folds it as workers do."""
    records: list[tuple[bytes, bytes | None]] = []

    def read(settings: Any) -> dict[str, Experiment]:
        known: dict[str, Experiment] = {}
        for key, value in records:
            with contextlib.suppress(ValueError):
                fold(known, key, value)
        return known

    monkeypatch.setattr(experiments, "_send", lambda settings, key, value: records.append((key, value)))
    monkeypatch.setattr(experiments, "read", read)
    return records


def begun_and_read() -> Experiment:
    return experiments.write(SETTINGS, alone(Definition(name="x", variants=(Variant(name="a"), Variant(name="b"))), 5))


def left_by_compaction(topic: list[tuple[bytes, bytes | None]]) -> Experiment:
    known: dict[str, Experiment] = {}
    fold(known, *topic[-1])
    return known["x"]


def test_what_the_broker_refuses_is_not_taken_for_written(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        """kafka-python's producer, as far as it is used here; it closes without a word of what was not delivered."""

        def __enter__(self) -> Refusing:
            return self

        def __exit__(self, *_: object) -> None: ...

        def send(self, *_: object, **__: object) -> FutureRecordMetadata:
            batch = FutureProduceResult(None)
            sent = FutureRecordMetadata(batch, 0, 0, None, 0, 0, 0)
            batch.failure(MessageSizeTooLargeError())
            return sent

    monkeypatch.setattr(topics, "producer", lambda settings: Refusing())
    with pytest.raises(MessageSizeTooLargeError):
        begun_and_read()


def test_of_two_who_ramp_at_once_the_second_is_told(topic: list[tuple[bytes, bytes | None]]) -> None:
    seen = begun_and_read()
    first = experiments.write(SETTINGS, ramp(seen, {"a": 98.0, "b": 2.0}, None, 20))
    second = ramp(seen, {"a": 30.0, "b": 70.0}, None, 25)
    assert experiments.write(SETTINGS, second) == first
    assert experiments.read(SETTINGS)["x"] == left_by_compaction(topic) == first


def test_a_stop_of_who_had_not_read_the_ramp_stops_and_keeps_it(topic: list[tuple[bytes, bytes | None]]) -> None:
    seen = begun_and_read()
    first = experiments.write(SETTINGS, ramp(seen, {"a": 98.0, "b": 2.0}, None, 20))
    over = experiments.write(SETTINGS, stop(seen, 25))
    assert (over.state, over.ramps) == ("stopped", first.ramps)
    assert left_by_compaction(topic) == over


def test_a_late_ramp_does_not_outlive_a_stop(topic: list[tuple[bytes, bytes | None]]) -> None:
    seen = begun_and_read()
    over = experiments.write(SETTINGS, stop(seen, 20))
    assert experiments.write(SETTINGS, ramp(seen, {}, 0.5, 25)) == over
    assert left_by_compaction(topic) == over
