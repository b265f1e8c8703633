"""``headrace gate DIR`` as somebody would type it: on the archive, beside what is live."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from infra import topic_reading
from infra.cli.gate import command
from offline import job
from offline.publish import publish
from online_models.errors import ServiceError
from streams.contracts.models import Decision
from tests.infra.test_models_command import on_wire
from tests.offline.planted import ring_log, written
from tests.offline.test_job import CONFIG


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gate")
    job.train(ring_log(600), folder / "old", CONFIG)
    job.train(ring_log(800), folder / "new", CONFIG)
    return folder


def run(folder: Path, *more: str) -> Result:
    log = written(ring_log(1500), folder / "log.jsonl")
    return CliRunner().invoke(
        command, [str(folder / "new"), "--log", str(log), "--json", *more], catch_exceptions=False
    )


def test_it_compares_with_what_is_live_and_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = publish(folder / "old", str(tmp_path / "published"))
    live = Decision(announcement=old, state="promoted", by="w1", created=1)
    monkeypatch.setattr(topic_reading, "records", lambda settings, *names: on_wire(live))
    found = run(folder)
    assert json.loads(found.stdout)["against"] == old.version
    assert f"beside {old.version}, which is live" in found.stderr
    assert json.loads(run(folder, "--popularity").stdout)["against"] == "popularity"
    monkeypatch.setattr(topic_reading, "records", lambda settings, *names: [])
    nothing = run(folder)
    assert (json.loads(nothing.stdout)["against"], "nothing is live" in nothing.stderr) == ("popularity", True)


def test_without_a_broker_it_compares_with_popularity_and_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Any:
        raise ServiceError("a Kafka broker", "no answer", "start it")

    monkeypatch.setattr(topic_reading, "records", away)
    found = run(folder)
    assert json.loads(found.stdout)["against"] == "popularity"
    assert "what is live is not known, popularity stands in: expected a Kafka broker" in found.stderr


def test_it_reads_the_archive_of_the_data_folder(folder: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(command, [str(folder / "new"), "--popularity", "--data-dir", str(tmp_path)])
    assert f"nothing at {tmp_path / 'archive'}" in str(done.exception)
