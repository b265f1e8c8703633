"""Where the blend starts: what is shipped fits the code, is taken over by name, and gives way as fast as so many moments would."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from online_models.blend import CONTEXT_NAMES, CONTEXTS, G_UNIT, W_UNIT, Blend
from online_models.errors import ArtefactError
from online_models.start import DIGITS, WORTH, Learned, Start, _shipped, mean, plain, prior, shipped, write
from streams.config import BlendConfig, PipelineConfig
from streams.pipeline import Pipeline

FEATURES = ("knn.log_rank", "knn.listed", "count", "hidden-0")
NAMES = ("always", "sometimes")
ALWAYS = np.array([0], np.int32)
BOTH = np.array([0, 1], np.int32)


def test_what_is_shipped_is_of_the_contexts_and_features_that_there_are() -> None:
    found, features = _shipped(), Pipeline().knowledge.features
    assert (found["moments"], found["contexts"]) == (WORTH, list(CONTEXT_NAMES)), "make it anew"
    assert found["weights"].keys() == found["squares"].keys()
    assert len(found["weights"]) > 100
    assert set(found["weights"]) <= set(features)
    assert not [name for name in found["weights"] if name.startswith("hidden-")]
    for name, row in found["weights"].items():
        assert len(row) == CONTEXTS
        assert all(math.isfinite(value) and abs(value) < 10.0 for value in row), name
        assert found["squares"][name] > 0.0


def learned(value: float, moments: int) -> Learned:
    weights = np.zeros((2, 4))
    weights[0], weights[1, 0] = value, -value
    return Learned(FEATURES, weights, np.array([moments * value, moments, 0.0, moments]), moments)


def test_the_mean_of_logs_counts_each_of_them_the_same() -> None:
    found = mean([learned(0.5, 100), learned(0.25, 9_000)], NAMES)
    assert found == {
        "moments": WORTH,
        "contexts": ["always", "sometimes"],
        "weights": {"knn.log_rank": [0.375, -0.375], "knn.listed": [0.375, 0.0]},
        "squares": {"knn.log_rank": 0.375 * WORTH, "knn.listed": WORTH},
    }


def test_what_is_shipped_follows_the_sources_that_lead_somewhere() -> None:
    """More of a rank, of what others did next, or of the user's own doings is better, as in each log that the weights are of."""
    always = {name: row[0] for name, row in _shipped()["weights"].items()}
    for name in ("knn.log_rank", "far.log_rank", "mf.log_rank", "transition", "match", "log_far_cosine"):
        assert always[name] > 0.0, name


@pytest.mark.parametrize(
    ("contexts", "said"),
    [
        ((*NAMES, "never"), "3 contexts, at place 2 'never', got those of 2, there none"),
        (NAMES[:1], "1 contexts, at place 1 none, got those of 2, there 'sometimes'"),
        (("always", "often"), "2 contexts, at place 1 'often', got those of 2, there 'sometimes'"),
        (NAMES[::-1], "2 contexts, at place 0 'sometimes', got those of 2, there 'always'"),
    ],
    ids=["one more", "one less", "another name", "another order"],
)
def test_weights_of_other_contexts_are_refused(contexts: tuple[str, ...], said: str) -> None:
    """Each would get the weights of the one that had its place."""
    with pytest.raises(ArtefactError, match=f"expected starting weights of {said}; make them anew"):
        shipped(FEATURES, contexts, mean([learned(0.5, 100)], NAMES))


def test_a_context_that_was_renamed_does_not_get_what_is_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.models.CONTEXT_NAMES", (*CONTEXT_NAMES[:-1], "bought"))
    with pytest.raises(ArtefactError, match="at place 36 'bought', got those of 37, there 'converted'"):
        Pipeline()
    Pipeline(PipelineConfig(blend=BlendConfig(start="plain")))


def test_a_snapshot_that_began_with_other_weights_is_of_other_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed, before = PipelineConfig(blend=BlendConfig(start="plain")), [Pipeline(), Pipeline()]
    assert before[0].knowledge.fingerprint == before[1].knowledge.fingerprint
    plainly = Pipeline(fixed).knowledge.fingerprint
    monkeypatch.setattr("streams.knowledge.digest", lambda: "of another file")
    assert Pipeline().knowledge.fingerprint != before[0].knowledge.fingerprint
    assert Pipeline(fixed).knowledge.fingerprint == plainly


def test_features_are_taken_by_name_and_those_unknown_start_plainly() -> None:
    found = mean([learned(0.5, 100)], NAMES)
    start = shipped(("count", "mf.log_rank", "knn.log_rank"), NAMES, found)
    assert start.weights.tolist() == [[0.0, 0.25, 0.5], [0.0, 0.0, -0.5]]
    assert start.squares.tolist() == [0.0, 0.0, 0.5 * WORTH]


def test_plain_weights_trust_ranks_and_nothing_else() -> None:
    start = plain(FEATURES, NAMES)
    assert start.weights.tolist() == [[0.5, 0.0, 0.0, 0.0], [0.0] * 4]
    assert not start.squares.any()
    assert prior(("entry-2000.log_rank", "deep.log_rank", "deep.ratio")).tolist() == pytest.approx([0.1, 0.4, 0.0])


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    found = mean([learned(1 / 3, 100)], NAMES)
    write(tmp_path / "w.json", found)
    assert json.loads((tmp_path / "w.json").read_text()) == found
    assert found["weights"]["knn.log_rank"][0] == round(1 / 3, DIGITS)


def test_a_blend_remembers_where_it_started_and_moves_away_more_slowly_the_more_that_is_worth() -> None:
    x, far = np.eye(3, 4, dtype=np.float32), []
    for squares in (0.0, 9.0):
        start = Start(np.array([[0.1, 0.2, 0.3, 0.4], [1.0, 0.0, 0.0, 0.0]]), np.full(4, squares))
        blend = Blend(2, 4, start=start)
        assert blend.collapse(BOTH) == pytest.approx([1.1, 0.2, 0.3, 0.4], abs=1e-6)
        blend.apply(blend.propose(x, 3, 2, ALWAYS))
        assert blend.start(BOTH) == pytest.approx([1.1, 0.2, 0.3, 0.4], abs=1e-6)
        assert blend.start(ALWAYS, wide=False) == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=1e-6)
        far.append(np.abs(blend.weights - start.weights).max())
    assert far[0] > 3 * far[1] > 0.0


def test_weights_and_sums_start_on_the_grid_that_steps_are_on() -> None:
    """Else their sums would depend on the order in which they meet."""
    blend = Blend(1, 1, start=Start(np.array([[1 / 3]]), np.array([1 / 7])))
    assert (blend.weights / W_UNIT).tolist() == [[round(1 / 3 / W_UNIT)]]
    assert (blend.squares / G_UNIT**2).tolist() == [round(1 / 7 / G_UNIT**2)]


@pytest.mark.parametrize("start", ["shipped", "plain"])
def test_the_setting_says_which(start: str) -> None:
    k = Pipeline(PipelineConfig(blend=BlendConfig(start=start))).knowledge  # type: ignore[arg-type]
    wanted = {"shipped": shipped, "plain": plain}[start](k.features, CONTEXT_NAMES)
    np.testing.assert_allclose(k.blend.weights, wanted.weights, atol=W_UNIT)
    np.testing.assert_allclose(k.blend.squares, wanted.squares, atol=G_UNIT**2)
