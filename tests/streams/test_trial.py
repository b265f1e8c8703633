"""A version on trial: the good one gets everybody, the bad one nobody, and who sees it stays the same."""

from __future__ import annotations

import numpy as np
import pytest

from online_models.confidence_sequence import ConfidenceSequence
from online_models.experiments.split import Split, allocate, counts
from streams.trial import Phase, Trial, TrialConfig, salt_of

CONFIG = TrialConfig(shadow=100, most=4_000, watch=6_000)


def phases(differences: np.ndarray, config: TrialConfig = CONFIG) -> tuple[list[Phase], Trial]:
    trial = Trial("v2", config)
    seen = [trial.phase]
    for difference in np.clip(differences, -1.0, 1.0).tolist():
        if trial.over:
            break
        if trial.note(difference, 0.0):
            seen.append(trial.phase)
    return seen, trial


def test_a_better_version_gets_everybody_before_the_most() -> None:
    seen, trial = phases(np.random.default_rng(1).normal(0.03, 0.1, 10_000))
    assert seen == [Phase.SHADOW, Phase.CANARY, Phase.PROMOTED, Phase.KEPT]
    assert trial.difference.n == CONFIG.watch
    early, trial = phases(np.random.default_rng(1).normal(0.03, 0.1, 2_000))
    assert early[-1] is Phase.PROMOTED


def test_one_that_makes_no_difference_gets_everybody_at_the_most() -> None:
    trial = Trial("v2", CONFIG)
    rng = np.random.default_rng(2)
    for n in range(CONFIG.most):
        assert trial.phase in ((Phase.SHADOW,) if n < 100 else (Phase.CANARY,)), n
        trial.note(float(rng.choice([-0.3, 0.0, 0.3])), float(rng.choice([-0.3, 0.3])))
    assert trial.phase is Phase.PROMOTED


@pytest.mark.parametrize("harm", [-0.03, -0.2])
def test_a_harmful_one_gets_nobody(harm: float) -> None:
    seen, trial = phases(np.random.default_rng(3).normal(harm, 0.15, 10_000))
    assert seen[-1] is Phase.ROLLED_BACK
    assert Phase.PROMOTED not in seen
    assert trial.difference.n < 2_000
    assert not trial.serves("u5")
    assert not trial.compares("e5")


def test_one_whose_own_list_is_worse_gets_nobody_though_the_blend_makes_up_for_it() -> None:
    rng = np.random.default_rng(6)
    trial = Trial("v2", CONFIG)
    while not trial.over and trial.difference.n < CONFIG.most:
        trial.note(float(rng.choice([-0.1, 0.1])), float(np.clip(rng.normal(-0.1, 0.3), -1, 1)))
    assert trial.phase is Phase.ROLLED_BACK
    assert trial.difference.n < 1_500


def test_one_that_turns_out_harmful_later_is_sent_back() -> None:
    rng = np.random.default_rng(4)
    config = TrialConfig(shadow=50, most=100, watch=100_000)
    seen, _ = phases(np.concatenate([rng.normal(0.0, 0.05, 150), rng.normal(-0.1, 0.1, 3_000)]), config)
    assert seen == [Phase.SHADOW, Phase.CANARY, Phase.PROMOTED, Phase.ROLLED_BACK]


def test_both_differences_together_are_wrong_with_probability_alpha() -> None:
    """Either may send a version back."""
    trial, half = Trial("v2", CONFIG), ConfidenceSequence(-1.0, 1.0, CONFIG.alpha / 2.0)
    for difference in np.random.default_rng(7).normal(0.0, 0.2, 200).clip(-1, 1).tolist():
        trial.note(difference, difference)
        half.update(difference)
    assert trial.difference.interval == trial.own.interval == half.interval


def test_nobody_sees_a_shadow_some_see_a_canary_all_see_what_is_promoted() -> None:
    users = [f"u{n}" for n in range(20_000)]
    trial = Trial("v2", CONFIG)
    shares = {}
    for phase in Phase:
        trial.phase = phase
        shares[phase] = sum(map(trial.serves, users)) / len(users)
    assert shares == {
        Phase.SHADOW: 0.0, Phase.CANARY: pytest.approx(0.1, abs=0.01), Phase.PROMOTED: 1.0, Phase.KEPT: 1.0, Phase.ROLLED_BACK: 0.0,
    }  # fmt: skip


def test_who_sees_it_and_what_is_compared_depends_on_ids_alone_and_not_on_each_other() -> None:
    one, two, other = (
        Trial("v2", CONFIG, Phase.CANARY),
        Trial("v2", CONFIG, Phase.CANARY),
        Trial("v3", CONFIG, Phase.CANARY),
    )
    keys = [f"k{n}" for n in range(20_000)]
    assert [one.serves(k) for k in keys] == [two.serves(k) for k in keys]
    both = sum(one.serves(k) and other.serves(k) for k in keys) / len(keys)
    assert both == pytest.approx(0.01, abs=0.004), "the same users would try every version"
    compared = [one.compares(k) for k in keys]
    assert sum(compared) / len(keys) == pytest.approx(0.25, abs=0.02)
    among = [one.compares(k) for k in keys if one.serves(k)]
    assert sum(among) / len(among) == pytest.approx(0.25, abs=0.04)


def test_the_canary_is_a_split_like_any_and_grows_as_one() -> None:
    """What `headrace experiment assign --salt model/v2 --weights v2=10,others=90` prints; who is in stays when more come in."""
    users = [f"user-{n}" for n in range(5_000)]
    split = Split("model/v2", allocate(counts({"v2": 10, "others": 90})))
    assert salt_of("v2") == "model/v2"
    few = {u for u in users if Trial("v2", CONFIG, Phase.CANARY).serves(u)}
    assert few == {u for u, variant in zip(users, split.variants(users), strict=True) if variant == "v2"}
    more = Trial("v2", TrialConfig(users=0.3), Phase.CANARY)
    assert few < {u for u in users if more.serves(u)}
