"""Effects are unbiased, their errors are true, a covariate narrows them, and where there is no result none is given."""

from __future__ import annotations

import numpy as np
import pytest

from online_models.errors import InputError
from online_models.experiments.effects import Effect, Kind, Metric, NoResult, Reason, compare
from online_models.experiments.intervals import gavi
from online_models.experiments.sums import Sums
from online_models.experiments.weighted import Weighted

MEAN, PROPORTION, RATIO = (Metric(kind) for kind in Kind)


def effect(*args: object, **kwargs: object) -> Effect:
    found = compare(*args, **kwargs)  # type: ignore[arg-type]
    assert isinstance(found, Effect), found
    return found


def ratio_units(rng: np.random.Generator, n: int, lift: float) -> np.ndarray:
    """(n, 4) Clicks and impressions, now and before; who clicks often sees more, and does so always."""
    taste, visits = rng.beta(2.0, 8.0, n), rng.gamma(2.0, 4.0, n)
    columns = []
    for rate in (taste * (1.0 + lift), taste):
        shown = 1 + rng.poisson(visits * (1.0 + 5.0 * taste))
        columns += [rng.binomial(shown, np.minimum(rate, 1.0)), shown]
    return np.stack(columns, axis=1).astype(float)


@pytest.mark.parametrize("adjust", [False, True], ids=["plain", "adjusted"])
@pytest.mark.parametrize("relative", [False, True], ids=["absolute", "relative"])
@pytest.mark.parametrize("kind", [Kind.MEAN, Kind.RATIO])
def test_the_error_is_the_spread_of_estimates(kind: Kind, relative: bool, adjust: bool) -> None:
    """300 experiments: the spread of their estimates is the error that each of them gives, and their mean is the truth."""
    rng, found = np.random.default_rng(11), []
    metric = Metric(kind, covariate=True)
    for _ in range(300):
        variants = [ratio_units(rng, 400, lift) for lift in (0.0, 0.1)]
        if kind is Kind.MEAN:
            variants = [values[:, [0, 2]] for values in variants]
        control, treated = (Sums.of_units(values.tolist(), metric.columns) for values in variants)
        found.append(effect(control, treated, metric, relative=relative, adjust=adjust))
    estimates, errors = np.array([(each.estimate, each.error) for each in found]).T
    base = np.mean([each.control for each in found])
    truth = 0.1 if relative else 0.1 * base
    assert abs(estimates.mean() - truth) < 4.0 * estimates.std() / np.sqrt(300)
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(estimates.std(), rel=0.15)


def test_an_impression_is_no_unit() -> None:
    """Counting impressions as if each were a user makes the error of a click rate too small."""
    values = ratio_units(np.random.default_rng(2), 2_000, 0.0)[:, :2]
    sums = Sums.of_units(values.tolist(), 2)
    clicks, shown = values.sum(axis=0)
    found = effect(sums, sums, RATIO, relative=False)
    assert found.control == pytest.approx(clicks / shown, rel=1e-12)
    naive = 2.0 * found.control * (1.0 - found.control) / shown
    assert found.variance > 1.3 * naive


@pytest.mark.parametrize("kind", [Kind.MEAN, Kind.RATIO])
def test_a_covariate_narrows_and_does_not_shift(kind: Kind) -> None:
    rng = np.random.default_rng(3)
    metric = Metric(kind, covariate=True)
    variants = []
    for _ in range(2):
        values = ratio_units(rng, 3_000, 0.0)
        values = values[:, [0, 2]] if kind is Kind.MEAN else values
        variants.append(Sums.of_units(values.tolist(), metric.columns))
    plain, adjusted = (effect(*variants, metric, adjust=adjust) for adjust in (False, True))
    assert adjusted.error < 0.9 * plain.error
    assert plain.theta == 0.0 < adjusted.theta
    assert (adjusted.control, adjusted.treated) == (plain.control, plain.treated)
    assert abs(adjusted.estimate - plain.estimate) < 4.0 * plain.error


