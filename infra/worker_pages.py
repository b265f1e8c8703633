"""What the workers' ``/metrics`` pages say: quality by list, quality by version of the deep model, and by variant."""

from __future__ import annotations

import urllib.request
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

Page = dict[tuple[str, str], float]
"""(metric, value of its label or "") → value, of one worker."""

_PIPELINE, _MODEL, _EXPERIMENT, _END = "headrace_pipeline_", "headrace_model_", "headrace_experiment_", "_at_20"


@dataclass(frozen=True)
class Comparison:
    """A trial so far: moments compared, mean difference of NDCG@20 and the ends of its interval."""

    moments: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Served:
    """Lists that were made with a version: moments judged, and their recent NDCG@20."""

    moments: int
    ndcg: float


def get(url: str) -> bytes | None:
    """The body, or None if there is no answer."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - http://127.0.0.1 only
            body: bytes = answer.read()
            return body
    except OSError:
        return None


def scrape(addresses: Iterable[str]) -> list[Page]:
    """The pages of the workers at host:port; an empty one where there is no answer."""
    return [samples((get(f"http://{address}/metrics") or b"").decode()) for address in addresses]


def samples(text: str) -> Page:
    """The figures of pipeline, models and experiments on a page; each has one label at most.

    >>> samples('headrace_pipeline_moments 7.0\\nheadrace_model_live{version="a-1"} 1.0\\nother 1')
    {('headrace_pipeline_moments', ''): 7.0, ('headrace_model_live', 'a-1'): 1.0}
    """
    out: Page = {}
    for line in text.splitlines():
        if line.startswith((_PIPELINE, _MODEL, _EXPERIMENT)):
            left, _, value = line.rpartition(" ")
            metric, _, label = left.partition("{")
            out[metric, label.partition('="')[2].removesuffix('"}')] = float(value)
    return out


def quality(pages: Iterable[Page]) -> dict[str, dict[str, float]]:
    """List name → metric → recent value, over all workers, weighted by how many moments each has judged."""
    sums: dict[str, Counter[str]] = {}
    total = 0.0
    for page in pages:
        moments = page.get((f"{_PIPELINE}moments", ""), 0.0)
        total += moments
        for (metric, name), value in page.items():
            if name and metric.startswith(_PIPELINE) and metric.endswith(_END):
                sums.setdefault(name, Counter())[metric.removeprefix(_PIPELINE)] += value * moments  # type: ignore[assignment]
    return {name: {m: v / total for m, v in row.items()} for name, row in sums.items()} if total else {}


def by_version(pages: Iterable[Page]) -> dict[str, Served]:
    """Version ("none": no deep model) → its lists' quality, over all workers.

    >>> a, b = samples('headrace_model_moments{version="none"} 30'), samples('headrace_model_moments{version="none"} 10')
    >>> a |= samples('headrace_model_ndcg_at_20{version="none"} 0.1')
    >>> b |= samples('headrace_model_ndcg_at_20{version="none"} 0.3')
    >>> {version: (s.moments, round(s.ndcg, 6)) for version, s in by_version([a, b]).items()}
    {'none': (40, 0.15)}
    """
    moments: Counter[str] = Counter()
    sums: dict[str, float] = {}
    for page in pages:
        for (metric, version), count in page.items():
            if metric == f"{_MODEL}moments" and count:
                moments[version] += int(count)
                sums[version] = sums.get(version, 0.0) + count * page.get((f"{_MODEL}ndcg{_END}", version), 0.0)
    return {version: Served(count, sums[version] / count) for version, count in moments.items()}


def by_arm(pages: Iterable[Page]) -> dict[str, float]:
    """Experiment and variant → HR@20 of the fresh lists made under it, over all workers.

    >>> a, b = samples('headrace_experiment_moments{arm="x/a"} 30'), samples('headrace_experiment_moments{arm="x/a"} 10')
    >>> a |= samples('headrace_experiment_hr_at_20{arm="x/a"} 0.1')
    >>> b |= samples('headrace_experiment_hr_at_20{arm="x/a"} 0.3')
    >>> {arm: round(found, 6) for arm, found in by_arm([a, b]).items()}
    {'x/a': 0.15}
    """
    moments: Counter[str] = Counter()
    sums: dict[str, float] = {}
    for page in pages:
        for (metric, arm), count in page.items():
            if metric == f"{_EXPERIMENT}moments" and count:
                moments[arm] += int(count)
                sums[arm] = sums.get(arm, 0.0) + count * page.get((f"{_EXPERIMENT}hr{_END}", arm), 0.0)
    return {arm: sums[arm] / count for arm, count in sorted(moments.items())}


def comparison(pages: Iterable[Page], version: str) -> Comparison | None:
    """The version's trial at the worker that has compared most moments; None where there is no trial.

    >>> page = samples('headrace_model_trial_moments{version="a-1"} 9')
    >>> page |= samples('headrace_model_trial_difference{version="mean"} 0.5')
    >>> comparison([page, {}], "a-1")
    Comparison(moments=9, mean=0.5, low=-1.0, high=1.0)
    """
    counted = [(page.get((f"{_MODEL}trial_moments", version), 0.0), page) for page in pages]
    moments, page = max(counted, key=lambda pair: pair[0], default=(0.0, {}))
    if not moments:
        return None
    low, mean, high = (
        page.get((f"{_MODEL}trial_difference", name), other)
        for name, other in (("low", -1.0), ("mean", 0.0), ("high", 1.0))
    )
    return Comparison(int(moments), mean, low, high)
