"""``headrace models``: what the topics say of the versions, and decisions that the workers' own fold understands."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from infra import models, topic_reading
from infra.cli.models import command
from infra.models import Models
from online_models.errors import InputError
from streams.contracts.models import SLOT, Announcement, Decision, TrainedOn, WorkerStatus
from streams.contracts.topics import Topics

NAMES = Topics()
DAY = 86_400_000
MARCH = 1_772_323_200_000


def announced(version: str, created: int) -> Announcement:
    return Announcement(
        version=version, uri=f"file:///m/{version}", sha256="0" * 64, created=MARCH + created * DAY, metrics={"ndcg@20": 0.125},
        trained=TrainedOn(from_ms=MARCH - DAY, to_ms=MARCH, events=1234),
    )  # fmt: skip


def decided(version: str, state: Any, at: int, created: int, **more: Any) -> Decision:
    return Decision(announcement=announced(version, created), state=state, by="w1", created=at, **more)


def worker(name: str, live: str | None, candidate: str | None = None, step: str = "", **more: Any) -> WorkerStatus:
    return WorkerStatus(worker=name, live=live, candidate=candidate, step=step, created=MARCH, **more)


def record(topic: str, key: str, value: msgspec.Struct | bytes | None) -> Any:
    raw = msgspec.json.encode(value) if isinstance(value, msgspec.Struct) else value
    return SimpleNamespace(topic=topic, key=key.encode(), value=raw)


def on_wire(*records: Announcement | Decision | WorkerStatus) -> list[Any]:
    out = []
    for each in records:
        if isinstance(each, Announcement):
            out.append(record(NAMES.models, SLOT, each))
        elif isinstance(each, Decision):
            out.append(record(NAMES.model_decisions, each.announcement.version, each))
        else:
            out.append(record(NAMES.model_status, each.worker, each))
    return out


def states(*records: Any) -> dict[str, str]:
    return {known.version: known.state for known in Models(NAMES).take(on_wire(*records)).overview.versions}


A = decided("a", "promoted", 10, 1)
B = decided("b", "promoted", 20, 2, moments=900, difference=0.0123, low=-0.001, high=0.02)
GONE = decided("c", "rolled_back", 30, 3)


def test_each_version_has_its_state_the_newest_first() -> None:
    found = states(A, B, GONE, announced("d", 4))
    assert list(found.items()) == [("d", "on trial"), ("c", "rolled back"), ("b", "live"), ("a", "superseded")]


def test_a_pin_holds_what_is_announced_after_it() -> None:
    pin = decided("a", "pinned", 40, 1)
    assert states(pin, B, announced("d", 4)) == {"a": "pinned", "b": "superseded", "d": "held"}


def test_an_older_announcement_is_not_tried() -> None:
    assert states(B, announced("a", 1)) == {"a": "superseded", "b": "live"}
    pinned = decided("b", "pinned", 40, 2)
    assert states(pinned, announced("a", 1)) == {"a": "superseded", "b": "pinned"}


def test_a_version_is_refused_when_all_that_have_had_it_say_so() -> None:
    says_no, tries = worker("w1", "b", "d", "refused", error="sha256"), worker("w2", "b", "d", "shadow", moments=40)
    assert states(B, announced("d", 4), says_no)["d"] == "refused"
    assert states(B, announced("d", 4), says_no, tries)["d"] == "on trial"


def test_moments_come_from_the_decision_and_on_trial_from_the_worker_that_is_furthest() -> None:
    workers = worker("w1", "b", "d", "shadow", moments=40), worker("w2", "b", "d", "shadow", moments=70)
    found = Models(NAMES).take(on_wire(B, announced("d", 4), *workers, worker("w3", "b", "x", "shadow", moments=99)))
    assert {known.version: known.moments for known in found.overview.versions} == {"d": 70, "b": 900}


def test_records_taken_back_and_those_that_cannot_be_read() -> None:
    found = Models(NAMES).take(
        [
            *on_wire(A, B, worker("w1", "b"), worker("w2", "b")),
            record(NAMES.model_decisions, "b", None),
            record(NAMES.model_status, "w2", None),
            record(NAMES.models, SLOT, b"{"),
            record(NAMES.models, SLOT, None),
            record(NAMES.models, "other", announced("z", 9)),
            record(NAMES.model_decisions, "b", msgspec.structs.replace(B, v=2)),
        ]
    )
    assert found.left_out == 3
    assert found.overview.live == "a"
    assert [w.worker for w in found.overview.workers] == ["w1"]


def test_a_decision_of_the_operator_is_the_latest_one_whatever_the_clock_says() -> None:
    found = Models(NAMES).take(on_wire(A, B))
    assert found.decision("a", "promoted", "").created > MARCH, "milliseconds of now"
    ahead = 1 << 50
    found.fleet.decide(decided("b", "promoted", ahead, 2))
    made = found.decision("a", "pinned", "sale")
    assert (made.created, made.by, made.reason, made.moments) == (ahead + 1, "operator", "sale", None)
    assert made.announcement == A.announcement
    found.fleet.decide(made)
    assert (found.overview.live, found.overview.pinned) == ("a", True)


def test_without_a_name_the_live_version_is_rolled_back() -> None:
    found = Models(NAMES).take(on_wire(A, B))
    assert found.decision(None, "rolled_back", "").announcement.version == "b"
    with pytest.raises(InputError, match="a version that is live, got none"):
        Models(NAMES).take(on_wire(announced("a", 1))).decision(None, "rolled_back", "")


def test_an_unknown_version_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"versions known \(b, a\), got 'x'"):
        Models(NAMES).take(on_wire(A, B)).decision("x", "promoted", "")
    with pytest.raises(InputError, match=r"none yet.*headrace publish-model"):
        Models(NAMES).find("x")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Decision]:
    """The command reads made-up records; what it writes is here."""
    tries = worker("w1", "b", "d", "shadow", moments=1_200)
    refuses = worker("w2", "b", "d", "refused", error="[bold]disk\x1b[2J full[/bold]")
    there = on_wire(A, B, GONE, announced("d", 4), tries, refuses)
    monkeypatch.setattr(topic_reading, "records", lambda settings, *names: there)
    out: list[Decision] = []
    monkeypatch.setattr(models, "write", lambda settings, decision: out.append(decision))
    return out


def run(*arguments: str) -> str:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_list_shows_versions_and_workers(written: list[Decision]) -> None:
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in run("list").splitlines() if "│" in line]
    assert rows[:4] == [
        ["d", "2026-03-05 00:00:00Z", "on trial", "", "1,200", ""],
        ["c", "2026-03-04 00:00:00Z", "rolled back", "w1", "", ""],
        ["b", "2026-03-03 00:00:00Z", "live", "w1", "900", "+0.0123 (-0.0010 to +0.0200)"],
        ["a", "2026-03-02 00:00:00Z", "superseded", "w1", "", ""],
    ]
    assert rows[4] == ["w1", "b", "d", "shadow", "1,200", "2026-03-01 00:00:00Z", ""]
    assert rows[5][:4] == ["w2", "b", "d", "refused"]
    assert rows[5][6] == "[bold]disk\ufffd[2J full[/bold]", "what workers say is shown as it is, without control codes"


def test_list_as_json_has_everything(written: list[Decision]) -> None:
    found = json.loads(run("list", "--json"))
    assert (found["live"], found["candidate"], found["pinned"]) == ("b", "d", False)
    assert [v["version"] for v in found["versions"]] == ["d", "c", "b", "a"]
    assert found["versions"][2]["decision"]["difference"] == 0.0123
    assert [w["step"] for w in found["workers"]] == ["shadow", "refused"]


def test_list_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_reading, "records", lambda settings, *names: [])
    assert run("list").splitlines() == [
        "no version is known: announce one with `headrace publish-model`",
        "no worker has said where it is",
    ]


def test_show_tells_all_of_one_version(written: list[Decision]) -> None:
    assert run("show", "b").splitlines() == [
        "b: live",
        "  created          2026-03-03 00:00:00Z",
        "  uri              file:///m/b",
        f"  sha256           {'0' * 64}",
        "  trained on       1,234 events, 2026-02-28 00:00:00Z to 2026-03-01 00:00:00Z",
        "  metrics          ndcg@20 0.1250",
        "  decision         promoted by w1, 1970-01-01 00:00:00Z",
        "  compared at      900 moments, NDCG@20 +0.0123 (-0.0010 to +0.0200)",
        "  worker w1        live",
        "  worker w2        live",
    ]
    assert run("show", "d").splitlines()[-2:] == [
        "  worker w1        shadow, 1,200 moments",
        "  worker w2        refused, [bold]disk\ufffd[2J full[/bold]",
    ]
    assert json.loads(run("show", "d", "--json"))["version"]["state"] == "on trial"


@pytest.mark.parametrize(
    ("arguments", "state", "said"),
    [
        (["promote", "a"], "promoted", "a: promoted; live from now on: a"),
        (["pin", "a"], "pinned", "a: pinned; live from now on: a"),
        (["rollback"], "rolled_back", "b: rolled back; live from now on: a"),
        (["rollback", "d"], "rolled_back", "d: rolled back; live from now on: b"),
    ],
)
def test_decisions_are_written_and_their_effect_said(
    arguments: list[str], state: str, said: str, written: list[Decision]
) -> None:
    assert run(*arguments, "--reason", "because") == f"{said}\n"
    [decision] = written
    assert (decision.state, decision.by, decision.reason) == (state, "operator", "because")
    assert decision.announcement.version == said[0]


def test_nothing_is_written_of_an_unknown_version(written: list[Decision]) -> None:
    with pytest.raises(InputError):
        run("promote", "x")
    assert written == []


def test_a_warning_where_records_were_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_reading, "records", lambda settings, *names: [record(NAMES.models, SLOT, b"{")])
    result = CliRunner().invoke(command, ["list"], catch_exceptions=False)
    assert "1 records that cannot be read" in result.stderr
