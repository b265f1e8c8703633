"""The command that makes the weights to begin with: of the first fifth of each log, and of nothing later."""

from __future__ import annotations

import json
import random
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from streams.contracts.events import Event
from tests.bench import start
from tests.worlds import shop_log


def written(folder: Path, name: str, log: list[Event]) -> str:
    path = folder / name
    path.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in log))
    return str(path)


@pytest.mark.slow
def test_what_comes_after_the_first_fifth_has_no_say(tmp_path: Path) -> None:
    log, found = shop_log(400), []
    later = [
        msgspec.structs.replace(event, item_id=f"new{random.Random(n).randrange(9)}") for n, event in enumerate(log)
    ]
    fifth = len(log) // 5
    for name, events in (("a", log), ("b", [*log[:fifth], *later[fifth:]]), ("c", [*later[:fifth], *log[fifth:]])):
        out = tmp_path / f"{name}.json"
        done = CliRunner().invoke(start.command, [written(tmp_path, f"{name}.jsonl", events), "--out", str(out)])
        assert done.exit_code == 0, done.output
        found.append(json.loads(out.read_text()))
    assert found[0] == found[1] != found[2]


@pytest.mark.slow
def test_each_log_is_judged_from_the_weights_of_the_others(tmp_path: Path) -> None:
    logs = [written(tmp_path, f"{n}.jsonl", shop_log(300, seed=n)) for n in (1, 2)]
    done = CliRunner().invoke(start.command, [*logs, "--first", "200"])
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in done.output.splitlines()
        if line.startswith("| ")
    ]
    assert [row[:2] for row in rows[1:]] == [["1", "plain"], ["1", "the others’"], ["2", "plain"], ["2", "the others’"]]
    assert rows[1][2:] != rows[2][2:]
    assert all(0.0 < float(row[-1]) < 1.0 for row in rows[1:])


@pytest.mark.slow
def test_what_a_log_has_taught_has_no_say_in_its_own_row(tmp_path: Path) -> None:
    """A longer log has a longer first fifth, but the same first events."""
    long, found = shop_log(900), []
    other = written(tmp_path, "other.jsonl", shop_log(300, seed=2))
    for n in (300, 900):
        (tmp_path / str(n)).mkdir()
        own = written(tmp_path / str(n), "own.jsonl", long[:n])
        done = CliRunner().invoke(start.command, [own, other, "--first", "200"])
        found.append([line for line in done.output.splitlines() if line.startswith(("| own", "| other"))])
    assert found[0][:2] == found[1][:2]
    assert found[0][2] == found[1][2]
    assert found[0][3] != found[1][3], "the other log's row is from the weights of this one"
