"""What a pipeline says of itself to whoever watches it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .pipeline import Pipeline


def figures(pipeline: Pipeline, held: int) -> dict[str, float | dict[str, float]]:
    """Figures for monitoring, by name. ``held``: interactions held back."""
    k, q, sessions = pipeline.knowledge, pipeline.prequential, pipeline.sessions
    report = k.blend_report()
    out: dict[str, float | dict[str, float]] = {name: float(n) for name, n in pipeline.counts.items()}
    for column, metric in enumerate(("hr_at_20", "recall_at_20", "mrr_at_20", "ndcg_at_20")):
        out[metric] = dict(zip(q.names, q.recent[:, column].tolist(), strict=True))
    return out | {
        "catalogue": pipeline.catalogue.sizes() | k.shelf.sizes(),
        "moments": float(q.scored), "items": float(len(k.items)), "cached_users": float(len(sessions)),
        "held_interactions": float(held), "open_moments": float(len(pipeline.moments)),
        "intent_samples": float(k.intent.n_learned),
        "blend_weight": report["weights"], "blend_updates": report["updates"],
        "model_bytes": dict(k.memory()), "drift_alarms": k.alarms, "drifts_worse": float(pipeline.watch.worse),
        "steps_left_out": dict(k.misfits),
        "interactions_too_late": float(k.offsets.beyond), "states_refused": float(sessions.refused),
        "factors_left_out": float(sessions.misfits),
    }  # fmt: skip
