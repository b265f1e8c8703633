"""``headrace models`` on a real broker: what it writes is what the workers and the next call read."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from infra import models as models_of
from infra import topics
from infra.cli import cli
from infra.cli.publish_model import announcer, in_use
from infra.settings import Settings
from offline.publish import InUse
from online_models.errors import InputError, ServiceError
from streams import fleet
from streams.contracts.experiments import Definition, Variant
from streams.contracts.models import Announcement, Decision, TrainedOn, WorkerStatus
from streams.experiment_rules import begin, stop
from streams.fleet import Fleet
from tests.integration.stream_support import read


def announcement(version: str, created: int) -> Announcement:
    return Announcement(
        version=version, uri=f"file:///m/{version}", sha256="0" * 64, created=created, metrics={},
        trained=TrainedOn(from_ms=0, to_ms=1, events=1),
    )  # fmt: skip


def models(settings: Settings, *arguments: str) -> str:
    shared = ["--broker", settings.broker, "--topic-prefix", settings.topic_prefix]
    result = CliRunner().invoke(cli, ["models", *arguments, *shared], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def states(settings: Settings) -> dict[str, str]:
    return {v["version"]: v["state"] for v in json.loads(models(settings, "list", "--json"))["versions"]}


def tell(settings: Settings, topic: str, key: str, value: msgspec.Struct | None) -> None:
    with topics.producer(settings) as client:
        client.send(topic, value=None if value is None else msgspec.json.encode(value), key=key.encode())
        client.flush()


def wanted(settings: Settings) -> tuple[str | None, bool]:
    """What a worker that reads the decisions now would have live, and whether it is pinned."""
    fleet = Fleet()
    for record in read(settings, settings.topics.model_decisions):
        decision = msgspec.json.decode(record.value, type=Decision)
        assert record.key.decode() == decision.announcement.version
        assert decision.by == "operator"
        fleet.decide(decision)
    found: Any = fleet.wanted
    return (found.live.version if found.live else None), found.pinned


def test_an_operator_promotes_pins_and_rolls_back(settings: Settings) -> None:
    topics.create(settings, 2)
    announce = announcer(settings)
    assert states(settings) == {}
    with pytest.raises(InputError, match="none yet"):
        models(settings, "promote", "a")
    announce(announcement("a", 1))
    tell(settings, settings.topics.model_status, "w1", WorkerStatus(worker="w1", live=None, created=1))
    tell(settings, settings.topics.model_status, "w2", WorkerStatus(worker="w2", live=None, created=1))
    tell(settings, settings.topics.model_status, "w2", None)
    assert states(settings) == {"a": "on trial"}
    models(settings, "promote", "a", "--reason", "the first one")
    announce(announcement("b", 2))
    assert states(settings) == {"b": "on trial", "a": "live"}
    with pytest.raises(InputError, match="newer than b"):
        announce(announcement("a", 1))
    assert wanted(settings) == ("a", False)
    models(settings, "pin", "a")
    assert states(settings) == {"b": "held", "a": "pinned"}
    assert wanted(settings) == ("a", True)
    models(settings, "promote", "b")
    assert states(settings) == {"b": "live", "a": "superseded"}
    assert in_use(settings) == InUse(announcement("b", 2), frozenset(), frozenset({"a", "b"}))
    assert models(settings, "rollback") == "b: rolled back; live from now on: a\n"
    assert in_use(settings) == InUse(announcement("a", 1), frozenset({"b"}), frozenset({"a"}))
    assert wanted(settings) == ("a", True)
    models(settings, "rollback", "a")
    assert states(settings) == {"b": "rolled back", "a": "rolled back"}
    assert wanted(settings) == (None, False)
    with pytest.raises(InputError, match="a version that is live"):
        models(settings, "rollback")
    assert "decision         rolled back by operator" in models(settings, "show", "b")
    assert [w["worker"] for w in json.loads(models(settings, "list", "--json"))["workers"]] == ["w1"]


def left(settings: Settings) -> dict[str, Decision]:
    """What compaction leaves of topic models.decisions."""
    latest = {record.key.decode(): record.value for record in read(settings, settings.topics.model_decisions)}
    return {key: msgspec.json.decode(value, type=Decision) for key, value in latest.items() if value is not None}


def test_decisions_do_not_pile_up_and_what_is_live_stays(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "KEPT", 2)
    topics.create(settings, 2)
    announce = announcer(settings)
    for n in range(9):
        announce(announcement(f"v{n}", n))
        state = "promoted" if n in (1, 3) else "rolled_back"
        decision = Decision(announcement=announcement(f"v{n}", n), state=state, by="w1", created=n)
        models_of.write(settings, decision)  # type: ignore[arg-type]
    assert set(left(settings)) == {"v1", "v3", "v6", "v7", "v8"}, "would be live, is live, the latest, and the newest"
    assert models_of.read(settings).overview.live == "v3"
    assert models(settings, "rollback") == "v3: rolled back; live from now on: v1\n"


def test_what_an_operator_decides_while_old_decisions_are_taken_off_counts(settings: Settings) -> None:
    topics.create(settings, 2)
    announce = announcer(settings)
    for n, version in enumerate("ab"):
        announce(announcement(version, n))
        models(settings, "promote", version)
    as_read = models_of.read(settings).fleet.decisions
    models(settings, "promote", "a")
    models_of.forget(settings, as_read)
    assert set(left(settings)) == {"a"}
    assert models_of.read(settings).overview.live == "a"


def test_without_topics_the_remedy_is_named(settings: Settings) -> None:
    with pytest.raises(ServiceError, match="headrace topics create"):
        models(settings, "list")


def test_what_an_experiment_names_stays_published(settings: Settings) -> None:
    topics.create(settings, 1)
    named = announcement("tried", 1)
    variants = (Variant(name="a"), Variant(name="b", model="tried"))
    running = begin(Definition(name="x", variants=variants), {}, (), {"tried": named}, 1)
    tell(settings, settings.topics.experiments, "x", running)
    assert in_use(settings).kept == {"tried"}
    tell(settings, settings.topics.experiments, "x", stop(running, 2))
    assert in_use(settings).kept == frozenset()
