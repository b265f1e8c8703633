"""Makes the files of `data/`: what Open Bandit Pipeline (obp) says of Open Bandit data and of made-up logs.

Not run by the tests. In an environment of its own (obp wants Python 3.8 to 3.10):

    pip install obp==0.5.7 && python make_off_policy_reference.py data

Open Bandit Dataset: Saito, Aihara, Matsutani and Narita, "Open Bandit Dataset and Pipeline", NeurIPS 2021 Datasets and
Benchmarks; the sample of 10,000 rows a policy and campaign that obp carries.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np

TAUS = [0.5, 1.0, 2.0, 5.0]
LAMBDAS = [0.0, 0.1, 1.0, 10.0, 100.0]
CLIP = 2.0


def obp(part: str) -> Any:
    """A module of obp, when it is needed: the environment of the tests does not have it."""
    return importlib.import_module(f"obp.{part}")


def single(log: dict, target: np.ndarray, q: np.ndarray) -> dict[str, float]:
    """All estimators of single actions; ``target`` and ``q`` are [n, actions, positions]."""
    ope = obp("ope")
    given = {"reward": log["reward"], "action": log["action"], "pscore": log["pscore"], "position": log["position"]}
    given["action_dist"] = target
    modelled = {**given, "estimated_rewards_by_reg_model": q}
    out = {
        "ipw": ope.InverseProbabilityWeighting().estimate_policy_value(**given),
        "ipw clipped": ope.InverseProbabilityWeighting(lambda_=CLIP).estimate_policy_value(**given),
        "snipw": ope.SelfNormalizedInverseProbabilityWeighting().estimate_policy_value(**given),
        "dm": ope.DirectMethod().estimate_policy_value(**modelled),
        "dr": ope.DoublyRobust().estimate_policy_value(**modelled),
        "dr clipped": ope.DoublyRobust(lambda_=CLIP).estimate_policy_value(**modelled),
        "sndr": ope.SelfNormalizedDoublyRobust().estimate_policy_value(**modelled),
    }
    for tau in TAUS:
        out[f"switch_dr {tau}"] = ope.SwitchDoublyRobust(lambda_=tau).estimate_policy_value(**modelled)
    for shrinkage in LAMBDAS:
        out[f"dros {shrinkage}"] = ope.DoublyRobustWithShrinkage(lambda_=shrinkage).estimate_policy_value(**modelled)
    for bound in ("direct", "upper"):
        how = {"tuning_method": "mse", "delta": 0.05, "use_bias_upper_bound": bound == "upper"}
        tuned = {
            "switch_dr": ope.SwitchDoublyRobustTuning(lambdas=TAUS, **how),
            "dros": ope.DoublyRobustWithShrinkageTuning(lambdas=LAMBDAS[1:], **how),
        }
        for name, estimator in tuned.items():
            out[f"{name} {bound}"] = estimator.estimate_policy_value_with_tuning(**modelled)
            out[f"{name} {bound} chosen"] = estimator.best_hyperparam
    return {name: float(value) for name, value in out.items()}


def made_up() -> tuple[dict[str, np.ndarray], dict]:
    """A contextual log, a stochastic and a deterministic policy, and a reward model that is somewhat wrong."""
    ope, datasets = obp("ope"), obp("dataset")
    rng = np.random.default_rng(3)
    dataset = datasets.SyntheticBanditDataset(
        n_actions=6, dim_context=3, reward_function=datasets.logistic_reward_function, beta=1.0, random_state=1
    )
    log = dataset.obtain_batch_bandit_feedback(n_rounds=500)
    n = log["n_rounds"]
    log["position"] = np.zeros(n, int)
    scores = 2.0 * log["expected_reward"] + rng.normal(0, 0.5, (n, 6))
    target = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    q = np.clip(log["expected_reward"] + rng.normal(0.05, 0.2, (n, 6)), 0, 1).astype(np.float32)
    values = single(log, target[:, :, None], q.astype(float)[:, :, None])

    uniform = rng.integers(0, 6, n)
    reward = (rng.random(n) < log["expected_reward"][np.arange(n), uniform]).astype(int)
    best = np.zeros((n, 6, 1))
    best[np.arange(n), scores.argmax(axis=1), 0] = 1.0
    values["replay"] = float(
        ope.ReplayMethod().estimate_policy_value(
            reward=reward, action=uniform, action_dist=best, position=log["position"]
        )
    )
    arrays = {
        "action": log["action"].astype(np.int8), "reward": log["reward"].astype(np.int8), "pscore": log["pscore"],
        "target": target, "q": q, "uniform_action": uniform.astype(np.int8), "uniform_reward": reward.astype(np.int8),
        "best": scores.argmax(axis=1).astype(np.int8),
    }  # fmt: skip
    return arrays, values


def slates() -> tuple[dict[str, np.ndarray], dict]:
    """Lists of 3 of 5 items with clicks that depend on what stands above."""
    ope, datasets = obp("ope"), obp("dataset")
    dataset = datasets.SyntheticSlateBanditDataset(
        n_unique_action=5, len_list=3, dim_context=2, reward_type="binary", reward_structure="cascade_additive",
        click_model=None, random_state=2,
    )  # fmt: skip
    n = 200
    log = dataset.obtain_batch_bandit_feedback(n_rounds=n, return_pscore_item_position=True)
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 1, (n, 5)).round(3)
    joint, marginal, cascade = dataset.obtain_pscore_given_evaluation_policy_logit(
        action=log["action"], evaluation_policy_logit_=logits
    )
    dist = dataset.calc_evaluation_policy_action_dist(action=log["action"], evaluation_policy_logit_=logits)
    q = rng.random(n * 3 * 5).astype(np.float32).astype(float)
    common = {"slate_id": log["slate_id"], "reward": log["reward"], "position": log["position"]}
    under = {"pscore_cascade": log["pscore_cascade"], "evaluation_policy_pscore_cascade": cascade}
    values = {
        "standard_ips": ope.SlateStandardIPS(len_list=3).estimate_policy_value(
            **common, pscore=log["pscore"], evaluation_policy_pscore=joint
        ),
        "independent_ips": ope.SlateIndependentIPS(len_list=3).estimate_policy_value(
            **common,
            pscore_item_position=log["pscore_item_position"],
            evaluation_policy_pscore_item_position=marginal,
        ),
        "reward_interaction_ips": ope.SlateRewardInteractionIPS(len_list=3).estimate_policy_value(**common, **under),
        "cascade_dr": ope.SlateCascadeDoublyRobust(len_list=3, n_unique_action=5).estimate_policy_value(
            **common, **under, action=log["action"], q_hat=q, evaluation_policy_action_dist=dist
        ),
    }
    said = q.reshape(-1, 5)
    arrays = {
        "slate": log["slate_id"].astype(np.int16), "position": log["position"].astype(np.int8), "reward": log["reward"],
        "joint": log["pscore"], "cascade": log["pscore_cascade"], "marginal": log["pscore_item_position"],
        "target_joint": joint, "target_cascade": cascade, "target_marginal": marginal,
        "predicted": said[np.arange(len(said)), log["action"]],
        "expected": (dist.reshape(-1, 5) * said).sum(axis=1),
    }  # fmt: skip
    return arrays, {name: float(value) for name, value in values.items()}


def open_bandit() -> tuple[dict[str, np.ndarray], dict]:
    """The sample's columns that the estimators need, and the policy that ran beside the uniform one."""
    datasets = obp("dataset")
    arrays: dict[str, np.ndarray] = {}
    values: dict = {}
    for campaign in ("all", "men", "women"):
        logs = {}
        for policy in ("random", "bts"):
            dataset = datasets.OpenBanditDataset(behavior_policy=policy, campaign=campaign)
            log = logs[policy] = dataset.obtain_batch_bandit_feedback()
            log["pscore"] = log["pscore"].astype(np.float32).astype(float) if policy == "bts" else log["pscore"]
            name = f"{campaign}_{policy}"
            for column in ("action", "position", "reward"):
                arrays[f"{name}_{column}"] = log[column].astype(np.uint8)
            if policy == "bts":
                arrays[f"{name}_pscore"] = log["pscore"].astype(np.float32)
        bts = obp("policy").BernoulliTS(
            n_actions=dataset.n_actions, len_list=3, is_zozotown_prior=True, campaign=campaign, random_state=12345
        )
        chances = bts.compute_batch_action_dist(n_rounds=1, n_sim=100000)[0]
        arrays[f"{campaign}_bts_policy"] = np.rint(chances.T * 100000).astype(np.int32)
        targets = {"random": chances, "bts": np.full_like(chances, 1 / dataset.n_actions)}
        for policy, log in logs.items():
            cells = log["action"], log["position"]
            clicks, shown = np.zeros_like(chances), np.zeros_like(chances)
            np.add.at(clicks, cells, log["reward"])
            np.add.at(shown, cells, 1)
            q = (clicks + 0.4) / (shown + 100)
            whole = (len(log["action"]), 1, 1)
            values[f"{campaign} {policy}"] = single(log, np.tile(targets[policy], whole), np.tile(q, whole))
    return arrays, values


def main(folder: Path) -> None:
    """Write the files into ``folder``."""
    logging.disable()
    values = {}
    for name, make in (("made_up", made_up), ("slates", slates), ("open_bandit", open_bandit)):
        arrays, values[name] = make()
        np.savez_compressed(folder / f"{name}.npz", **arrays)
    (folder / "obp.json").write_text(json.dumps(values, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
