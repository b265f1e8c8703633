"""What may be concluded from a read-out, in one sentence with its figures; and why an experiment should be stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from online_models.experiments import srm
from online_models.experiments.effects import Effect, NoResult
from online_models.experiments.guardrails import Verdict
from online_models.experiments.intervals import Interval

from .shares import Split

if TYPE_CHECKING:
    from .result import Compared, GuardResult, MetricResult

Decision = Literal["no result yet", "better", "worse", "mismatch", "harm"]

AGAIN = "Look again at any time."


def p_words(p: float) -> str:
    """A p-value with its sign; one that would be rounded to 0 or 1 is said to be below or above.

    >>> p_words(0.03124), p_words(3e-45), p_words(1.0)
    ('= 0.0312', '< 0.0001', '> 0.9999')
    """
    return "< 0.0001" if p < 0.0001 else "> 0.9999" if p > 0.9999 else f"= {p:.4f}"


def between(interval: Interval) -> str:
    """An interval of a relative effect, in percent.

    >>> between(Interval(-0.012, 0.034, 0.4, 0.05))
    '-1.2% to +3.4%'
    """
    return f"{interval.low:+.1%} to {interval.high:+.1%}"


def reason_to_stop(guards: Sequence[GuardResult], splits: Sequence[Split]) -> str:
    """Shares that do not match, or else a guardrail that is breached; nothing where there is neither."""
    for s in splits:
        if isinstance(s.always, srm.Mismatch) and s.always.alarm:
            return f"shares of the variants do not match (p {p_words(s.always.p_value)}): {_counted(s)}"
    for g in guards:
        if g.found.verdict is Verdict.BREACHED:
            return f"{g.variant} harms {g.metric}: {g.found.high:+.1%} at most, the margin is {-g.margin:.1%}"
    return ""


def of_variants(
    primary: MetricResult, splits: Sequence[Split], guards: Sequence[GuardResult], alpha: float
) -> tuple[Decision, str]:
    """Of units that have one variant each."""
    stop = reason_to_stop((), splits)
    if stop:
        return "mismatch", f"No effect is to be believed: {stop}. Find out where units are lost."
    breached = reason_to_stop(guards, ())
    if breached:
        return "harm", f"{breached}."
    sure = [c for c in primary.variants if c.adjusted_p is not None and c.adjusted_p < alpha and c.always is not None]
    if not sure:
        return "no result yet", _not_yet(primary, alpha)
    best = max(sure, key=lambda c: c.effect.estimate if isinstance(c.effect, Effect) else 0.0)
    assert best.always is not None  # noqa: S101
    decision: Decision = "better" if best.always.low > 0.0 else "worse"
    text = (
        f"{best.variant} is {decision} in {primary.metric}: {between(best.always)}, however often this was looked at."
    )
    return decision, text


def _not_yet(primary: MetricResult, alpha: float) -> str:
    """Where the variant that is nearest to a result stands, and what is missing."""
    judged = [c for c in primary.variants if c.always is not None and c.adjusted_p is not None]
    if not judged:
        why = next((c.effect.message for c in primary.variants if isinstance(c.effect, NoResult)), "")
        return f"No result yet{': ' + why if why else ''}. {AGAIN}"
    nearest = min(judged, key=_p_of)
    assert nearest.always is not None  # noqa: S101
    others = f" (of {len(judged)} variants the nearest)" if len(judged) > 1 else ""
    told = f"{nearest.variant}{others} is at {between(nearest.always)} in {primary.metric}"
    if nearest.always.excludes_zero:
        missing = f"p {p_words(_p_of(nearest))}, adjusted for {len(judged)} variants, is not below {alpha:.2g}"
    else:
        missing = "the interval has to leave out zero"
    return f"No result yet: {told}, and {missing}. {AGAIN}"


def _p_of(found: Compared) -> float:
    return 1.0 if found.adjusted_p is None else found.adjusted_p


def of_preference(one: str, other: str, effect: Effect | NoResult, found: Interval | None) -> tuple[Decision, str]:
    """Of lists that the variants share."""
    if isinstance(effect, NoResult) or found is None:
        return "no result yet", f"No result yet: {effect.message}." if isinstance(
            effect, NoResult
        ) else "No result yet."
    if not found.excludes_zero:
        told = f"the preference for {other} is at {between(found)}, and the interval has to leave out zero"
        return "no result yet", f"No result yet: {told}. {AGAIN}"
    liked, less = (other, one) if found.low > 0.0 else (one, other)
    low, high = sorted((abs(found.low), abs(found.high)))
    verdict = f"{liked} is preferred: of the lists with a click it wins {low:.1%} to {high:.1%} more than {less}."
    return ("better" if found.low > 0.0 else "worse"), verdict


def _counted(s: Split) -> str:
    whole = sum(s.shares.values())
    n = sum(s.units.values())
    return ", ".join(f"{v} {s.units[v]} of {n * share / whole:.0f} expected" for v, share in s.shares.items())
