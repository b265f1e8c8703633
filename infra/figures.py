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
    """The figures of a replay's report by the name of the list: the fresh one, the served one, each source."""
    return {FRESH: report["metrics"], SERVED: report["served"], **report["by_source"]}
