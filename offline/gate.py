"""The gate: a candidate is published only if it is sane, and not worse than the live version beyond a margin.

Both are scored on the same next-item queries: of the events that have neither taught one of the two nor decided when its training
ended, as their manifests say. The differences are paired, and sessions are what is resampled, since queries of one session are not
independent (a block bootstrap: Efron and Tibshirani 1993, ch. 8).
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from online_models.embeddings import Artefact
from online_models.errors import ArtefactError, QualityError

from . import artefacts, dataset
from .dataset import Sessions
from .evaluate import MISS, Ranks, queries, ranks
from .log import Ints, Log

METRICS = ("hr@20", "mrr@20")

Floats = NDArray[np.float64]


class GateConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``margin``: how much worse the lower end of the interval may be, as a share of the live version's figure.

    ``queries``: fewest that decide anything. ``norm``: largest ratio of a norm to the median norm; ``norms``: lowest median norm,
    and highest norm or bias, far from where squares and products of float32 vanish or overflow. ``known``: least share of the
    window's events on items that the candidate knows; ``coverage``: of those on items that the live version knows. ``cosine``:
    largest mean cosine of two items' vectors; ``directions``: fewest dimensions in use (participation ratio of the covariance).
    """

    margin: float = 0.02
    confidence: float = 0.95
    draws: int = 2000
    queries: int = 200
    norm: float = 100.0
    norms: tuple[float, float] = (1e-6, 1e6)
    coverage: float = 0.95
    known: float = 0.01
    cosine: float = 0.9
    directions: float = 2.0
    seed: int = 1


@dataclass(frozen=True)
class Difference:
    """Candidate minus the other on one metric: means, mean difference and the ends of its interval."""

    candidate: float
    other: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """What the gate found. ``against``: the live version, or "popularity"; ``faults``: why not, in words; empty: publish."""

    version: str
    against: str
    since_ms: int
    queries: int
    differences: dict[str, Difference]
    sanity: dict[str, float]
    faults: list[str]

    @property
    def passed(self) -> bool:
        return not self.faults

    def require(self) -> None:
        """Raise QualityError, with all numbers, unless the candidate has passed."""
        if self.faults:
            told = f"{'; '.join(self.faults)} ({self.queries} queries since {self.since_ms})"
            raise QualityError(
                f"a version fit to replace {self.against}", f"{self.version}: {told}", "it was not published"
            )


def judge(candidate: Artefact, log: Log, live: Artefact | None = None, config: GateConfig = GateConfig()) -> Verdict:
    """Score the candidate beside the live version, or beside popularity when there is none, on what neither has seen.

    Raises ArtefactError when the candidate does not say until when it has seen events.
    """
    since = unseen_since(candidate, live)
    sessions = dataset.sessions_of(log)
    window = sessions.pick(sessions.times[sessions.starts[1:] - 1] >= since)
    ours = _ranks(candidate, log, window, since)
    if live is not None:
        theirs, against = _ranks(live, log, window, since), live.manifest.version
    else:
        theirs, against = _popularity(sessions, window, since, len(log.item_ids)), "popularity"
    differences = {}
    faults = _insane(candidate, config, sanity := _sanity(candidate))
    if len(ours) < config.queries:
        faults.append(f"expected {config.queries} queries or more, got {len(ours)}: wait for more events")
    else:
        for metric in METRICS:
            d = paired(ours, theirs, metric, config)
            differences[metric] = d
            if max(d.low, -d.other) < -config.margin * d.other:  # nothing falls by more than all of it
                faults.append(
                    f"{metric} {d.candidate:.4f} against {d.other:.4f}: difference {d.mean:+.4f}, interval {d.low:+.4f} to "
                    f"{d.high:+.4f}, allowed {-config.margin * d.other:+.4f}"
                )
    known = sanity["known"] = _known(candidate, log, window, since)
    if known < config.known:
        faults.append(f"knows the items of {known:.1%} of the newest events, least {config.known:.0%}")
    if live is not None:
        share = _coverage(candidate, live, log, window, since)
        sanity["coverage"] = share
        if share < config.coverage:
            faults.append(
                f"knows the items of {share:.1%} of the events that the live version covers, least {config.coverage:.0%}"
            )
    return Verdict(candidate.manifest.version, against, since, len(ours), differences, sanity, faults)


def unseen_since(candidate: Artefact, live: Artefact | None = None) -> int:
    """The time (ms) from which on nothing has taught either version or decided when its training ended.

    Raises ArtefactError when the candidate does not say so. Of a live version that does not, what it has learned counts: whatever
    else it has seen is to its own advantage.
    """
    seen = candidate.manifest.seen_ms
    if seen is None:
        raise ArtefactError(
            f"the newest event that {candidate.manifest.version} has seen (seen_ms in its manifest)",
            f"only that it learned until {candidate.manifest.trained.to_ms}",
            "what decided when training ended may not judge it: train a new version with `headrace train`",
        )
    return max(seen, -1 if live is None else live.manifest.newest_ms) + 1


