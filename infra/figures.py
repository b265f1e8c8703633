"""How lists and figures are called wherever a person reads them: terminal, demo and report page say the same."""

from __future__ import annotations

from typing import Any

from streams.prequential import FRESH, SERVED

LISTS = {FRESH: "fresh (blend)", SERVED: "served"}
"""Lists that are no single source: the name in metrics and curves → the name that is shown."""

FIGURES = {
    "hr@20": "HR@20",
    "recall@20": "Recall@20",
    "mrr@20": "MRR@20",
    "ndcg@20": "NDCG@20",
    "coverage@20": "Coverage@20",
}
"""The key of a figure in the report → the name that is shown."""


def by_list(report: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The figures of a replay's report by the name of the list: the fresh one, the served one, each source that named anything.

    A source that never answered (no version of the deep model, no ratings) has no quality, not one of 0.
    """
    return {FRESH: report["metrics"], SERVED: report["served"]} | {s: report["by_source"][s] for s in answering(report)}


def silent(report: dict[str, Any]) -> list[str]:
    """The other sources."""
    return sorted(set(report["by_source"]) - set(answering(report)))


def answering(report: dict[str, Any]) -> list[str]:
    """The sources of which any list ever named an item."""
    return [name for name, figures in report["by_source"].items() if figures["coverage@20"] > 0.0]
