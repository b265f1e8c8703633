"""Where the blend's weights start: what it learned on other logs, or a plain trust in ranks.

What is shipped (``starting_weights.json``) is the mean over six public logs of what the blend had learned after the first fifth of each,
from plain weights (``python -m tests.bench start``). Adagrad's sums start as if `WORTH` moments had been learned, so that what comes next
moves the weights as it would after so many. Hidden units, and features that none of those logs had, start plainly.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import FloatArray
from .errors import ArtefactError

WORTH = 1_000
"""Moments that the shipped weights count as."""
DIGITS = 4
"""Of what is shipped, behind the point."""

TRUST = {
    "again": 0.25, "often": 0.25, "following": 0.4, "near": 0.4, "far": 0.4, "knn": 0.5, "mf": 0.25, "deep": 0.4,
}  # fmt: skip


@dataclass(frozen=True)
class Start:
    """Weights [contexts, features] and Adagrad's sums [features]."""

    weights: NDArray[np.float64]
    squares: NDArray[np.float64]


@dataclass(frozen=True)
class Learned:
    """What a blend has learned of one log: its weights [contexts, features], sums [features], and how many moments it learned from."""

    features: Sequence[str]
    weights: NDArray[np.float64]
    squares: NDArray[np.float64]
    moments: int


def prior(features: Sequence[str]) -> FloatArray:
    """Weights [features] that trust ranks: the user's own items and neighbours more than plain popularity."""
    out = np.zeros(len(features), np.float32)
    for i, name in enumerate(features):
        source, _, feature = name.partition(".")
        if feature == "log_rank":
            out[i] = TRUST.get(source, 0.1)
    return out


def plain(features: Sequence[str], contexts: Sequence[str]) -> Start:
    """`prior` in every context, and nothing learned."""
    weights = np.zeros((len(contexts), len(features)))
    weights[0] = prior(features)
    return Start(weights, np.zeros(len(features)))


def shipped(features: Sequence[str], contexts: Sequence[str], found: dict[str, Any] | None = None) -> Start:
    """The shipped weights (or those ``found``) of the features that they know, `plain` ones of the others. Raises ArtefactError for those
    of other contexts, or of the same in another order."""
    start, found = plain(features, contexts), found or _shipped()
    _refuse_other(contexts, found["contexts"])
    for i, name in enumerate(features):
        if name in found["weights"]:
            start.weights[:, i], start.squares[i] = found["weights"][name], found["squares"][name]
    return start


def _refuse_other(contexts: Sequence[str], theirs: Sequence[str]) -> None:
    """Raise ArtefactError at the first context that is another one there: it would get that one's weights."""
    for place, (ours, other) in enumerate(zip_longest(contexts, theirs)):
        if ours != other:
            raise ArtefactError(
                f"starting weights of {len(contexts)} contexts, at place {place} {_quoted(ours)}",
                f"those of {len(theirs)}, there {_quoted(other)}",
                'make them anew with `python -m tests.bench start`, or set [pipeline.blend] start = "plain"',
            )


def _quoted(name: str | None) -> str:
    return "none" if name is None else repr(name)


@cache
def _shipped() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_text())
    return found


def _text() -> str:
    return files(__package__).joinpath("starting_weights.json").read_text()


@cache
def digest() -> str:
    """Of the shipped weights: what was learned from others does not go with them."""
    return sha256(_text().encode()).hexdigest()


def mean(learned: Sequence[Learned], contexts: Sequence[str]) -> dict[str, Any]:
    """What would be shipped were these all logs. All have the same features; hidden units and what never learned is left out."""
    weights = np.mean([x.weights for x in learned], axis=0).round(DIGITS)
    squares = (WORTH * np.mean([x.squares / max(x.moments, 1) for x in learned], axis=0)).round(DIGITS)
    told = {
        name: i for i, name in enumerate(learned[0].features) if squares[i] > 0.0 and not name.startswith("hidden-")
    }
    return {
        "moments": WORTH,
        "contexts": list(contexts),
        "weights": {name: weights[:, i].tolist() for name, i in told.items()},
        "squares": {name: float(squares[i]) for name, i in told.items()},
    }


def write(path: Path, found: dict[str, Any]) -> None:
    """As JSON, a line for each feature."""
    lines = [
        f'"{part}": {{\n' + ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in found[part].items()) + "\n}"
        for part in ("weights", "squares")
    ]  # fmt: skip
    head = f'"moments": {found["moments"]},\n"contexts": {json.dumps(found["contexts"])}'
    path.write_text("{\n" + ",\n".join([head, *lines]) + "\n}\n")
