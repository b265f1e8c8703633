"""``headrace experiment off-policy``: the tables, and its exit status as a gate."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from infra.cli.experiment import command
from tests.streams.test_explored import world


def write(folder: Path, *lines: list[bytes]) -> list[str]:
    names = [str(folder / f"{name}.jsonl") for name in ("log", "published", "candidate")]
    for name, each in zip(names, lines, strict=True):
        Path(name).write_bytes(b"\n".join(each) + b"\n")
    return names


def off_policy(files: list[str], *more: str) -> Result:
    log, published, candidate = files
    return CliRunner().invoke(command, ["off-policy", log, "--published", published, "--candidate", candidate, *more])


def run(folder: Path, wanted: str, *more: str, n: int = 1_000) -> Result:
    return off_policy(write(folder, *world(n, wanted=wanted)), *more)


def test_every_estimator_has_a_row_and_what_is_the_same_is_said_once(tmp_path: Path) -> None:
    text = run(tmp_path, "b", "--slate", "2").stdout
    heads = [line for line in text.splitlines() if line.startswith("estimator")]
    assert [re.split("  +", head.strip()) for head in heads] == [
        ["estimator", "value", "95% interval", "bounds", "effective"]
    ] * 2
    assert "as logged, exploring" in text
    assert "on_policy" not in text
    for name in ("switch_dr", "dros"):
        assert re.search(
            rf"^{name} +0\.\d{{4}} +0\.\d{{4}} to 0\.\d{{4}} +0\.\d{{4}} to 0\.\d{{4}} +[\d,]+$", text, re.M
        )
    none = "standard_ips, reward_interaction_ips, cascade_dr"
    assert f"\ncovers 0.0% of all lists: {none}\ncovers 100.0% of all lists: independent_ips\n" in text
    [told] = [line for line in text.splitlines() if line.startswith("no estimate, the log could not have shown")]
    assert told.endswith(f": {none}")
    assert "gate: pass" in text
    assert "variants" not in text
    assert not re.search(" $", text, re.M)


def test_where_nothing_can_be_said_there_are_no_columns_for_it(tmp_path: Path) -> None:
    text = run(tmp_path, "b", "--slate", "2", n=300).stdout
    heads = [line.split() for line in text.splitlines() if line.startswith("estimator")]
    assert heads[1] == ["estimator", "value", "effective"], "every one says that it cannot"


def test_a_guess_is_called_one_once(tmp_path: Path) -> None:
    lines = run(tmp_path, "d", n=800).stdout.splitlines()
    [guess] = [line for line in lines if "a guess" in line]
    assert re.search(r"fewer than 30 clicks .*: .*\bipw \(\d+\), snipw \(\d+\)", guess)


def test_the_tables_fit_into_a_terminal_of_80_columns(tmp_path: Path) -> None:
    """Where sentences are wrapped between words, and every row of a table stays one line."""
    run(tmp_path, "b", "--slate", "2")
    args = [str(tmp_path / f"{name}.jsonl") for name in ("log", "published", "candidate")]
    seen, shown = pty.openpty()
    fcntl.ioctl(shown, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    line = ["experiment", "off-policy", args[0], "--published", args[1], "--candidate", args[2], "--slate", "2"]
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")} | {"TERM": "dumb"}
    with subprocess.Popen([sys.executable, "-m", "infra.cli", *line], stdout=shown, env=environment) as process:
        os.close(shown)
        text = b"".join(_read(seen)).decode()
    os.close(seen)
    assert process.returncode == 0
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(bool(re.match(r"(switch_dr|dros|ipw) .* to .* to .*\d$", line.rstrip())) for line in lines) == 3
    assert sum(line.startswith("estimator") and line.rstrip().endswith("effective") for line in lines) == 2


def _read(terminal: int) -> Iterator[bytes]:
    """What a program writes to its terminal, until it closes it."""
    with contextlib.suppress(OSError):  # Linux' way to say so
        while more := os.read(terminal, 65_536):
            yield more


@pytest.mark.parametrize(("wanted", "margin", "code"), [("b", "0", 0), ("d", "0", 1), ("d", "0.3", 0)])
def test_the_gate_is_the_exit_status(tmp_path: Path, wanted: str, margin: str, code: int) -> None:
    found = run(tmp_path, wanted, "--gate", "--margin", margin, "--json")
    assert found.exit_code == code
    told = json.loads(found.stdout)["gate"]
    assert told["passed"] is (code == 0)
    assert (told["reason"] in found.stderr) is (code == 1)
    screen = run(tmp_path, wanted, "--gate", "--margin", margin)
    assert screen.exit_code == code
    assert screen.output.count(told["reason"]) == 1
    assert ("expected a pass at the gate, found refuse;" in screen.stderr) is (code == 1)
    assert run(tmp_path, wanted, "--json").exit_code == 0, "only where it is asked for"


def test_lists_of_one_variant_of_several(tmp_path: Path) -> None:
    events, published, candidate = world(600)
    made = []
    for n, raw in enumerate(published):
        exposed = {"name": "x", "variant": "ab"[n // 2 % 3 == 0], "forced": n < 12}
        made.append(msgspec.json.encode(msgspec.json.decode(raw) | {"experiments": [exposed]}))
    files = write(tmp_path, events, made, candidate)
    text = off_policy(files).stdout
    assert "made under 2 variants, all of which count: x/a 396, x/b 198" in text
    assert "6 records of lists of testers" in text
    one = json.loads(off_policy(files, "--experiment", "x", "--variant", "b", "--json").stdout)
    assert (one["rows"], one["joined"]["of_others"], one["joined"]["variants"]) == (198, 396, {"x/b": 198})
    assert "variants, all" not in off_policy(files, "--experiment", "x", "--variant", "b").stdout
    alone = off_policy(files, "--variant", "b")
    assert (alone.exit_code, "--experiment" in alone.stderr) == (2, True)


def test_rows_without_what_came_of_them_are_told_apart(tmp_path: Path) -> None:
    events, published, candidate = world(600)
    first = msgspec.json.decode(published[0])
    asked = first | {"caused_by": None, "after": {"partition": 0, "offset": 0}, "request_id": "get"}
    files = write(tmp_path, events, [*published, msgspec.json.encode(asked)], candidate)
    text = off_policy(files).stdout
    assert "judged as if nothing had come of them: 1 lists whose user was given another over HTTP before" in text
    assert "not judged: 1 records of lists asked for over HTTP; 600 records of lists without" in text


def test_at_least_takes_the_worst_of_what_is_not_covered(tmp_path: Path) -> None:
    told = json.loads(run(tmp_path, "b", "--json").stdout)
    [dr] = [e for e in told["estimates"] if e["result"]["estimator"] == "switch_dr"]
    assert run(tmp_path, "b", "--at-least", str(dr["worst"] - 0.001)).exit_code == 0
    assert run(tmp_path, "b", "--at-least", str(dr["worst"] + 0.001)).exit_code == 1


def test_clicks_are_words_of_which_one_must_be_there(tmp_path: Path) -> None:
    files = write(tmp_path, *world(600))
    plain = off_policy(files, "--json")
    assert off_policy(files, "--clicks", "click, view ", "--json").stdout == plain.stdout
    assert json.loads(plain.stdout)["joined"]["judged"] == {"view": 1_200}
    wrong = off_policy(files, "--clicks", "veiw")
    assert wrong.exit_code == 1
    for said in ("expected events of type veiw", "1,200 of others: view", "--clicks"):
        assert said in str(wrong.exception)
    half = off_policy(files, "--clicks", "view,purhcase")
    assert (half.exit_code, "no event was of type purhcase" in half.stdout) == (0, True)
    assert "no event was of type" not in off_policy(files).stdout, "both are the default, and one is enough"
    for none in ("", " , "):
        assert off_policy(files, "--clicks", none).exit_code == 2


def test_files_that_do_not_belong_together_or_are_no_lists_are_told_apart(tmp_path: Path) -> None:
    events, published, candidate = world(60)
    others = [raw.replace(b'"user_id":"u', b'"user_id":"v') for raw in events]
    files = write(tmp_path, others, published, candidate)
    another = str(off_policy(files).exception)
    assert "60 lists explored, but their event is not among the events" in another
    assert another.endswith("; name the log that `headrace replay LOG --published FILE` made the lists of")
    files = write(tmp_path, events, published, candidate[1::2])
    assert "; replay the log that the lists are of under the candidate's conf" in str(off_policy(files).exception)
    for position, path in enumerate(files[1:], 1):
        files = write(tmp_path, *world(60))
        Path(path).write_text("name: x\nmethod: ab\n")
        found = str(off_policy(files).exception)
        assert f"expected a file of lists, got 2 records in {files[position]}, none of which is a list" in found
        Path(path).unlink()
        missing = str(off_policy(files).exception)
        assert (
            f"expected a file of lists, got no file at {path}; name a file that `headrace replay LOG --pub" in missing
        )
        assert "headrace import" not in missing