@pytest.mark.parametrize("metric", [Metric(Kind.MEAN, True), Metric(Kind.RATIO, True)])
def test_a_covariate_that_says_nothing_leaves_the_effect_as_it_is(metric: Metric) -> None:
    values = np.random.default_rng(4).gamma(2.0, 1.0, (2, 300, metric.width))
    bare = [Sums.of_units(each.tolist(), metric.width) for each in values]
    silent = [
        Sums.of_units(np.concatenate([each, np.zeros_like(each)], axis=1).tolist(), metric.columns) for each in values
    ]
    assert effect(*silent, metric) == effect(*bare, Metric(metric.kind))


def test_a_proportion_is_a_mean_of_zeros_and_ones() -> None:
    a, b = ([[float(i % 10 < k)] for i in range(1_000)] for k in (3, 4))
    control, treated = Sums.of_units(a, 1), Sums.of_units(b, 1)
    proportion, mean = (effect(control, treated, metric, relative=False) for metric in (PROPORTION, MEAN))
    assert proportion.estimate == mean.estimate == pytest.approx(0.1)
    assert proportion.variance == pytest.approx((0.3 * 0.7 + 0.4 * 0.6) / 1_000)
    assert mean.variance == pytest.approx(proportion.variance * 1_000 / 999)


def varied(n: int, shift: float = 0.0) -> Sums:
    return Sums.of_units(([i % 7 + shift] for i in range(n)), 1)


def ratios(n: int, shown: float) -> Sums:
    return Sums.of_units(([i % 7, shown * (i % 3)] for i in range(n)), 2)


@pytest.mark.parametrize(
    ("control", "treated", "metric", "reason"),
    [
        (varied(99), varied(500), MEAN, Reason.TOO_FEW_UNITS),
        (varied(500), varied(99), MEAN, Reason.TOO_FEW_UNITS),
        (Sums.empty(1), Sums.empty(1), MEAN, Reason.TOO_FEW_UNITS),
        (Sums.of_units([[1.0]] * 500, 1), varied(500), MEAN, Reason.ZERO_VARIANCE),
        (varied(500), Sums.of_units([[1.0]] * 500, 1), PROPORTION, Reason.ZERO_VARIANCE),
        (varied(500, -3.0), varied(500), MEAN, Reason.ZERO_BASELINE),
        (varied(500, -30.0), varied(500), MEAN, Reason.ZERO_BASELINE),
        (ratios(500, 0.0), ratios(500, 1.0), RATIO, Reason.ZERO_DENOMINATOR),
        (ratios(500, 1.0), ratios(500, 0.0), RATIO, Reason.ZERO_DENOMINATOR),
    ],
)
def test_there_is_no_result_where_none_can_be(control: Sums, treated: Sums, metric: Metric, reason: Reason) -> None:
    found = compare(control, treated, metric)
    assert isinstance(found, NoResult)
    assert found.reason is reason
    assert found.message


def test_a_control_that_is_not_clear_of_zero_says_where_it_is_and_what_it_takes() -> None:
    few = Sums.of_units([[float(n % 20 == 0)] for n in range(500)], 1)
    found = compare(few, few, PROPORTION)
    assert isinstance(found, NoResult)
    assert found.message == (
        "the control's 0.05 (0.0309 to 0.0691, 95%) is not clearly above zero: 5.1 standard errors, 7 are needed, which takes about 931 "
        "units of it instead of 500"
    )
    enough = Sums.of_units([[float(n % 20 == 0)] for n in range(940)], 1)
    assert not isinstance(compare(enough, enough, PROPORTION), NoResult)
    below = compare(varied(500, -30.0), varied(500), MEAN)
    assert isinstance(below, NoResult)
    assert "takes" not in below.message


@pytest.mark.parametrize(("metric", "columns"), [(PROPORTION, 1), (MEAN, 1), (RATIO, 2)])
def test_a_variant_in_which_nothing_happens_any_more_is_harm(metric: Metric, columns: int) -> None:
    """Its units do not vary; that is no reason to say nothing."""
    control = Sums.of_units(([float(i % 10 == 0), 1.0 + i % 3][:columns] for i in range(1_000)), columns)
    none = Sums.of_units(([0.0, 1.0 + i % 3][:columns] for i in range(1_000)), columns)
    found = effect(control, none, metric)
    assert found.estimate == -1.0
    assert gavi(found).high < -0.5
    assert found.variance == pytest.approx(
        effect(control, control, metric, relative=False).variance / 2 / found.control**2
    )


