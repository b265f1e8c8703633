"""What is wrong with a definition, for whoever wrote it: which field, what was found there, what is allowed, and what to do."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

import msgspec.inspect as types

from online_models.errors import InputError
from streams.contracts.experiments import Definition

TIMES = ("start", "end")
A_TIME = "a date such as 2026-02-01 or 2026-02-01T12:00:00Z (UTC unless it names a zone), or ms since the epoch"
LARGEST = 2**63
OPTIONAL = "remove the field, or correct it"


def fault_in(table: Any, where: str) -> InputError | None:
    """The first thing in ``table`` (as read from YAML) that keeps it from being a `Definition`; ``where`` names the file.

    >>> table = {"name": "x", "variants": [{"name": "a"}, {"name": "b", "sorces": ["knn"]}]}
    >>> str(fault_in(table, "x.yaml")).partition(" (")[0]
    'expected a field of variants[1]'
    >>> str(fault_in(table, "x.yaml")).partition("), ")[2]
    'got `sorces` in x.yaml; write `sources`'
    """
    found = next(_faults(table, types.type_info(Definition), ""), None)
    if found is None:
        return None
    expected, actual, place, remedy = found
    return InputError(expected, f"{actual}{f' at {place}' if place else ''} in {where}", remedy)


Fault = tuple[str, str, str, str]
"""Expected, found, where, remedy."""


def _faults(value: Any, kind: types.Type, place: str) -> Iterator[Fault]:
    if isinstance(kind, types.UnionType):
        if value is not None:
            yield from _faults(value, next(t for t in kind.types if not isinstance(t, types.NoneType)), place)
    elif isinstance(kind, types.StructType):
        yield from _faults_of_fields(value, kind, place)
    elif isinstance(kind, types.VarTupleType):
        if not isinstance(value, list) or not _within(len(value), kind.min_length, kind.max_length):
            found = f"{len(value)} of them" if isinstance(value, list) else _shown(value)
            yield in_words(kind, place), found, place, "write a list: `[first, second]`, or a line `- …` for each"
        else:
            for n, part in enumerate(value):
                yield from _faults(part, kind.item_type, f"{place}[{n}]")
    elif isinstance(kind, types.DictType):
        if not isinstance(value, dict) or not _within(len(value), None, kind.max_length):
            yield in_words(kind, place), _shown(value), place, "write `{key: value}`, or a line `key: value` for each"
        else:
            for key, part in value.items():
                yield from _faults(key, kind.key_type, f"key {_shown(key)} of {place}")
                yield from _faults(part, kind.value_type, f"{place}.{key}")
    elif not _is(value, kind):
        yield in_words(kind, place), _shown(value), place, _remedy(value, kind)


def _faults_of_fields(value: Any, kind: types.StructType, place: str) -> Iterator[Fault]:
    fields = {field.encode_name: field for field in kind.fields}
    if not isinstance(value, dict):
        yield (
            f"{in_words(kind, place)} ({', '.join(fields)})",
            _shown(value),
            place,
            "write a line `field: value` for each",
        )
        return
    of = f"of {place}" if place else "of an experiment"
    for name in value:
        if name not in fields:
            close = get_close_matches(str(name), fields, 1)
            remedy = f"write `{close[0]}`" if close else "remove it"
            yield f"a field {of} ({', '.join(fields)})", f"`{name}`", "", remedy
    for name, field in fields.items():
        at = f"{place}.{name}" if place else name
        if name in value:
            yield from _faults(value[name], field.type, at)
        elif field.required:
            yield f"a field `{name}` {of}: {in_words(field.type, at)}", "none", "", "add it"


def in_words(kind: types.Type, place: str = "") -> str:
    """What is allowed, for people."""
    if place in TIMES:
        return A_TIME
    if isinstance(kind, types.UnionType):
        return in_words(next(t for t in kind.types if not isinstance(t, types.NoneType)))
    if isinstance(kind, types.LiteralType):
        return f"one of {', '.join(map(str, kind.values))}"
    if isinstance(kind, types.BoolType):
        return "true or false"
    if isinstance(kind, types.StrType):
        if kind.pattern:
            return f"a name of 1 to {kind.max_length} letters, digits, `.`, `_` or `-` that begins with neither `.` nor `-`"
        return f"text of at most {kind.max_length} characters" if kind.max_length else "text"
    if isinstance(kind, types.IntType | types.FloatType):
        what = "a whole number" if isinstance(kind, types.IntType) else "a number"
        low = f"from {kind.ge:.10g}" if kind.ge is not None else f"above {kind.gt:.10g}" if kind.gt is not None else ""
        high = f"to {kind.le:.10g}" if kind.le is not None else f"below {kind.lt:.10g}" if kind.lt is not None else ""
        return " ".join(filter(None, (what, low, high)))
    if isinstance(kind, types.VarTupleType):
        size = f" of {kind.min_length} to {kind.max_length}" if kind.min_length else ""
        size = size or (f" of at most {kind.max_length}" if kind.max_length else "")
        return f"a list{size}, each {in_words(kind.item_type)}"
    if isinstance(kind, types.DictType):
        size = f"at most {kind.max_length} " if kind.max_length else ""
        return f"{size}lines `key: value`, each value {in_words(kind.value_type)}"
    return "fields with their values"


def _is(value: Any, kind: types.Type) -> bool:
    """Whether a plain value is of its kind, and within its bounds."""
    if isinstance(kind, types.LiteralType):
        return value in kind.values
    if isinstance(kind, types.BoolType):
        return isinstance(value, bool)
    if isinstance(kind, types.StrType):
        whole = isinstance(value, str) and _within(len(value), kind.min_length, kind.max_length)
        return whole and (kind.pattern is None or re.search(kind.pattern, value) is not None)
    if isinstance(kind, types.IntType | types.FloatType):
        plain = int if isinstance(kind, types.IntType) else (int, float)
        if isinstance(value, bool) or not isinstance(value, plain) or not abs(value) < LARGEST:
            return False
        above = (kind.gt is None or value > kind.gt) and (kind.lt is None or value < kind.lt)
        return above and _within(value, kind.ge, kind.le)
    return True


def _within(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _remedy(value: Any, kind: types.Type) -> str:
    if isinstance(kind, types.LiteralType) and (close := get_close_matches(str(value), map(str, kind.values), 1)):
        return f"write `{close[0]}`"
    if isinstance(kind, types.StrType) and isinstance(value, bool | int | float):
        return f'quote it: "{value}"'
    if isinstance(kind, types.FloatType) and kind.le == 1 and isinstance(value, int | float) and 1 < value <= 100:
        return f"{value:g} % is {value / 100:g}"
    return "remove the field, or give it a value" if value is None else "correct it"


def _shown(value: Any) -> str:
    return "nothing" if value is None else reprlib.repr(value)
