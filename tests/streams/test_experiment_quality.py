"""Quality by variant: kept by arm, shown for what runs, and a trial of the deep model beside an experiment."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from streams.config import PipelineConfig
from streams.contracts.events import Source
from streams.contracts.experiments import Variant
from streams.experiment_rules import stop
from streams.pipeline import Pipeline
from streams.trial import TrialConfig
from tests import versions
from tests.streams.test_experiments import EXPLORING, LOG, experiment, play


def test_quality_by_arm_is_kept_and_adds_up():
    pipeline, _ = play(LOG, experiment(variants=EXPLORING))
    arms = pipeline.prequential.arms()
    assert set(arms) == {"x/control", "x/new"}
    assert sum(a["moments"] for a in arms.values()) == pipeline.prequential.scored
    whole = sum(a["moments"] * a["hr@20"] for a in arms.values()) / pipeline.prequential.scored
    assert whole == pytest.approx(pipeline.prequential.metrics(1)["blend"]["hr@20"])


def test_metrics_show_the_arms_of_what_runs():
    pipeline, _ = play(LOG, experiment(variants=EXPLORING))
    arms = pipeline.prequential.arms()
    found = pipeline.experiments.metrics(arms)
    assert (found["running"], found["waiting"]) == (1.0, 0.0)
    assert found["moments"] == {arm: arms[arm]["moments"] for arm in ("x/control", "x/new")}
    assert found["hr_at_20"] == {arm: arms[arm]["hr@20"] for arm in ("x/control", "x/new")}
    assert sorted(found) == ["hr_at_20", "moments", "ndcg_at_20", "running", "waiting"]
    both = {"x/new+y/a": arms["x/new"], "x/new": arms["x/new"], "xx/new": arms["x/new"]}
    assert list(pipeline.experiments.metrics(both)["ndcg_at_20"]) == ["x/new"]  # y, and xx, do not run
    waiting = msgspec.structs.replace(experiment(variants=EXPLORING), models={"v9": None})
    pipeline.experiments.run([waiting])
    assert pipeline.experiments.metrics(arms)["waiting"] == 1.0
    pipeline.experiments.run([stop(waiting, 3)])
    assert pipeline.experiments.metrics(arms)["moments"] == {}


def test_a_restart_in_the_middle_of_a_moment_keeps_its_arm():
    for cut in range(1, 60):
        pipeline = Pipeline()
        pipeline.experiments.run([experiment()])
        pipeline.process([(e, Source(0, n)) for n, e in enumerate(LOG[:cut])])
        other = Pipeline()
        other.restore({k: v.copy() for k, v in pipeline.snapshot().items()})
        before = judged(pipeline)
        pipeline.finish()
        other.finish()
        assert judged(other) == judged(pipeline) - before


def judged(pipeline: Pipeline) -> Counter[str]:
    """Moments by arm."""
    return Counter({arm: found["moments"] for arm, found in pipeline.prequential.arms().items()})


@pytest.mark.parametrize(
    ("new", "compared"), [({"sources": ("popular-100",)}, 0), ({"model": "none"}, 0), ({"sources": ("deep", "mf")}, 1)]
)
def test_a_trial_compares_only_where_a_version_makes_a_difference(tmp_path, new, compared):
    """Elsewhere both lists are the same, and the difference would shrink with the traffic of the experiment."""
    pipeline = Pipeline(PipelineConfig(trial=TrialConfig(compared=1.0)))
    ids, vectors = [f"i{n}" for n in range(60)], versions.vectors_of([n % 4 for n in range(60)])
    pipeline.versions.begin(versions.version(tmp_path / "v1", pipeline.knowledge.items, ids, vectors))
    play(LOG, experiment(variants=(Variant(name="control"), Variant(name="new", **new))), pipeline=pipeline)
    moments = judged(pipeline)
    assert moments["x/new"] > 20
    assert pipeline.versions.trial.difference.n == moments["x/control"] + compared * moments["x/new"]


def test_quality_of_what_does_not_run_any_more_is_forgotten():
    pipeline, _ = play(LOG, experiment(variants=EXPLORING))
    of = pipeline.prequential.by_arm
    of["x/new+y/a"] = of["x/new"]
    pipeline.run_experiments([experiment(variants=EXPLORING)])
    assert set(pipeline.prequential.by_arm) == {"x/control", "x/new"}
    pipeline.run_experiments([])
    assert pipeline.prequential.by_arm == {}
