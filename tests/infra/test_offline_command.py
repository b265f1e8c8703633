"""``headrace offline`` reads what has happened: it archives before each round, unless somebody else does."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from infra import archive
from infra.archive_rows import Rows
from infra.archive_store import ArchiveBusy
from infra.cli import cli
from infra.settings import Settings
from online_models.errors import ServiceError
from streams.contracts.events import Event
from tests.integration.stream_support import until

T = 1_700_000_000_000
EVENTS = 400
SMALL = ("dims=8", "dropout=0.1", "tokens=128", "negatives=16", "epochs=1")
Archive = Callable[..., archive.Summary]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    def run(archive_once: Archive, *more: str) -> Result:
        monkeypatch.setattr(archive, "archive_once", archive_once)
        arguments = ["offline", "--once", "--no-announce", "--data-dir", str(tmp_path), "--topic-prefix", "shop-"]
        arguments += ["--model", "gru4rec", "--device", "cpu", *(f"--set={each}" for each in SMALL), *more]
        return CliRunner().invoke(cli, arguments, catch_exceptions=False)

    return run


def filled(folder: Path) -> Path:
    """An archive of `EVENTS` events."""
    rows = Rows()
    for number in range(EVENTS):
        user, item = f"u{number % 20}", f"i{number % 7}"
        rows.add(
            number, Event(timestamp=T + number, user_id=user, item_id=item, event_type="view", event_id=f"e{number}")
        )
    folder.mkdir(parents=True)
    pq.write_table(rows.table(), folder / "events.parquet")
    return folder


def test_a_round_reads_what_has_just_been_archived(offline: Callable[..., Result], tmp_path: Path) -> None:
    def archives(settings: Settings, folder: Path, **_: Any) -> archive.Summary:
        filled(folder)
        return archive.Summary("shop-events", folder, events=EVENTS)

    done = offline(archives, "--fewest", "1000000")
    assert f"archived {EVENTS} events of topic shop-events" in done.stderr
    assert f"{EVENTS} new events" in done.stderr
    assert (tmp_path / "shop-archive").is_dir()


def test_a_first_round_before_the_first_event_waits_for_events(offline: Callable[..., Result], tmp_path: Path) -> None:
    def archives(settings: Settings, folder: Path, **_: Any) -> archive.Summary:
        folder.mkdir(parents=True)
        return archive.Summary("shop-events", folder)

    done = offline(archives)
    assert (done.exit_code, "failed" in done.stderr) == (0, False), done.stderr
    assert "round 1 waited" in done.stderr
    assert "no events yet, about 2,000 are needed" in done.stderr


def test_somebody_else_who_archives_does_not_stop_a_round(offline: Callable[..., Result], tmp_path: Path) -> None:
    def busy(*_: Any, **__: Any) -> archive.Summary:
        raise ArchiveBusy("the archive for this process alone", "another one that writes it", "let that one do it")

    filled(tmp_path / "shop-archive")
    done = offline(busy, "--fewest", "1000000")
    assert "the archive is read as it is: " in done.stderr
    assert f"{EVENTS} new events" in done.stderr


def test_a_broker_that_is_away_makes_the_round_fail(offline: Callable[..., Result], tmp_path: Path) -> None:
    def away(*_: Any, **__: Any) -> archive.Summary:
        raise ServiceError("a Kafka broker", "no answer", "start it")

    filled(tmp_path / "shop-archive")
    done = offline(away)
    assert (done.exit_code, "round 1 failed" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("option", "said"), [("--every", "above zero, got 0 s; set --every"), ("--fewest", "0 is not in the range x>=1")]
)
def test_what_makes_no_sense_is_refused_at_once(option: str, said: str, tmp_path: Path) -> None:
    """Not after the first round."""
    arguments = ["offline", "--no-announce", "--log", str(filled(tmp_path / "mine")), "--data-dir", str(tmp_path / "d")]
    done = CliRunner().invoke(cli, [*arguments, option, "0"])
    assert said in f"{done.exception} {done.stderr}"
    assert "round 1" not in done.stderr


def test_a_log_that_is_named_is_read_as_it_is(offline: Callable[..., Result], tmp_path: Path) -> None:
    def never(*_: Any, **__: Any) -> archive.Summary:
        raise AssertionError("archived")

    done = offline(never, "--log", str(filled(tmp_path / "mine")), "--fewest", "1000000")
    assert f"{EVENTS} new events" in done.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_the_service_also_where_the_shell_has_sigint_ignored(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    """A job in the background of a script starts with SIGINT ignored."""
    arguments = ["offline", "--log", str(filled(tmp_path / "mine")), "--no-announce", "--fewest", "1000000"]
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); from infra.cli import main; main()"
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments, "--data-dir", str(tmp_path / "data")], stderr=said
        )
    try:
        until(lambda: "round 1 waited" in (tmp_path / "said").read_text(), 60, lambda: (tmp_path / "said").read_text())
        process.send_signal(number)
        assert process.wait(20) == status
    finally:
        process.kill()
    assert "Traceback" not in (tmp_path / "said").read_text()
