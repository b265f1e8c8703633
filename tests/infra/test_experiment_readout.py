"""Read-outs of files and of the sums of others: the same as of the fold itself, or refused with what is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from infra.cli import experiment_readout
from infra.cli.experiment import command
from infra.cli.readout_text import show
from infra.experiment_files import of_files
from infra.experiment_readout import as_json, merged, save
from infra.web.readout_page import page
from online_models.errors import InputError
from streams.contracts.events import Source
from streams.contracts.experiments import Definition
from streams.experiment_rules import alone, ramp
from streams.readout.fold import MAX_USERS, Readout
from streams.readout.result import read_out
from streams.readout.tally import Tally
from tests.streams.readout_tape import Tape, definition


def tape(users: int = 40) -> Tape:
    t = Tape()
    for n in range(6 * users):
        t.add(60 * n, "ab"[n % 2], user=f"u{n % users}", shown="ac", variant=("control", "new")[n % users % 2])
    return t


def files(t: Tape, folder: Path) -> tuple[str, str]:
    log, published = folder / "log.jsonl", folder / "published.jsonl"
    log.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event, _ in t.records))
    published.write_bytes(b"".join(msgspec.json.encode(made) + b"\n" for _, made in t.records))
    return str(log), str(published)


def parts(t: Tape, d: Definition, folder: Path) -> list[Path]:
    """What three readers save, each of a part of the users."""
    out = []
    for p in range(3):
        readout = Readout(d)
        mine = [(e, m) for e, m in t.records if int(e.user_id[1:]) % 3 == p]
        for n, (event, made) in enumerate(mine):
            assert made is not None
            assert made.caused_by is not None
            cause = msgspec.structs.replace(made.caused_by, partition=p, offset=n)
            readout.take_event(msgspec.json.encode(event), Source(p, n))
            readout.take_list(msgspec.json.encode(msgspec.structs.replace(made, caused_by=cause)))
        out.append(folder / f"{p}.json")
        save(readout.tally(), out[-1])
    return out


def test_files_and_merged_parts_have_the_sums_of_one_fold(tmp_path: Path) -> None:
    t, d = tape(), definition()
    whole = t.play().tally().plain()
    assert whole["events"] == 240
    assert of_files(alone(d, 0), *files(t, tmp_path), 86_400).plain() == whole
    saved = parts(t, d, tmp_path)
    for order in (saved, saved[::-1]):
        assert merged(alone(d, 0), order).plain() == whole | {"partitions": [0, 1, 2]}


def test_a_ramp_between_two_readers_is_no_other_definition(tmp_path: Path) -> None:
    d = definition(traffic=0.5)
    grown = ramp(alone(d, 0), {"control": 3}, 1.0, 1)
    saved = parts(tape(), d, tmp_path)
    assert merged(grown, saved).events == 240


@pytest.mark.parametrize(
    "other",
    [{"attribution_s": 60}, {"clicks": ("cart",)}, {"exposure": "impression"}, {"unit": "session"}, {"salt": "y"}],
)
def test_sums_of_another_definition_are_refused(tmp_path: Path, other: dict[str, object]) -> None:
    saved = parts(tape(), definition(), tmp_path)
    changed = definition(**other)
    with pytest.raises(InputError, match="under definition"):
        merged(alone(changed, 0), saved)
    with pytest.raises(InputError, match="under definition"):
        Tally(definition()) + Tally(changed)


def test_sums_that_overlap_or_are_none_are_refused(tmp_path: Path) -> None:
    saved = parts(tape(), definition(), tmp_path)
    with pytest.raises(InputError, match="add each once"):
        merged(alone(definition(), 0), [saved[0], saved[0]])
    with pytest.raises(InputError, match="correct the path"):
        merged(alone(definition(), 0), [tmp_path / "none.json"])
    old = json.loads(saved[0].read_text()) | {"v": 1}
    saved[0].write_text(json.dumps(old))
    with pytest.raises(InputError, match="count again"):
        merged(alone(definition(), 0), saved)


def arguments(tmp_path: Path, name: str = "x") -> list[str]:
    log, published = files(tape(), tmp_path)
    (tmp_path / "x.yaml").write_text(f"name: {name}\nvariants: [{{name: control}}, {{name: new}}]\n")
    return ["readout", "--file", str(tmp_path / "x.yaml"), "--log", log, "--published", published]


def run(tmp_path: Path, *more: str) -> str:
    found = CliRunner().invoke(command, [*arguments(tmp_path), *more])
    assert found.exit_code == 0, found.output
    return found.stdout


def test_what_is_read_out_of_files_is_recorded_and_says_why_there_is_no_result(tmp_path: Path) -> None:
    text = run(tmp_path)
    assert "x (recorded): control 20, new 20 units; 240 lists, 240 events until 2014-05-13 20:52:20 UTC" in text
    few = "no result yet for ctr of new, conversion of new, revenue of new, hr@20 of new: 20 units, at least 100 are needed"
    assert text.count("at least 100 are needed") == 2, "once for all of them, and in the verdict"
    assert few in text
    told = json.loads(run(tmp_path, "--json", "--correction", "bh"))
    assert (told["state"], told["correction"]) == ("recorded", "bh")


@pytest.mark.parametrize("every", ["0s", "0", "999ms"])
def test_looks_without_a_pause_are_refused(every: str) -> None:
    found = CliRunner().invoke(command, ["readout", "x", "--watch", "--every", every])
    assert found.exit_code == 2
    assert "expected at least 1s" in found.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("--merge FILE --act", "--merge adds sums"),
        ("--merge FILE --watch", "--merge adds sums"),
        ("--merge FILE --partition 0", "--merge adds sums"),
        ("--merge FILE --period 1h", "--merge adds sums"),
        ("--merge FILE --max-users 9", "--merge adds sums"),
        ("--act --partition 0", "all partitions"),
    ],
)
def test_nobody_acts_on_a_part_of_the_sums(tmp_path: Path, more: str, said: str) -> None:
    (tmp_path / "sums.json").write_text("{}")
    found = CliRunner().invoke(command, ["readout", "x", *more.replace("FILE", str(tmp_path / "sums.json")).split()])
    assert found.exit_code == 2
    assert said in found.stderr


@pytest.mark.parametrize("more", ["--merge sums.json", "--partition 5", "--act", "--watch"])
def test_what_files_do_not_go_with_is_not_passed_over(more: str) -> None:
    found = CliRunner().invoke(command, ["readout", "--file", "x", "--log", "l", "--published", "p", *more.split()])
    assert found.exit_code == 2
    assert "--file, --log and --published go together, without" in found.stderr


def test_a_look_that_is_one_of_many_says_when_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    found = read_out(alone(definition(), 0), tape().play().tally())
    show(found, watched=True)
    assert re.match(r"\n\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\nx \(running\)", capsys.readouterr().out)
    show(found, watched=False)
    assert capsys.readouterr().out.startswith("x (running)")


def test_what_was_lost_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    tally = tape().play().tally()
    show(read_out(alone(definition(), 0), tally), watched=False)
    assert "not counted" not in capsys.readouterr().out
    tally.lost = 7
    found = read_out(alone(definition(), 0), tally)
    show(found, watched=False)
    assert "7 lists are not counted" in capsys.readouterr().out
    assert json.loads(as_json(found))["lost"] == 7
    assert "too late, or for too many strangers, or they name no variant of it: 7" in page(found)


def test_lists_of_other_experiments_are_no_read_out_of_this_one(tmp_path: Path) -> None:
    found = CliRunner().invoke(command, arguments(tmp_path, "y"))
    assert isinstance(found.exception, InputError)
    assert "expected lists of experiment y, got lists of x in" in str(found.exception)
    none = tape()
    for _, made in none.records:
        assert made is not None
        made.experiments.clear()
    log, published = files(none, tmp_path)
    with pytest.raises(InputError, match=r"got lists of no experiment in .*; replay the log with --experiment"):
        of_files(alone(definition(), 0), log, published, 86_400)


def test_lists_of_variants_that_the_definition_lacks_are_of_another_one(tmp_path: Path) -> None:
    given = arguments(tmp_path)
    (tmp_path / "x.yaml").write_text("name: x\nvariants: [{name: control}, {name: other}]\n")
    found = CliRunner().invoke(command, given)
    assert isinstance(found.exception, InputError)
    assert "expected lists of the variants of x (control, other), got those of new in" in str(found.exception)


def test_a_watch_prints_what_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    e, tally, later = alone(definition(), 0), tape().play().tally(), tape(60).play().tally()
    monkeypatch.setattr(experiment_readout, "_looks", lambda *_: [(e, tally), (e, tally), (e, later), (e, later)])
    args = ["readout", "x", "--watch"]
    found = CliRunner().invoke(command, args)
    assert found.exit_code == 0, found.output
    assert [line for line in found.stdout.splitlines() if line.startswith("x (running)")] == [
        "x (running): control 20, new 20 units; 240 lists, 240 events until 2014-05-13 20:52:20 UTC",
        "x (running): control 30, new 30 units; 360 lists, 360 events until 2014-05-13 22:52:20 UTC",
    ]
    assert "nothing has changed" not in found.output, "progress is for a terminal"
    assert len(CliRunner().invoke(command, [*args, "--json"]).stdout.splitlines()) == 4, "an object a look"


def test_the_limit_of_users_is_that_of_the_read_out() -> None:
    [option] = [o for o in command.commands["readout"].params if o.name == "max_users"]
    assert option.default == MAX_USERS
