"""Who scores and who teaches: one pair for everybody, and one for each variant whose models learn apart."""

from __future__ import annotations

from collections.abc import Callable, Collection

from .config import PipelineConfig
from .experiments import Treatment
from .filters import Filters
from .knowledge import Arm, Knowledge
from .scoring import Scorer
from .teaching import Teacher


class Arms:
    """A scorer and a teacher for each treatment. An arm that is not there is as everybody."""

    def __init__(self, config: PipelineConfig, knowledge: Knowledge, filters: Filters) -> None:
        self._config, self._knowledge, self._filters = config, knowledge, filters
        self._of: dict[str | None, tuple[Scorer, Teacher]] = {None: self._pair(knowledge)}

    def _pair(self, models: Knowledge | Arm) -> tuple[Scorer, Teacher]:
        scorer = Scorer(models, self._filters, self._config.sources.candidates)
        return scorer, Teacher(self._config, models, self._filters, self._knowledge)

    def keep(self, wanted: Collection[str]) -> None:
        """These arms learn apart, and no others; a new one once `make` has made it."""
        self._knowledge.keep_arms(wanted)
        self._follow()

    def make(self) -> Callable[[], object] | None:
        """See `Knowledge.make_arms`."""
        work = self._knowledge.make_arms()
        if self._of.keys() - {None} != self._knowledge.arms.keys():
            self._follow()
        return work

    def _follow(self) -> None:
        self._of = {None: self._of[None]} | {name: self._pair(arm) for name, arm in self._knowledge.arms.items()}

    def scorer(self, treatment: Treatment) -> Scorer:
        """Of the models that answer under a treatment."""
        return self._of.get(treatment.apart, self._of[None])[0]

    def teacher(self, treatment: Treatment) -> Teacher:
        """Of the same models."""
        return self._of.get(treatment.apart, self._of[None])[1]
