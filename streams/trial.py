"""A new model version on trial beside the live one: compared at the same moments, then served to a share of the users,
then to everybody, or to nobody.

At a share of the moments both versions' lists are made and judged by the same next event. Two paired differences of
NDCG@20 decide: of the lists as they would be shown, all sources blended, and of the versions' own lists (the blend soon
learns to do without a bad source, so the first alone would let a useless version through). Each has an interval that holds
at every look (`online_models.confidence_sequence`); a version is harmful if one of them is below zero for all that is known.

Who sees it, and when an interval says enough, is decided as in an experiment: by the split of a salt, and by the rule of guardrails.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import msgspec

from online_models.confidence_sequence import ConfidenceSequence
from online_models.experiments.guardrails import Verdict, judge
from online_models.experiments.split import BUCKETS, bucket, seed_of

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]

SALTS = "model/"
"""What the salts of trials begin with."""


class TrialConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a version is tried. Counts are of compared moments."""

    alpha: Annotated[float, msgspec.Meta(gt=0, le=0.5)] = 0.05
    """Probability of ever calling a version harmful that is not, at one worker; any of n may, so at most n times as much at all."""
    margin: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.005
    """A version that is surely not worse than this (NDCG@20) may have everybody."""
    compared: Share = 0.25
    """Of the moments while a version is on trial; each costs a second list."""
    users: Share = 0.1
    """That see the version after the shadow, before everybody does."""
    shadow: Count = 300
    """Before any user sees it."""
    most: Count = 10_000
    """Then it is over: everybody gets the version unless it has been worse than the margin on average."""
    watch: Count = 20_000
    """After that the one before goes on being compared, and comes back if the new one turns out harmful."""


class Phase(str, Enum):
    """Of a trial: compared only; served to some; served to everybody and watched; over, kept; over, sent back."""

    SHADOW = "shadow"
    CANARY = "canary"
    PROMOTED = "promoted"
    KEPT = "kept"
    ROLLED_BACK = "rolled_back"


def salt_of(version: str) -> str:
    """Of the split by which some users see a version on trial: those of the first buckets."""
    return f"{SALTS}{version}"


class Trial:
    """Of the version named ``candidate``. Which users see it and which moments are compared depends on ids alone."""

    def __init__(self, candidate: str, config: TrialConfig, phase: Phase = Phase.SHADOW) -> None:
        self.candidate, self.config, self.phase = candidate, config, phase
        self.difference, self.own = (ConfidenceSequence(-1.0, 1.0, config.alpha / 2.0) for _ in range(2))
        self._users, self._moments = seed_of(salt_of(candidate)), seed_of(f"{salt_of(candidate)}/compared")

    @property
    def over(self) -> bool:
        """Whether nothing more is to be decided."""
        return self.phase in (Phase.KEPT, Phase.ROLLED_BACK)

    def serves(self, user_id: str) -> bool:
        """Whether the user sees the candidate."""
        if self.phase is Phase.CANARY:
            return bucket(self._users, user_id) < round(self.config.users * BUCKETS)
        return self.phase in (Phase.PROMOTED, Phase.KEPT)

    def compares(self, event_id: str) -> bool:
        """Whether the moment that this event begins is compared."""
        return not self.over and bucket(self._moments, event_id) < round(self.config.compared * BUCKETS)

    def note(self, difference: float, own: float) -> bool:
        """Take the candidate's NDCG@20 minus the other's at one moment, of the blended and of the own lists; True if the
        phase has changed."""
        self.difference.update(difference)
        self.own.update(own)
        found = self._phase()
        changed = found is not self.phase
        self.phase = found
        return changed

    def _phase(self) -> Phase:
        c, n = self.config, self.difference.n
        if any(judge(*sequence.interval, margin=0.0) is Verdict.BREACHED for sequence in (self.difference, self.own)):
            return Phase.ROLLED_BACK
        if self.phase is Phase.SHADOW and n >= c.shadow:
            return Phase.CANARY
        good = judge(*self.difference.interval, margin=c.margin) is Verdict.HOLDS
        if self.phase is Phase.CANARY and n >= 2 * c.shadow and good:
            return Phase.PROMOTED
        if self.phase is Phase.CANARY and n >= c.most:
            worst = min(self.difference.mean, self.own.mean)
            return Phase.PROMOTED if worst > -c.margin else Phase.ROLLED_BACK
        if self.phase is Phase.PROMOTED and n >= c.watch:
            return Phase.KEPT
        return self.phase
