"""Adjusted p-values decide as the procedures do, step by step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from online_models.errors import InputError
from online_models.experiments.multiple import benjamini_hochberg, holm

P = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12)


@given(P, st.sampled_from([0.01, 0.05, 0.3]))
def test_holm_rejects_from_the_smallest_until_one_is_too_large(p: list[float], alpha: float) -> None:
    rejected = set()
    for step, at in enumerate(sorted(range(len(p)), key=lambda i: (p[i], i))):
        if p[at] * (len(p) - step) > alpha:
            break
        rejected.add(at)
    assert {at for at, adjusted in enumerate(holm(p)) if adjusted <= alpha} == rejected


def test_what_comes_after_a_question_that_failed_fails_too() -> None:
    assert holm([0.03, 0.03, 0.9]) == pytest.approx([0.09, 0.09, 0.9])
    assert holm([0.01, 0.04, 0.045]) == pytest.approx([0.03, 0.08, 0.08])


@given(P)
def test_benjamini_hochberg_is_that_of_scipy(p: list[float]) -> None:
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p).tolist())


@given(P)
def test_more_questions_never_make_a_p_value_smaller(p: list[float]) -> None:
    for adjust in (holm, benjamini_hochberg):
        adjusted = adjust(p)
        assert all(before <= after + 1e-15 and after <= 1.0 for before, after in zip(p, adjusted, strict=True))
    assert all(a <= b + 1e-15 for a, b in zip(benjamini_hochberg(p), holm(p), strict=True))


def test_nothing_asked_nothing_answered() -> None:
    assert holm([]) == benjamini_hochberg([]) == []


@pytest.mark.parametrize("p", [[0.1, -0.1], [1.1], [float("nan")]])
def test_what_are_no_p_values_are_refused(p: list[float]) -> None:
    for adjust in (holm, benjamini_hochberg):
        with pytest.raises(InputError, match="from 0 to 1"):
            adjust(p)


def test_holm_keeps_the_family_wise_level() -> None:
    rng = np.random.default_rng(1)
    alone = rng.random((2_000, 5))
    false = np.mean([min(holm(row)) <= 0.05 for row in alone.tolist()])
    assert false < 0.065
    assert np.mean(alone.min(axis=1) <= 0.05) > 0.2