def paired(ours: Ranks, theirs: Ranks, metric: str, config: GateConfig = GateConfig()) -> Difference:
    """The mean difference over queries, and its percentile interval from resampling whole sessions."""
    a, b = ours.scores(metric), theirs.scores(metric)
    _, session = np.unique(ours.session, return_inverse=True)
    total = np.bincount(session, a - b)
    count = np.bincount(session).astype(np.float64)
    rng = np.random.default_rng(config.seed)
    means = np.empty(config.draws)
    for i in range(config.draws):
        weight = np.bincount(rng.integers(0, len(total), len(total)), minlength=len(total))
        means[i] = (weight @ total) / (weight @ count)
    tail = (1 - config.confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Difference(float(a.mean()), float(b.mean()), float((a - b).mean()), float(low), float(high))


def _rows(artefact: Artefact, log: Log) -> Ints:
    known = {item: row for row, item in enumerate(artefact.ids)}
    return np.array([known.get(item, -1) for item in log.item_ids], np.int64)


def _known(artefact: Artefact, log: Log, window: Sessions, since: int) -> float:
    """Share of the judged events whose items the version was trained with; 1 where there are none."""
    targets = window.items[queries(window, since)]
    return float((_rows(artefact, log)[targets] >= 0).mean()) if len(targets) else 1.0


def _ranks(artefact: Artefact, log: Log, window: Sessions, since: int) -> Ranks:
    if not (np.isfinite(artefact.vectors).all() and all(np.isfinite(w).all() for w in artefact.encoder.values())):
        session = window.owner[queries(window, since)]
        return Ranks(np.full(len(session), MISS), session)
    return ranks(artefacts.load(artefact), window.with_rows(_rows(artefact, log)), since)


def _popularity(sessions: Sessions, window: Sessions, since: int, items: int) -> Ranks:
    """Everybody is shown the most frequent items of the time before the window."""
    counts = np.bincount(sessions.items[sessions.times < since], minlength=items)
    above = len(counts) - np.searchsorted(np.sort(counts), counts, side="right")
    level = np.bincount(counts)[counts]
    place = np.where(counts > 0, above + 0.5 * (level - 1), MISS)
    query = queries(window, since)
    return Ranks(place[window.items[query]], window.owner[query])


def _sanity(artefact: Artefact) -> dict[str, float]:
    """Numbers of the vectors alone: finite rows, norms, biases, mean cosine of pairs, directions in use."""
    vectors = np.asarray(artefact.vectors, np.float64)
    finite = np.isfinite(vectors).all(axis=1)
    vectors = vectors[finite]
    norms = np.linalg.norm(vectors, axis=1)
    median = float(np.median(norms)) if len(norms) else 0.0
    found = {"finite": float(finite.mean()), "norm_median": median, "norm_max": float(norms.max(initial=0.0))}
    bias = np.zeros(1) if artefact.bias is None else np.abs(np.asarray(artefact.bias, np.float64))
    found["bias_max"] = float(bias.max(initial=0.0))
    units = vectors[norms > 0] / norms[norms > 0, None]
    n = len(units)
    # The mean over all pairs of different rows follows from the length of their sum.
    found["cosine"] = float((np.square(units.sum(0)).sum() - n) / (n * (n - 1))) if n > 1 else 1.0
    spread = np.linalg.eigvalsh(np.cov(vectors.T)) if len(vectors) > 1 and vectors.shape[1] > 1 else np.zeros(1)
    square = float(np.square(spread).sum())
    found["directions"] = float(spread.sum() ** 2 / square) if square > 0 else 0.0
    return found


def _insane(artefact: Artefact, config: GateConfig, found: dict[str, float]) -> list[str]:
    faults = []
    if found["finite"] < 1:
        faults.append(f"NaN or infinity in {1 - found['finite']:.2%} of the vectors")
    if not 0 < found["norm_max"] <= config.norm * max(found["norm_median"], 1e-12):
        faults.append(
            f"largest norm {found['norm_max']:.3g} for a median of {found['norm_median']:.3g}, at most {config.norm:g} times"
        )
    lowest, highest = config.norms
    if not (lowest <= found["norm_median"] and max(found["norm_max"], found["bias_max"]) <= highest):
        faults.append(
            f"norms of {found['norm_median']:.3g} in the median and up to {found['norm_max']:.3g}, biases up to "
            f"{found['bias_max']:.3g}: out of the range {lowest:g} to {highest:g}"
        )
    if found["cosine"] > config.cosine:
        faults.append(
            f"mean cosine of two items {found['cosine']:.3f}, at most {config.cosine}: the embedding has collapsed"
        )
    if artefact.manifest.dims > 1 and found["directions"] < config.directions:
        faults.append(
            f"{found['directions']:.1f} directions in use, at least {config.directions}: the embedding has collapsed"
        )
    return faults


def _coverage(candidate: Artefact, live: Artefact, log: Log, window: Sessions, since: int) -> float:
    items = window.items[window.times >= since]
    known = _rows(live, log)[items] >= 0
    return float((_rows(candidate, log)[items[known]] >= 0).mean()) if known.any() else 1.0
