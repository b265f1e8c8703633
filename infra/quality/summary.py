"""From verdicts to what is told of them: means with intervals, slices, paired differences. Plain dicts, as they stand in the JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from online_models.expected import NAMES

from .bootstrap import Interval, intervals
from .judge import Verdict
from .plan import NEW, Plan

SHOWN = ("hr@20", "mrr@20", "ndcg@20")
"""Metrics of slices, differences and lags."""
DAY_MS = 86_400_000

Masks = dict[str, dict[str, npt.NDArray[np.bool_]]]


def slices(plan: Plan) -> Masks:
    """Slice → part → [queries] which are in it.

    Session length is the number of the session's events before the query, user age that of the user's; item age the time since the first
    event of the (first) item that came.
    """
    p, h, a = plan.position, plan.history, plan.age
    ages: dict[str, npt.NDArray[np.bool_]] = {}
    if plan.born is None:
        ages = {
            "new": a == NEW, "under 1 h": (a >= 0) & (a < DAY_MS // 24), "under 1 day": (a >= DAY_MS // 24) & (a < DAY_MS),
            "under 7 days": (a >= DAY_MS) & (a < 7 * DAY_MS), "older": a >= 7 * DAY_MS,
        }  # fmt: skip
    else:
        periods = plan.stratum - plan.born
        ages = {"1 period": periods == 1, "2-4 periods": (periods > 1) & (periods <= 4), "older": periods > 4}
    return {
        "session length": {"0": p == 0, "1": p == 1, "2-4": (p >= 2) & (p < 5), "5-9": (p >= 5) & (p < 10), "10+": p >= 10},
        "item age": ages,
        "user age": {"0 events": h == 0, "1-9": (h > 0) & (h < 10), "10-99": (h >= 10) & (h < 100), "100+": h >= 100},
    }  # fmt: skip


def told(found: Interval, digits: int = 5) -> dict[str, float]:
    """An interval as it stands in the JSON."""
    return {"mean": round(found.mean, digits), "low": round(found.low, digits), "high": round(found.high, digits)}


def means(plan: Plan, values: npt.NDArray[Any], where: npt.NDArray[np.bool_] | None = None) -> dict[str, Any]:
    """Metric → mean with interval, over the queries that have values (and are in ``where``); empty where there are none."""
    inside = ~np.isnan(values[:, 0]) if where is None else where & ~np.isnan(values[:, 0])
    if not inside.any():
        return {}
    found = intervals(values[inside], plan.session[inside], plan.stratum[inside])
    return {name: told(interval) for name, interval in zip(NAMES, found, strict=True)}


def of_verdict(plan: Plan, verdict: Verdict) -> dict[str, Any]:
    """All that is told of one run."""
    columns = [NAMES.index(name) for name in SHOWN]
    parts: dict[str, dict[str, Any]] = {}
    for name, masks in slices(plan).items():
        inside = {part: mask & verdict.asked for part, mask in masks.items()}
        parts[name] = {
            part: {"queries": int(mask.sum())} | plain(verdict.values[mask][:, columns], SHOWN)
            for part, mask in inside.items()
            if mask.any()
        }
    known = ~np.isnan(verdict.known[:, 0])
    return {
        "queries": int(verdict.asked.sum()), "metrics": means(plan, verdict.values),
        "over all queries": plain(verdict.values[verdict.asked], NAMES),
        "known items": {"queries": int(known.sum()), "metrics": means(plan, verdict.known)},
        "coverage@20": round(verdict.coverage, 5),
        "popularity": {
            "listed": verdict.listed, "wanted": verdict.wanted,
            "bias": round(verdict.listed / verdict.wanted, 4) if verdict.wanted else None,
        },
        "slices": parts,
        "periods": {
            str(period): plain(verdict.values[verdict.asked & (plan.stratum == period)], NAMES)
            for period in plan.periods
            if len(plan.periods) > 1
        },
    }  # fmt: skip


def plain(values: npt.NDArray[Any], names: tuple[str, ...]) -> dict[str, float]:
    """Metric → mean over the rows."""
    return {name: round(float(v), 5) for name, v in zip(names, values.mean(axis=0, dtype=np.float64), strict=True)}


def difference(plan: Plan, values: npt.NDArray[Any], base: npt.NDArray[Any]) -> dict[str, Any]:
    """Metric → mean of the paired differences with interval: ``values`` less ``base`` [queries, metrics]."""
    return {name: value for name, value in means(plan, values - base).items() if name in SHOWN}


def some(found: dict[str, Any]) -> dict[str, Any]:
    """The metrics of `SHOWN` alone."""
    return {name: found[name] for name in SHOWN if name in found}
