"""An experiment as text for people: how it stands, and what its definition says beyond the defaults, as YAML that starts it again."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import msgspec
import yaml

from infra.experiment_faults import TIMES
from infra.records import when
from infra.text import printable
from online_models.experiments.split import Split
from streams.contracts.experiments import Experiment, Ramp

SHOWN_RAMPS = 20
"""The latest ones."""
SHOWN_RANGES = 40


def as_text(e: Experiment) -> str:
    """Lines of comments, then the definition as YAML."""
    d = e.definition
    told = f": {printable(e.reason)}" if e.reason else ""
    lines = [
        f"{e.state}; {shares(e)}; changed {when(e.changed)} by {printable(e.by)}{told}",
        f"begun {when(e.created)}",
    ]
    earlier = e.ramps[:-1]
    if len(earlier) > SHOWN_RAMPS or e.ramps[0].number:
        lines.append(f"{e.ramps[-1].number} changes of shares, the latest {min(len(earlier), SHOWN_RAMPS)} are shown")
    lines += [f"from {when(old.since)}: {_shares(e, old)}" for old in earlier[-SHOWN_RAMPS:]]
    lines.append(f"salt {printable(d.the_salt)!r}{'' if d.salt else ' (the name)'}; buckets {_buckets(e.ranges)}")
    if e.slot is not None:
        lines.append(f"of layer {d.layer}: its buckets {e.slot[0]} to {e.slot[1] - 1}")
    lines += [f"version {name} of the deep model: {printable(found.uri)}" for name, found in e.models.items()]
    written = {
        name: _date(value) if name in TIMES and isinstance(value, int) else value for name, value in what_was_set(d).items()
    }  # fmt: skip
    text = yaml.safe_dump(written, sort_keys=False, allow_unicode=True)
    return "\n".join([*(f"# {line}" for line in lines), text.rstrip()])


def what_was_set(value: Any) -> Any:
    """Plain values of a record, without the fields that are as they are by default.

    >>> from streams.contracts.experiments import Definition, Variant
    >>> what_was_set(Definition(name="x", variants=(Variant(name="a"), Variant(name="b", weight=3)), traffic=1.0))
    {'name': 'x', 'variants': [{'name': 'a'}, {'name': 'b', 'weight': 3}]}
    """
    if isinstance(value, msgspec.Struct):
        fields = ((f, getattr(value, f.name)) for f in msgspec.structs.fields(value))
        return {f.encode_name: what_was_set(found) for f, found in fields if f.required or found != _default(f)}
    if isinstance(value, tuple):
        return [what_was_set(part) for part in value]
    return value


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def shares(e: Experiment) -> str:
    """Share of all units (of its layer's slot, where it has one), by variant."""
    return _shares(e, e.ramps[-1])


def _shares(e: Experiment, ramp: Ramp) -> str:
    found = Split("", ramp.ranges).shares()
    return ", ".join(f"{v.name} {found.get(v.name, 0.0):.4g}" for v in e.definition.variants)


def _buckets(ranges: tuple[tuple[str | None, int], ...]) -> str:
    if len(ranges) > SHOWN_RANGES:
        return f"in {len(ranges)} ranges (see --json)"
    starts = [0, *(end for _, end in ranges)]
    return ", ".join(
        f"{start} to {end - 1} {owner or '-'}" for (owner, end), start in zip(ranges, starts, strict=False)
    )


def _date(ms: int) -> int | str:
    try:
        found = datetime.fromtimestamp(ms / 1000, timezone.utc)
    except (OverflowError, ValueError, OSError):
        return ms
    return found.isoformat(timespec="milliseconds" if ms % 1000 else "seconds").replace("+00:00", "Z")
