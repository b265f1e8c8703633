"""What an incremental training repeats of the past, so that it is not forgotten.

Adaptively distilled exemplar replay: Mi, Lin and Faltings, RecSys 2020 (ADER). There, each item has as many exemplars as its
share of the events, chosen by herding; here sessions are
drawn at random, in which items have that share anyway.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from online_models.errors import InputError

from .dataset import Sessions, joined


def choose(sessions: Sessions, count: int, seed: int) -> Sessions:
    """At most ``count`` of the sessions of two events or more, in their order."""
    able = np.flatnonzero(sessions.lengths >= 2)
    if len(able) > count:
        able = np.sort(np.random.default_rng(seed).choice(able, count, replace=False))
    return sessions.pick(able)


def mixed(
    sessions: Sessions, known_until_ms: int, known: int, count: int, seed: int
) -> tuple[Sessions, NDArray[np.bool_]]:
    """Exemplars of what was known until then, and everything else; the mask [sessions] marks the exemplars.

    A session across the boundary is new, and so is one with an item that is none of the first ``known`` rows: its event came late.
    Raises InputError when nothing is new.
    """
    last = sessions.times[sessions.starts[1:] - 1]
    past = (last <= known_until_ms) & (np.maximum.reduceat(sessions.items, sessions.starts[:-1]) < known)
    if past.all():
        raise InputError(f"events after {known_until_ms}, where the live version ends", "none", "wait for new events")
    repeated = choose(sessions.pick(past), count, seed)
    fresh = sessions.pick(~past)
    return joined(repeated, fresh), np.arange(len(repeated) + len(fresh)) < len(repeated)
