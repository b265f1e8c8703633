"""The versions of the deep model in one worker: which one answers whom, and how one takes another's place.

A flip changes references between two events, nothing else: the version that comes in was loaded, checked, aligned and
warmed beside the others before. The one that goes out stays, to come back if the new one turns out harmful.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt

from online_models.alignment import Heritage, inherit
from online_models.deep import Version
from online_models.metrics import NAMES, evaluate

from .experiments import NO_MODEL
from .knowledge import Knowledge
from .prequential import RECENT, Moment
from .trial import Phase, Trial, TrialConfig

log = logging.getLogger("headrace")

NDCG = NAMES.index("ndcg@20")
NONE = "none"
"""How records of quality name having no version."""


def name_of(version: Version | None) -> str:
    """For the records of quality."""
    return NONE if version is None else version.name


class Versions:
    """``live`` answers everybody, but those who see the candidate of a ``trial``. ``previous`` is the one before; it may
    come back at any time, so it knows the item table even while nothing compares it.

    ``changed`` is called with the trial whenever its phase has changed.
    """

    def __init__(self, knowledge: Knowledge, config: TrialConfig) -> None:
        self._deep, self._items, self._config = knowledge.deep, knowledge.items, config
        self._own = 2 + knowledge.lists.index("deep")
        self.live: Version | None = None
        self.previous: Version | None = None
        self.candidate: Version | None = None
        self.trial: Trial | None = None
        self.held: dict[str, Version | None] = {NO_MODEL: None}
        """Versions that experiments name, and none."""
        self.flip_s = 0.0
        """How long the latest change of what answers has taken."""
        self.changed: Callable[[Trial], None] = lambda trial: None
        self.recent: dict[str, tuple[int, npt.NDArray[np.float64]]] = {}
        """Version → moments judged and recent metrics of the lists that users got with it."""

    # -- asked at every request ---------------------------------------------------------------------------------------

    def version_for(self, user_id: str) -> Version | None:
        """The version that answers this user: the same one as long as the phase stays."""
        if self.candidate is not None and self.trial is not None and self.trial.serves(user_id):
            return self.candidate
        return self.live

    def rival_for(self, user_id: str, event_id: str) -> tuple[bool, Version | None]:
        """Whether the moment that this event begins is compared, and the version that does not answer it."""
        trial = self.trial
        if trial is None or not trial.compares(event_id):
            return False, None
        if trial.phase is Phase.PROMOTED:
            return True, self.previous
        return True, self.live if trial.serves(user_id) else self.candidate

    # -- flips --------------------------------------------------------------------------------------------------------

    def aligning(self, version: Version) -> Callable[[], None]:
        """What gives a version that answers nobody yet what was learned online before it. It takes a while and may be done beside
        the stream; what the stream goes on changing is copied here, between two events."""
        version.catch_up()
        live = self.live
        if live is None:
            kept = self._deep.kept_for(version)
            return partial(version.newcomers.take, kept) if kept is not None else lambda: None
        return partial(self._align, version, live.name, Heritage.of(live, self._items.count))

    def _align(self, version: Version, live: str, heritage: Heritage) -> None:
        found = inherit(heritage, version)
        log.info(
            "%s takes over %d items learned online from %s, %d dropped (fit of the spaces %.2f)",
            *(version.name, found.taken, live, found.dropped, found.fit),
        )

    def install(self, version: Version | None) -> None:
        """Live from now on, without a trial; None: no deep model."""
        if version is not None:
            version.catch_up()
        self.previous, self.live = self.live if version is not self.live else self.previous, version
        self.candidate = self.trial = None
        self._follow()

    def begin(self, version: Version) -> None:
        """Put a version on trial, in place of one that may be on trial already."""
        version.catch_up()
        self.candidate, self.trial = version, Trial(version.name, self._config)
        self._follow()

    def hold(self, versions: Mapping[str, Version]) -> None:
        """Keep these for experiments that name them, and no others."""
        self.held.clear()
        self.held[NO_MODEL] = None
        for name, version in versions.items():
            version.catch_up()
            self.held[name] = version
        self._follow()

    def promote(self) -> None:
        """The candidate is live from now on; it goes on being watched."""
        if self.candidate is None or self.trial is None:
            return
        self.previous, self.live, self.candidate = self.live, self.candidate, None
        self.trial.phase = Phase.PROMOTED
        self._follow()

    def roll_back(self) -> None:
        """The candidate goes; if it is live already, the version before comes back."""
        if self.candidate is None and self.trial is not None:
            self.live, self.previous = self.previous, None
        self.candidate = self.trial = None
        self._follow()

    def _follow(self) -> None:
        watched = self.previous if self.trial is not None and not self.trial.over else None
        self._deep.follow(self.live, self.candidate, watched, *self.held.values(), resting=self.previous)
        names = {name_of(version) for version in (self.live, self.candidate, self.previous, *self.held.values())}
        self.recent = {name: kept for name, kept in self.recent.items() if name in names}

    # -- judged -------------------------------------------------------------------------------------------------------

    def judge(self, moment: Moment, found: npt.NDArray[np.float64]) -> None:
        """A moment has been judged, its lists with the metrics ``found`` [lists, 4]; it counts for the trial if it was compared."""
        metrics = found[0]
        n, mean = self.recent.get(moment.version, (0, np.zeros(len(NAMES))))
        self.recent[moment.version] = n + 1, mean + (metrics - mean) / min(n + 1, RECENT)
        trial = self.trial
        if trial is None or moment.rival is None or trial.candidate not in (moment.version, moment.rival_version):
            return
        others = evaluate(moment.rival, np.array(moment.targets, np.int32))[:, NDCG]
        difference = found[[0, self._own], NDCG] - others
        if moment.version != trial.candidate:
            difference = -difference
        if trial.note(*difference.tolist()):
            self._move(trial)

    def _move(self, trial: Trial) -> None:
        low, high = trial.difference.interval
        log.info(
            "model %s: %s after %d moments, NDCG@20 %+.4f against the other (%.4f to %.4f), of its own list %+.4f",
            *(trial.candidate, trial.phase.value, trial.difference.n, trial.difference.mean, low, high, trial.own.mean),
        )
        if trial.phase is Phase.PROMOTED:
            self.promote()
        elif trial.phase is Phase.ROLLED_BACK:
            self.roll_back()
        elif trial.phase is Phase.KEPT:
            self.trial = None
            self._follow()
        self.changed(trial)

    def metrics(self) -> dict[str, float | dict[str, float]]:
        """Figures for monitoring."""
        out: dict[str, float | dict[str, float]] = {
            "ndcg_at_20": {name: float(mean[NDCG]) for name, (_, mean) in self.recent.items()},
            "moments": {name: float(n) for name, (n, _) in self.recent.items()},
            "flip_seconds": self.flip_s,
            "live": {} if self.live is None else {self.live.name: 1.0},
        }
        if self.trial is not None:
            low, high = self.trial.difference.interval
            figures = {"low": low, "mean": self.trial.difference.mean, "high": high}
            out |= {
                "trial_moments": {self.trial.candidate: float(self.trial.difference.n)},
                "trial_difference": figures,
            }
        return out
