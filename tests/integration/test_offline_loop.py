"""``headrace offline`` from a broker: what is on topic ``events`` is archived and read in the same round."""

from __future__ import annotations

from click.testing import CliRunner

from infra import archive, topics
from infra.cli import cli
from infra.settings import Settings
from tests.integration.archive_support import events
from tests.integration.stream_support import publish


def test_each_round_reads_what_has_come_since(settings: Settings) -> None:
    topics.create(settings, 2)
    shared = [
        "--broker",
        settings.broker,
        "--topic-prefix",
        settings.topic_prefix,
        "--data-dir",
        str(settings.data_dir),
    ]
    round_ = ["offline", "--once", "--no-announce", "--fewest", "1000000", *shared]
    empty = CliRunner().invoke(cli, round_, catch_exceptions=False)
    assert (empty.exit_code, "no events yet, about 1,000,000 are needed" in empty.stderr) == (0, True), empty.stderr
    for seed in (0, 1):
        publish(settings, events(200, seed))
        done = CliRunner().invoke(cli, round_, catch_exceptions=False)
        assert "archived 200 events" in done.stderr, done.stderr
        assert "new events, 1,000,000 are worth a round" in done.stderr
    assert archive.archive_once(settings).events == 0
