"""The estimators say what Open Bandit Pipeline says, on Open Bandit data and on made-up logs, to 1e-6 of the value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from online_models.experiments import off_policy
from online_models.experiments.off_policy import Estimate, Inference, Logged, Result, SlateLog

DATA = Path(__file__).parent / "data"
OBP: dict[str, Any] = json.loads((DATA / "obp.json").read_text("utf-8"))
TAUS, LAMBDAS, CLIP = [0.5, 1.0, 2.0, 5.0], [0.0, 0.1, 1.0, 10.0, 100.0], 2.0
ANY_ESS = Inference(resamples=100, min_ess=1.0)


def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(DATA / f"{name}.npz", allow_pickle=False) as found:
        return dict(found)


def value(result: Result) -> float:
    assert isinstance(result, Estimate), result
    return result.value


def ours(log: Logged) -> dict[str, float]:
    """The same table as the generator's."""
    out = {
        "ipw": off_policy.ipw(log, inference=ANY_ESS),
        "ipw clipped": off_policy.ipw(log, CLIP, ANY_ESS),
        "snipw": off_policy.snipw(log, inference=ANY_ESS),
        "dm": off_policy.dm(log, ANY_ESS),
        "dr": off_policy.dr(log, inference=ANY_ESS),
        "dr clipped": off_policy.dr(log, CLIP, ANY_ESS),
        "sndr": off_policy.sndr(log, inference=ANY_ESS),
        "switch_dr direct": off_policy.switch_dr(log, TAUS, ANY_ESS),
        "switch_dr upper": off_policy.switch_dr(log, TAUS, ANY_ESS, "upper"),
        "dros direct": off_policy.dros(log, LAMBDAS[1:], ANY_ESS),
        "dros upper": off_policy.dros(log, LAMBDAS[1:], ANY_ESS, "upper"),
    }
    out |= {f"switch_dr {tau}": off_policy.switch_dr(log, tau, ANY_ESS) for tau in TAUS}
    # λ = 0 has no weights left: an answer of the direct method's, which is not given under this name
    out |= {f"dros {each}": off_policy.dros(log, each, ANY_ESS) for each in LAMBDAS if each}
    values = {name: value(result) for name, result in out.items()}
    for name, setting in (("switch_dr", "tau"), ("dros", "shrinkage")):
        for bound in ("direct", "upper"):
            tuned = out[f"{name} {bound}"]
            assert isinstance(tuned, Estimate)
            values[f"{name} {bound} chosen"] = tuned.settings[setting]
    return values


def agrees(found: dict[str, float], expected: dict[str, float]) -> None:
    assert found == pytest.approx({name: expected[name] for name in found}, rel=1e-6, abs=1e-12)
    assert set(expected) - set(found) <= {"dros 0.0", "replay"}


def test_a_made_up_contextual_log() -> None:
    a = arrays("made_up")
    log = Logged.of(
        action=a["action"], reward=a["reward"], propensity=a["pscore"], target=a["target"], predictions=a["q"]
    )
    agrees(ours(log), OBP["made_up"])


def test_replay_of_a_deterministic_policy_on_a_uniform_log() -> None:
    a = arrays("made_up")
    target = np.eye(6)[a["best"]]
    log = Logged.of(
        action=a["uniform_action"], reward=a["uniform_reward"], propensity=np.full(500, 1 / 6), target=target
    )
    assert value(off_policy.replay(log, ANY_ESS)) == pytest.approx(OBP["made_up"]["replay"], rel=1e-12)


def open_bandit(campaign: str, policy: str) -> Logged:
    """The log of one policy, evaluated for the other; predictions as in the generator."""
    a = arrays("open_bandit")
    action, position, reward = (a[f"{campaign}_{policy}_{c}"].astype(int) for c in ("action", "position", "reward"))
    bts = a[f"{campaign}_bts_policy"] / 100_000
    items = bts.shape[1]
    target = bts if policy == "random" else np.full_like(bts, 1 / items)
    propensity = np.full(len(action), 1 / items) if policy == "random" else a[f"{campaign}_bts_pscore"]
    clicks, shown = np.zeros_like(bts), np.zeros_like(bts)
    np.add.at(clicks, (position, action), reward)
    np.add.at(shown, (position, action), 1)
    q = (clicks + 0.4) / (shown + 100)
    return Logged.of(
        action=action, reward=reward, propensity=propensity, target=target[position], predictions=q[position]
    )


@pytest.mark.parametrize("campaign", ["all", "men", "women"])
@pytest.mark.parametrize("policy", ["random", "bts"])
def test_open_bandit_data(campaign: str, policy: str) -> None:
    agrees(ours(open_bandit(campaign, policy)), OBP["open_bandit"][f"{campaign} {policy}"])


def test_the_value_that_is_published_of_thompson_sampling_on_the_uniform_log() -> None:
    """0.004553 in obp's README."""
    assert value(off_policy.ipw(open_bandit("all", "random"))) == pytest.approx(0.004553, abs=5e-7)


def test_lists() -> None:
    a = arrays("slates")
    common = {"slate": a["slate"], "position": a["position"], "reward": a["reward"]}
    modelled = {"predicted": a["predicted"], "expected": a["expected"]}
    cascade = SlateLog(**common, **modelled, propensity=a["cascade"], target=a["target_cascade"])
    found = {
        "standard_ips": off_policy.standard_ips(
            SlateLog(**common, propensity=a["joint"], target=a["target_joint"]), ANY_ESS
        ),
        "independent_ips": off_policy.independent_ips(
            SlateLog(**common, propensity=a["marginal"], target=a["target_marginal"]), ANY_ESS
        ),
        "reward_interaction_ips": off_policy.reward_interaction_ips(cascade, ANY_ESS),
        "cascade_dr": off_policy.cascade_dr(cascade, ANY_ESS),
    }
    assert {name: value(result) for name, result in found.items()} == pytest.approx(OBP["slates"], rel=1e-6)
