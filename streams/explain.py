"""Explain: what makes an item's score for a user, taken apart by source, feature and context. Changes nothing.

It is the scorer's own request that is looked at, so what is said is said of the list that the user would get now. Where a variant
explores, or two variants share a list, it is the order before that.
"""

from __future__ import annotations

import msgspec
import numpy as np

from online_models import closeness, habits, shelf
from online_models.attribution import Wide, attributed
from online_models.base import FloatArray, IntArray
from online_models.blend import CONTEXT_NAMES
from online_models.features import ITEM, LAST, OWN_NAMES, PAIR

from .contracts.explanations import ContextShare, Explanation, FeatureShare, GroupShare
from .experiments import DEEP, Treatment
from .pipeline import Pipeline
from .scoring import Ranked, Scorer
from .serving import named
from .user_state import UserState

START, VARIANT, BONUS = "start", "variant", "bonus"
"""Names of weights that are no context's: those before anything was learned, what a variant adds, and the bonus of new items."""

_KINDS = {
    "item": ITEM,
    "own": OWN_NAMES,
    "last item": PAIR,
    "habits": habits.NAMES,
    "factors": closeness.FACTORS,
    "visits": closeness.VISITS,
    "catalogue": shelf.NAMES,
    "untried": ("bonus",),
    DEEP: (LAST,),
}
_KIND_OF = {feature: kind for kind, features in _KINDS.items() for feature in features}


def group_of(feature: str) -> str:
    """The group that a feature of the blend counts with: its source, or its kind.

    >>> group_of("knn.log_rank"), group_of("share-2"), group_of("own_count"), group_of("deep_match")
    ('knn', 'popularity', 'own', 'deep')
    """
    source, dot, _ = feature.partition(".")
    if dot:
        return source
    return "popularity" if feature.startswith("share-") else _KIND_OF.get(feature, "other")


def explain(pipeline: Pipeline, user_id: str, item_id: str, state: UserState | None = None) -> Explanation:
    """Why ``item_id`` stands where it does in what the user would be listed now; ``state`` where it is not the pipeline's own."""
    state, now, assignment = pipeline.asked(user_id, state)
    treatment = assignment.treatment
    version = pipeline.version_for(state.user_id, treatment)
    scorer = pipeline.arms.scorer(treatment)
    x = scorer.candidates.buffer()
    ranked = scorer.rank(state, now, pipeline.config.k, x, version, treatment)
    n = scorer.candidates.n
    row = pipeline.knowledge.items.row(item_id)
    found = np.flatnonzero(scorer.candidates.rows[:n] == row) if row >= 0 else np.zeros(0, np.int64)
    base = Explanation(
        user_id=user_id, item_id=item_id, timestamp=now, rank=None, candidates=n, score=None, mean=None, source=None, reason=None,
        groups=[], contexts=[], model=named(version), experiments=list(assignment.exposures), generic=ranked.generic,
        note=None,
    )  # fmt: skip
    if not len(found):
        return msgspec.structs.replace(base, note=_absent(pipeline, row, ranked, state, treatment))
    at = int(found[0])
    scores, rows = scorer.scores[:n], scorer.candidates.rows[:n]
    score = scores[at]
    before = np.count_nonzero((scores > score) | ((scores == score) & (rows < row)))
    alone = Ranked(
        rows[at : at + 1],
        scores[at : at + 1],
        np.array([at], np.int32),
        ranked.active,
        ranked.weights,
        ranked.recent,
        None,
    )
    [item] = pipeline.server.reasoned(alone, state, x)
    x = x[:, : len(ranked.weights)]
    own, through = attributed(x[:n], ranked.weights, scorer.models.blend.hidden)
    return msgspec.structs.replace(
        base, rank=int(before) + 1, score=float(score), mean=float(scores.mean(dtype=np.float64)), source=item.source,
        reason=item.reason, groups=_groups(scorer, x[at], at, own, through, _places(scorer, row)),
        contexts=_contexts(scorer, x[at], ranked, treatment),
    )  # fmt: skip


def _absent(pipeline: Pipeline, row: int, ranked: Ranked, state: UserState, treatment: Treatment) -> str:
    if row < 0:
        return "the item is not known: no event has named it, or it was forgotten"
    place = np.flatnonzero(ranked.rows == row)
    if len(place):
        return f"no source names it: it fills up the list at place {int(place[0]) + 1}"
    return pipeline.filters.leaves_out(row, state, treatment) or "no source names it for this user"


def _places(scorer: Scorer, row: int) -> dict[str, int]:
    """Source → the item's place in its list, from 1."""
    c = scorer.candidates
    found = {}
    for s, name in enumerate(scorer.models.lists):
        at = np.flatnonzero(c.items[s, : c.counts[s]] == row)
        if len(at):
            found[name] = int(at[0]) + 1
    return found


def _groups(
    scorer: Scorer, x: FloatArray, at: int, own: Wide, through: Wide, places: dict[str, int]
) -> list[GroupShare]:
    """Largest first."""
    hidden, names = scorer.models.blend.hidden, scorer.models.features
    columns: dict[str, list[int]] = {}
    for f, name in enumerate(names[: len(x)]):
        if not hidden.at <= f < hidden.at + hidden.units:
            columns.setdefault(group_of(name), []).append(f)
    total = own + through
    sums = {group: (total[at, of].sum(), total[:, of].sum(axis=1).mean()) for group, of in columns.items()}
    whole = sum(abs(here) for here, _ in sums.values()) or 1.0
    groups = []
    for group, of in columns.items():
        here, mean = sums[group]
        parts = [
            FeatureShare(names[f], float(x[f]), float(total[at, f]), float(through[at, f])) for f in of if total[at, f]
        ]
        parts.sort(key=lambda part: -abs(part.contribution))
        through_units = float(through[at, of].sum())
        place = places.get(group)
        groups.append(
            GroupShare(group, float(here), through_units, float(here / whole), float(here - mean), place, parts)
        )
    return sorted(groups, key=lambda group: -abs(group.contribution))


def _contexts(scorer: Scorer, x: FloatArray, ranked: Ranked, treatment: Treatment) -> list[ContextShare]:
    blend, wide = scorer.models.blend, x.astype(np.float64)
    parts: list[tuple[str, FloatArray | Wide]] = [(START, blend.start(ranked.active))]
    if treatment.learned:
        active: IntArray = ranked.active
        parts = [(CONTEXT_NAMES[a], blend.weights[a]) for a in active.tolist()]
    if treatment.add is not None:
        parts.append((VARIANT, treatment.add))
    if scorer.bonus is not None:
        parts.append((BONUS, scorer.bonus))
    return [ContextShare(name, float(weights[: len(wide)] @ wide)) for name, weights in parts]
