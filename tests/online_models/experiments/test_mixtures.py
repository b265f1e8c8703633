"""One-sided bounds solve their equation wherever they are asked, and arrays are numbers side by side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from online_models.experiments.mixtures import one_sided, two_sided, two_sided_p

R = st.floats(-8.0, 15.0).map(lambda power: 10.0**power)


@given(R, st.sampled_from([1e-9, 1e-3, 0.05, 0.25, 0.49]))
def test_a_one_sided_bound_solves_its_equation(r: float, alpha: float) -> None:
    x = float(one_sided(r, alpha)) * np.sqrt(r / (1.0 + r))
    assert x > 0.0
    log_mixture = np.log(2.0) - 0.5 * np.log1p(r) + 0.5 * x * x + special.log_ndtr(x)
    assert log_mixture == pytest.approx(-np.log(alpha), abs=1e-9)


@given(R, st.sampled_from([1e-9, 0.05, 0.4]))
def test_a_p_value_at_the_bound_is_alpha(r: float, alpha: float) -> None:
    assert float(two_sided_p(two_sided(r, alpha), r)) == pytest.approx(alpha, rel=1e-6)


def test_the_mixture_is_the_mean_of_likelihood_ratios() -> None:
    """Numerically: the likelihood of z under effects from N(0, r), in standard errors, over that under none."""
    z, r = 2.5, 3.0
    effects = np.linspace(-40.0, 40.0, 400_001)
    weights = np.exp(-0.5 * effects**2 / r) / np.sqrt(2.0 * np.pi * r)
    ratio = np.exp(effects * z - 0.5 * effects**2)
    assert float(two_sided_p(z, r)) == pytest.approx(1.0 / (np.sum(weights * ratio) * 80.0 / 400_000), rel=1e-4)


def test_arrays_are_numbers_side_by_side() -> None:
    r = np.array([[0.1, 1.0], [10.0, 1e6]])
    for bound in (one_sided, two_sided):
        assert bound(r, 0.05).tolist() == [[float(bound(each, 0.05)) for each in row] for row in r.tolist()]
