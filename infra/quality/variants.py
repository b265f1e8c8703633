"""What an ablation takes away, a variant each: a source's lists, what the blend has learned, its hidden units."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np

from streams.config import PipelineConfig
from streams.experiments import DEEP, Treatment
from streams.knowledge import Knowledge

from .runs import Setup


@dataclass(frozen=True)
class Variant:
    """The part that is taken away, a name for people, and what answers."""

    part: str
    name: str
    setup: Setup


def variants(setup: Setup, rated: bool, deep: bool) -> list[Variant]:
    """Each source off, in turn, for learning as for answers; then the blend's weights as they start, and no hidden units.

    A source that is off names nothing and its ranks are no features; what it counts stays a feature of the candidates of others. Without
    the deep model there is no version at all, so nothing of it is left.
    ``rated``: whether the log has ratings; ``deep``: whether a deep model takes part. Sources that have nothing to say are left out.
    """
    lists = Knowledge(setup.config).lists
    groups: dict[str, list[int]] = {}
    for number, name in enumerate(lists):
        groups.setdefault(name.partition("-")[0], []).append(number)
    idle = set() if rated else {"rated"}
    idle |= set() if setup.catalogue else {"category"}
    found = [
        Variant(name, f"without {name}", replace(setup, treatment=Treatment(silent=np.array(numbers, np.int32))))
        for name, numbers in groups.items()
        if name not in idle and name != DEEP
    ]
    if deep:
        found.append(Variant(DEEP, f"without {DEEP}", replace(setup, model=lambda period: None)))
    start = replace(setup, treatment=Treatment(learned=False))
    found.append(Variant("learned", "start weights, nothing learned by the blend", start))
    if setup.catalogue:
        found.append(Variant("catalogue", "without the catalogue", replace(setup, catalogue=())))
    if setup.config.blend.units:
        found.append(Variant("units", "without hidden units", replace(setup, config=without_units(setup.config))))
    return found


def without_units(config: PipelineConfig) -> PipelineConfig:
    """The same settings with a linear blend."""
    blend = msgspec.structs.replace(config.blend, units=0)
    return msgspec.structs.replace(config, blend=blend)
