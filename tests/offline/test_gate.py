"""The gate: what it lets through, and each thing that it does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from infra.cli.gate import command
from offline import artefacts, gate, job
from offline.evaluate import Ranks
from offline.gate import GateConfig
from offline.model import build
from online_models import embeddings
from online_models.embeddings import Artefact, Trained
from online_models.errors import ArtefactError, QualityError
from tests.offline.planted import ring_log, written
from tests.offline.test_job import CONFIG

LOG = ring_log(1500)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    folder = tmp_path_factory.mktemp("gate") / "good"
    job.train(LOG, folder, CONFIG)
    return embeddings.verify(folder)


def random_like(good: Artefact, folder: Path) -> Artefact:
    """An artefact that is honest but bad."""
    model = build("gru4rec", good.manifest.items, good.manifest.encoder["config"], seed=9)
    artefacts.save(model, good.ids, folder, good.manifest.trained, 1, seen_ms=good.manifest.seen_ms)
    return embeddings.verify(folder)


def test_a_good_first_version_beats_popularity(good: Artefact) -> None:
    verdict = gate.judge(good, LOG)
    verdict.require()
    assert verdict.against == "popularity"
    d = verdict.differences["mrr@20"]
    assert d.candidate > 0.9
    assert 0 < d.low < d.mean < d.high
    assert d.mean == pytest.approx(d.candidate - d.other)


def test_it_judges_on_what_has_neither_taught_nor_ended_the_training(good: Artefact) -> None:
    """The newest tenth: what early stopping looked at is left out, or a version that was chosen by it would be judged by it."""
    tenth = np.sort(LOG.times)[-len(LOG) // 10 :]
    seen = good.manifest.seen_ms
    assert seen is not None
    assert good.manifest.trained.to_ms < seen < tenth[0]
    verdict = gate.judge(good, LOG)
    assert verdict.since_ms == seen + 1
    assert verdict.queries == len(tenth) * 5 // 6, "all but the first of each session of six"


def test_what_the_live_version_has_seen_does_not_judge_either(good: Artefact) -> None:
    later = int(LOG.times[-600])
    live = replace(good, manifest=replace(good.manifest, seen_ms=later))
    assert gate.judge(good, LOG, live).since_ms == later + 1
    silent = replace(good, manifest=replace(good.manifest, seen_ms=None, trained=Trained(0, later, 1)))
    assert gate.judge(good, LOG, silent).since_ms == later + 1


def test_a_version_that_does_not_say_what_it_has_seen_is_not_judged(good: Artefact) -> None:
    silent = replace(good, manifest=replace(good.manifest, seen_ms=None))
    with pytest.raises(ArtefactError, match=f"seen_ms.*got only that it learned until {good.manifest.trained.to_ms}"):
        gate.judge(silent, LOG)


def test_an_equal_version_passes(good: Artefact) -> None:
    verdict = gate.judge(good, LOG, good)
    verdict.require()
    assert {(d.mean, d.low, d.high) for d in verdict.differences.values()} == {(0.0, 0.0, 0.0)}
    assert verdict.sanity["coverage"] == 1


def test_random_vectors_are_refused_with_the_numbers(good: Artefact, tmp_path: Path) -> None:
    verdict = gate.judge(random_like(good, tmp_path / "bad"), LOG, good)
    numbers = r"mrr@20 0\.\d+ against 1\.0000: difference -0\.\d+, interval .* allowed -0\.0200"
    with pytest.raises(QualityError, match=numbers):
        verdict.require()


def test_a_little_worse_is_allowed_only_within_the_margin() -> None:
    rng = np.random.default_rng(0)
    session = np.repeat(np.arange(2000), 3)
    theirs = Ranks(np.where(rng.random(6000) < 0.5, 0.0, 30.0), session)
    worse = Ranks(np.where(rng.random(6000) < 0.05, 30.0, theirs.ranks), session)
    d = gate.paired(worse, theirs, "hr@20")
    assert d.mean == pytest.approx(-0.025, abs=0.006)
    assert d.low < d.mean < d.high < 0
    assert d.low < -0.02 * d.other
    assert d.low > -0.2 * d.other


def test_the_margin_is_held_against_the_lower_end_of_the_interval(good: Artefact) -> None:
    """Worse by a mean within the margin, and possibly by more: that is not known to be good enough."""
    rng = np.random.default_rng(3)
    noisy = changed(good, lambda v: v + 0.6 * np.abs(v).mean() * rng.normal(size=v.shape).astype(np.float32))
    differences = gate.judge(noisy, LOG, good).differences.values()
    likely, surely = (max(-d.mean / d.other for d in differences), max(-d.low / d.other for d in differences))
    assert 0 < likely < 0.9 * surely < 0.9
    assert not gate.judge(noisy, LOG, good, GateConfig(margin=(likely + surely) / 2)).passed
    assert gate.judge(noisy, LOG, good, GateConfig(margin=1.01 * surely)).passed


def test_the_interval_is_wider_where_sessions_agree_with_themselves() -> None:
    """Ten copies of each query in one session are one observation, not ten."""
    rng = np.random.default_rng(1)
    one = np.where(rng.random(500) < 0.5, 0.0, 30.0)
    other = np.where(rng.random(500) < 0.5, 0.0, 30.0)
    single = gate.paired(Ranks(one, np.arange(500)), Ranks(other, np.arange(500)), "hr@20")
    session = np.repeat(np.arange(500), 10)
    copied = gate.paired(Ranks(np.repeat(one, 10), session), Ranks(np.repeat(other, 10), session), "hr@20")
    assert (copied.low, copied.high) == pytest.approx((single.low, single.high))


def test_the_interval_covers_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        session = np.repeat(np.arange(150), 3)
        base = rng.random(150)[session]
        one, two = (np.where(rng.random(450) < base, 0.0, 30.0) for _ in range(2))
        d = gate.paired(Ranks(one, session), Ranks(two, session), "hr@20", GateConfig(draws=300))
        covered += d.low <= 0 <= d.high
    assert 88 <= covered <= 99


def changed(good: Artefact, vectors: Callable[[np.ndarray], np.ndarray]) -> Artefact:
    return replace(good, vectors=vectors(np.array(good.vectors)))


def with_nan(v: np.ndarray) -> np.ndarray:
    v[3] = np.nan
    return v


def with_giant(v: np.ndarray) -> np.ndarray:
    v[3] *= 1e4
    return v


def on_a_line(v: np.ndarray) -> np.ndarray:
    return np.linspace(-1, 1, len(v), dtype=np.float32)[:, None] * v[:1]


INSANE = {
    "NaN": (with_nan, "NaN or infinity in 2.50% of the vectors"),
    "giant": (with_giant, "largest norm"),
    "all giants": (
        lambda v: v * np.float32(1e20),
        r"norms of .*e\+20 in the median .* out of the range 1e-06 to 1e\+06",
    ),
    "all dwarfs": (lambda v: v * np.float32(1e-20), r"norms of .*e-20 in the median .* out of the range"),
    "zero": (lambda v: v * 0, "largest norm 0"),
    "one point": (lambda v: v * 0.01 + 1, "mean cosine of two items"),
    "one line": (on_a_line, "1.0 directions in use"),
}


@pytest.mark.parametrize("name", INSANE)
def test_what_is_not_sane_is_refused(name: str, good: Artefact) -> None:
    change, message = INSANE[name]
    with pytest.raises(QualityError, match=message):
        gate.judge(changed(good, change), LOG, good).require()


def test_a_bias_out_of_range_is_refused(good: Artefact) -> None:
    heavy = replace(good, bias=np.full(len(good.ids), 1e30, np.float32))
    with pytest.raises(QualityError, match=r"biases up to 1e\+30: out of the range"):
        gate.judge(heavy, LOG, good).require()


def test_items_that_the_live_version_knows_must_be_known(good: Artefact, tmp_path: Path) -> None:
    strange = replace(good, ids=[f"x{i}" if i < 10 else item for i, item in enumerate(good.ids)])
    verdict = gate.judge(strange, LOG, good)
    assert verdict.sanity["coverage"] < 0.8
    with pytest.raises(QualityError, match="knows the items of"):
        verdict.require()


def test_a_version_of_other_items_is_refused(good: Artefact) -> None:
    """It is not worse than popularity where neither has a hit."""
    others = replace(LOG, item_ids=[f"other-{item}" for item in LOG.item_ids])
    with pytest.raises(QualityError, match=r"knows the items of 0\.0% of the newest events"):
        gate.judge(good, others).require()


def test_too_few_events_decide_nothing(good: Artefact) -> None:
    last = int(LOG.times[-1])
    late = replace(good, manifest=replace(good.manifest, seen_ms=last - 10_000))
    with pytest.raises(QualityError, match="expected 200 queries or more"):
        gate.judge(late, LOG, good).require()


def test_the_command_says_why(good: Artefact, tmp_path: Path) -> None:
    log = str(written(LOG, tmp_path / "log.jsonl"))
    done = CliRunner().invoke(command, [str(good.folder), "--log", log, "--live", str(good.folder)])
    assert done.exit_code == 0, done.output
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[-1].startswith(f"accepted: {good.manifest.version} is sane, and less than 2% worse")
    assert any(line.startswith("mrr@20") for line in lines)
    assert "vectors without NaN or infinity 100.00% 100%" in lines
    assert "items of the other that it knows, by events 100.0% at least 95%" in lines
    random_like(good, tmp_path / "bad")
    refused = CliRunner().invoke(command, [str(tmp_path / "bad"), "--log", log, "--live", str(good.folder), "--json"])
    assert isinstance(refused.exception, QualityError)
    assert '"faults":["hr@20' in refused.stdout
    assert json.loads(refused.stdout)["accepted"] is False
    in_words = CliRunner().invoke(command, [str(tmp_path / "bad"), "--log", log, "--margin", "0.005", "--popularity"])
    assert in_words.stdout.splitlines()[-1].startswith("refused with a margin of 0.5%, for ")
