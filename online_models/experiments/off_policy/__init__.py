"""Off-policy evaluation: what another policy would have earned, from the log of the one that ran."""

from __future__ import annotations

from .estimators import dm, dr, dros, evaluate, ipw, on_policy, replay, sndr, snipw, switch_dr
from .logged import Logged, effective_sample_size
from .results import GIVEN, Estimate, Inference, NoEstimate, Result
from .reward_model import CellMeans
from .slate import SlateLog, cascade_dr, independent_ips, reward_interaction_ips, standard_ips

__all__ = [
    "GIVEN",
    "CellMeans",
    "Estimate",
    "Inference",
    "Logged",
    "NoEstimate",
    "Result",
    "SlateLog",
    "cascade_dr",
    "dm",
    "dr",
    "dros",
    "effective_sample_size",
    "evaluate",
    "independent_ips",
    "ipw",
    "on_policy",
    "replay",
    "reward_interaction_ips",
    "sndr",
    "snipw",
    "standard_ips",
    "switch_dr",
]
