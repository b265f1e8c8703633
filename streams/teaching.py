"""Teach: from an event to the interaction record, which holds all that every worker learns from it."""

from __future__ import annotations

import numpy as np

from online_models.base import IntArray
from online_models.metrics import K
from online_models.repeats import times

from .config import PipelineConfig
from .contracts.events import Event, Source
from .contracts.interactions import APART, Delta, Interaction
from .filters import Filters
from .knowledge import Arm, Knowledge
from .models import Models
from .prequential import Moment, is_target
from .user_state import UserState


class Teacher:
    """Makes interaction records. Changes no model and no user's state (an item that is new gets its row)."""

    def __init__(
        self, config: PipelineConfig, knowledge: Knowledge | Arm, filters: Filters, everybodys: Models | None = None
    ) -> None:
        self._config, self._knowledge, self._filters = config, knowledge, filters
        self._everybodys = everybodys or knowledge

    def interaction(
        self,
        event: Event,
        source: Source,
        state: UserState,
        weight: float,
        event_hash: int,
        moment: Moment,
        apart: str | None = None,
    ) -> tuple[Interaction, bytes]:
        """What everybody learns from this event, and the step of the user's own vector. Changes no model.

        ``apart``: the arm that learns it too, where arms learn apart; its models are those of this teacher. The steps of the arm and
        those of everybody are each proposed by the models that will take them.
        """
        k = self._knowledge
        row = k.know(event.item_id, event.timestamp)
        self._filters.admit(row, event.item_id)
        begins = state.starts_session(event.timestamp, event.session_id, self._config.sessions.gap_s * 1000)
        items, ages, inside = state.recent(event.timestamp, k.reach)
        wanted = is_target(event, state.last_item, k.rating_max, self._config.filters.repeats)
        deltas, step = _steps(k, state, items, row, event_hash, moment, weight, wanted)
        if apart is not None:
            own = {APART + name: delta for name, delta in deltas.items()}
            deltas = own | _steps(self._everybodys, state, items, row, event_hash, moment, weight, wanted)[0]
        inside = 0 if begins else inside
        sequence = [] if begins or state.sequence == items[:inside][::-1].tolist() else state.sequence
        session = state.hash ^ (max(event.timestamp, state.last_ms) if begins else state.session_ms)
        interaction = Interaction(
            item_id=event.item_id, event_type=event.event_type, weight=weight, timestamp=event.timestamp, value=event.value,
            user=state.hash, session=session, event=event_hash, history=[k.items.ids[r] for r in items.tolist()],
            ages=ages.tolist(), in_session=inside, partition=source.partition, offset=source.offset,
            clock=k.clock + 1, deltas=deltas, before=times(state.own[: state.n], row), variant=apart, shown=self._shown(moment),
            sequence=[k.items.ids[r] for r in sequence],
        )  # fmt: skip
        return interaction, step

    def _shown(self, moment: Moment) -> list[str]:
        """Of the moment's list those items that may need trying; of its first event alone."""
        untried = self._knowledge.untried
        ids, moment.untold = moment.fresh[:K] if moment.untold and untried is not None else [], False
        return [i for i in ids if untried is not None and untried.is_untried(self._knowledge.items.row(i))]


def _steps(
    models: Models, state: UserState, recent: IntArray, row: int, event_hash: int, moment: Moment, weight: float, wanted: bool
) -> tuple[dict[str, Delta], bytes]:  # fmt: skip
    """The steps that these models ask for, by name, and that of the user's vector."""
    deltas: dict[str, Delta] = {}
    step = b""
    if weight > 0.0:
        rows, steps, user_step = models.factors.propose(state.vector, recent, row, event_hash)
        deltas["mf"] = Delta([models.items.ids[r] for r in rows.tolist()], steps.tobytes())
        step = user_step.tobytes()
    if wanted and moment.x is not None and moment.rows is not None and moment.active is not None:
        at = np.flatnonzero(moment.rows == row)
        if len(at):
            deltas["blend"] = Delta(
                [], models.blend.propose(moment.x, moment.n_rows, int(at[0]), moment.active, models.wide)
            )
    return deltas, step