def test_an_absolute_effect_needs_no_baseline_and_units_may_be_fewer() -> None:
    assert effect(varied(500, -3.0), varied(500), MEAN, relative=False).estimate == pytest.approx(3.0)
    assert effect(varied(30), varied(30), MEAN, min_units=30).n == 60
    one = compare(varied(1), varied(1), MEAN, min_units=0)
    assert isinstance(one, NoResult)


def test_a_control_in_which_nothing_has_happened_yet_is_no_result() -> None:
    """Though some of its units had bought before, so that there is something to adjust by."""
    control = Sums.of_units(([0.0, float(n < 3)] for n in range(150)), 2)
    treated = Sums.of_units(([float(n == 0), float(n < 3)] for n in range(150)), 2)
    for metric in (Metric(Kind.PROPORTION, True), Metric(Kind.MEAN, True)):
        for relative in (True, False):
            found = compare(control, treated, metric, relative=relative)
            assert isinstance(found, NoResult)
            assert (found.reason, found.message) == (Reason.ZERO_VARIANCE, "all units of the control are alike")


def clicks(n: int, known: int = 0) -> Sums:
    """Of ``n`` units, of which the first ``known`` had lists before."""
    return Sums.of_units(([k % 3, 3.0, k % 3 // 2, 2.0] if k < known else [k % 3, 3.0, 0.0, 0.0] for k in range(n)), 4)


def test_where_one_side_alone_has_a_past_nothing_is_adjusted() -> None:
    """In whichever variant, and no other comparison is the worse for it."""
    metric = Metric(Kind.RATIO, covariate=True)
    bare = Sums.of_units(([k % 3, 3.0] for k in range(150)), 2)
    for known in ((0, 2), (2, 0), (0, 150)):
        assert effect(*(clicks(150, k) for k in known), metric) == effect(bare, bare, RATIO)
        weighted = [Weighted.of(1.0, clicks(150, k)) for k in known]
        assert effect(*weighted, metric).theta == 0.0
    assert effect(clicks(150, 150), clicks(150, 90), metric).theta > 0.0


@pytest.mark.parametrize(("of", "per"), [(1, 1), (1, 3), (1, 7), (2, 5), (3, 1)])
def test_units_that_are_alike_but_for_rounding_are_alike(of: int, per: int) -> None:
    """Whose ratio is the same, whatever their number of lists: their variance is some 1e-17, above zero or below."""
    metric, rng = Metric(Kind.RATIO, covariate=True), np.random.default_rng(6)
    for _ in range(40):
        alike, now, before = rng.integers(1, 9, 120), rng.integers(0, 3, (2, 120)), rng.integers(0, 3, (2, 120))
        same = Sums.of_units(([of * k, per * k, b, 3] for k, b in zip(alike.tolist(), before[0], strict=True)), 4)
        varied = Sums.of_units(([n, 3, b, 3] for n, b in zip(now[1].tolist(), before[1], strict=True)), 4)
        for adjust in (False, True):
            for relative in (False, True):
                found = compare(same, varied, metric, adjust=adjust, relative=relative)
                assert isinstance(found, NoResult)
                assert found.message == "all units of the control are alike"
            down = effect(varied, same, metric, adjust=adjust)
            assert down.variance > 0.3 * effect(varied, varied, metric, adjust=adjust).variance
        # Nor is anything taken off for a past that is the same for all.
        swapped = [
            Sums.of_units(([n, 3, of * k, per * k] for n, k in zip(now[i].tolist(), alike.tolist(), strict=True)), 4)
            for i in (0, 1)
        ]
        assert effect(*swapped, metric).theta == 0.0


def test_sums_of_another_metric_are_refused() -> None:
    with pytest.raises(InputError, match="2 columns"):
        compare(varied(500), varied(500), RATIO)


def test_a_covariate_that_says_all_leaves_the_plain_effect() -> None:
    """Adjusted by it nothing varies, and there would be no error to go by."""
    metric, before = Metric(covariate=True), np.random.default_rng(8).normal(20.0, 5.0, 400)
    control = Sums.of_units(np.column_stack([before, before]), 2)
    treated = Sums.of_units(np.column_stack([before + 2.0, before]), 2)
    found = compare(control, treated, metric)
    assert found == compare(control, treated, metric, adjust=False)
    assert isinstance(found, Effect)
