"""``headrace experiment off-policy`` of a broker's topics: two partitions, lists over HTTP in between, a replay's lists beside."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from infra import topics
from infra.cli.experiment import command
from infra.settings import Settings
from online_models.items import hash_id
from streams.config import PipelineConfig
from streams.contracts.events import Source
from streams.contracts.experiments import Definition, Experiment, Variant
from streams.contracts.recommendations import After, Cause
from streams.experiment_rules import alone
from streams.pipeline import Pipeline
from streams.replay import Replay
from tests.worlds import shop_log

LOG = shop_log(900, users=60, seed=4)


def experiment(**changes: object) -> Experiment:
    return alone(Definition(name="x", variants=(Variant(name="a", **changes), Variant(name="b", **changes))), 0)


@pytest.fixture
def candidate(tmp_path: Path) -> tuple[str, str]:
    log, lists = tmp_path / "log.jsonl", tmp_path / "candidate.jsonl"
    log.write_bytes(b"".join(msgspec.json.encode(e) + b"\n" for e in LOG))
    Replay(str(log), PipelineConfig(), published=str(lists), experiments=(experiment(sources=("popular-100",)),)).run()
    return str(log), str(lists)


def test_lists_of_a_broker_are_joined_by_their_events(settings: Settings, candidate: tuple[str, str]) -> None:
    log, others = candidate
    topics.create(settings, partitions=2)
    pipeline = Pipeline()
    pipeline.run_experiments([experiment(explore=1.0)])
    made = [o.recommendation for o in pipeline.process([(e, Source(0, n)) for n, e in enumerate(LOG)])]
    offsets = [0, 0]
    sent = []
    with topics.producer(settings) as client:
        for event, answer in zip(LOG, made, strict=True):
            assert answer is not None
            p = hash_id(event.user_id) % 2
            lists = [
                msgspec.structs.replace(answer, caused_by=Cause(event.event_id, settings.topics.events, p, offsets[p]))
            ]
            if offsets[p] == 99:
                asked = msgspec.structs.replace(
                    answer, caused_by=None, request_id=f"get-{p}", after=After(p, offsets[p])
                )
                lists += [asked, msgspec.structs.replace(asked, user_id="another")]
            offsets[p] += 1
            client.send(settings.topics.events, value=msgspec.json.encode(event), partition=p)
            for each in lists:
                sent.append(msgspec.json.encode(each))
                # Of another partitioner.
                client.send(settings.topics.recommendations, value=sent[-1], partition=1 - p)
        client.flush()
    assert min(offsets) > 200
    args = [
        "off-policy",
        "--candidate",
        others,
        "--broker",
        ",".join(settings.brokers),
        "--topic-prefix",
        settings.topic_prefix,
    ]
    found = CliRunner().invoke(command, [*args, "--json"])
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    drawn = sum(m is not None and m.propensity is not None for m in made)
    assert (told["rows"], told["joined"]["over_http"], told["joined"]["shown_another"]) == (drawn, 4, 2)
    assert sum(told["joined"]["variants"].values()) == drawn
    assert {told["joined"][k] for k in ("no_event", "no_candidate", "unreadable")} == {0}
    published = Path(log).with_name("published.jsonl")
    published.write_bytes(b"\n".join(sent))
    of_files = CliRunner().invoke(command, ["off-policy", log, "--published", str(published), *args[1:3], "--json"])
    same = json.loads(of_files.stdout)
    assert same["logged"]["value"] == told["logged"]["value"]
    assert (same["recorded"], same["joined"]) == (told["recorded"], told["joined"])
    assert "4 records of lists asked for over HTTP" in CliRunner().invoke(command, args).stdout
