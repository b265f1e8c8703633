"""Results as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from online_models.expected import NAMES

from .summary import SHOWN

Row = Sequence[str]


def share(value: float) -> str:
    """A figure between 0 and 1, or a difference of two.

    >>> share(0.50214), share(1.0), share(-0.0123)
    ('.5021', '1.0000', '-.0123')
    """
    return f"{value:.4f}".replace("0.", ".", 1) if abs(value) < 0.99995 else f"{value:.4f}"


def within(found: dict[str, float]) -> str:
    """A mean and its interval."""
    return f"{share(found['mean'])} ({share(found['low'])} – {share(found['high'])})"


def table(head: Row, rows: Iterable[Row]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def label(name: str) -> str:
    """A metric as it is written.

    >>> label("mrr@20"), label("recall@20")
    ('MRR@20', 'Recall@20')
    """
    return name.capitalize() if name.startswith("recall") else name.upper()


def page(results: Sequence[dict[str, Any]]) -> str:
    """All tables of the results."""
    return "\n\n".join([*_tracks(results), *(part for result in results for part in _parts(result))]) + "\n"


def _tracks(results: Sequence[dict[str, Any]]) -> list[str]:
    rows, more = [], []
    for result in results:
        for track, found in result["tracks"].items():
            name = [result["set"], track]
            rows.append([*name, f"{found['queries']:,}", *(within(found["metrics"][m]) for m in NAMES)])
            known, bias = found["known items"], found["popularity"]["bias"]
            figures = [share(known["metrics"][m]["mean"]) if known["metrics"] else "–" for m in SHOWN]
            more.append(
                [*name, share(found["coverage@20"]), f"{bias:.2f}" if bias else "–", f"{known['queries']:,}", *figures]
            )
    head = ["set", "track"]
    return [
        table([*head, "queries", *map(label, NAMES)], rows),
        table([*head, "coverage@20", "popularity bias", "queries of known items", *map(label, SHOWN)], more),
    ]


def _parts(result: dict[str, Any]) -> list[str]:
    out = []
    for track, found in result["tracks"].items():
        title = f"{result['set']}, {track}"
        if found["periods"]:
            rows = [[period, *(share(values[m]) for m in NAMES)] for period, values in found["periods"].items()]
            out.append(f"{title}, by period:\n\n" + table(["period", *map(label, NAMES)], rows))
        rows = [
            [name, part, f"{values['queries']:,}", *(share(values[m]) for m in SHOWN)]
            for name, parts in found["slices"].items()
            for part, values in parts.items()
        ]
        out.append(f"{title}, by slice:\n\n" + table(["slice", "part", "queries", *map(label, SHOWN)], rows))
        if "ablation" in result:
            changes = [[a["name"], *(within(a["difference"][track][m]) for m in SHOWN)] for a in result["ablation"]]
            out.append(
                f"{title}, what each part is worth (less than everything):\n\n"
                + table(["variant", *map(label, SHOWN)], changes)
            )
    if "lag" in result:
        late = [
            [
                lag["lag"],
                part,
                *(within(lag[part]["metrics"][m]) for m in SHOWN),
                within(lag[part]["difference"]["ndcg@20"]),
            ]
            for lag in result["lag"]
            for part in ("models late", "everything late")
        ]
        head = ["learned after", "what", *map(label, SHOWN), "NDCG@20, difference"]
        out.append(f"{result['set']}, what freshness is worth:\n\n" + table(head, late))
    return out
