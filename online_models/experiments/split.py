"""Which variant a unit gets: a pure function of salt, unit and the ranges of buckets that each variant owns.

    bucket = floor(XXH64(unit, seed = XXH64(salt, seed = 0)) * 1,000,000 / 2^64)

of the UTF-8 bytes of both, as XXH64 (Collet, the xxHash specification) is to be had in every language; see the test vectors in
`tests/online_models/experiments/test_split.py`. A variant owns ranges of buckets. When shares change, a variant that grows keeps
every bucket it has and gets those that others give up, so no unit leaves a variant that grows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat

import numpy as np
import numpy.typing as npt
from xxhash import xxh64_intdigest

from online_models.errors import InputError

BUCKETS = 1_000_000
"""A share is a whole number of these."""

Ranges = tuple[tuple[str | None, int], ...]
"""Owner and end (exclusive) of ranges of buckets that follow each other from 0 on; None owns what is left out."""


def seed_of(salt: str) -> int:
    """The seed that stands for a salt."""
    return int(xxh64_intdigest(salt.encode()))


def bucket(seed: int, unit: str) -> int:
    """The bucket of a unit, from 0 to 999,999.

    >>> bucket(seed_of("checkout"), "u1") == bucket(seed_of("checkout"), "u1") != bucket(seed_of("other"), "u1")
    True
    """
    return int(xxh64_intdigest(unit.encode("utf-8", "surrogatepass"), seed)) * BUCKETS >> 64


def counts(shares: Mapping[str, float], traffic: float = 1.0) -> dict[str, int]:
    """How many buckets each variant gets, by largest remainder; ``shares`` are relative, ``traffic`` what they divide.

    >>> counts({"control": 90, "new": 10}), counts({"a": 1, "b": 1, "c": 1}, traffic=0.5)
    ({'control': 900000, 'new': 100000}, {'a': 166667, 'b': 166667, 'c': 166666})
    """
    total = sum(shares.values())
    if not (shares and total > 0.0 and np.isfinite(total) and min(shares.values()) >= 0.0 and 0.0 <= traffic <= 1.0):
        raise InputError(
            "shares of 0 or more that sum to more than 0, and traffic from 0 to 1", f"{dict(shares)}, traffic {traffic}",
            "correct the weights",
        )  # fmt: skip
    whole = round(traffic * BUCKETS)
    exact = {name: share / total * whole for name, share in shares.items()}
    found = {name: int(value) for name, value in exact.items()}
    order = sorted(shares, key=lambda name: found[name] - exact[name])  # largest remainder first, ties as they stand
    for name in order[: whole - sum(found.values())]:
        found[name] += 1
    return found


def allocate(wanted: Mapping[str, int], before: Ranges = ()) -> Ranges:
    """Ranges with as many buckets for each variant as ``wanted``; nobody who keeps or gains loses one of ``before``.

    Who shrinks gives up the ends of its ranges, the last first; who grows takes what is free from the lowest bucket on. Without
    ``before`` the variants stand one after the other.

    >>> first = allocate({"control": 900_000, "new": 100_000})
    >>> first
    (('control', 900000), ('new', 1000000))
    >>> allocate({"control": 800_000, "new": 200_000}, first)
    (('control', 800000), ('new', 1000000))
    """
    pieces = _kept(wanted, before)
    missing = {name: n - sum(stop - start for o, start, stop in pieces if o == name) for name, n in wanted.items()}
    given: list[tuple[str | None, int, int]] = []
    for owner, start, stop in pieces:
        at = start
        while (
            owner is None and at < stop and (name := next((n for n, m in missing.items() if m > 0), None)) is not None
        ):
            taken = min(missing[name], stop - at)
            given.append((name, at, at + taken))
            missing[name] -= taken
            at += taken
        if at < stop:
            given.append((owner, at, stop))
    return _joined(given)


def _kept(wanted: Mapping[str, int], before: Ranges) -> list[tuple[str | None, int, int]]:
    """Pieces (owner, start, stop) of what everybody keeps, and of what is free."""
    spare = dict.fromkeys((owner for owner, _ in before if owner is not None), 0)
    pieces = []
    start = 0
    for owner, stop in before or ((None, BUCKETS),):
        pieces.append((owner, start, stop))
        if owner is not None:
            spare[owner] += stop - start
        start = stop
    spare = {owner: max(have - wanted.get(owner, 0), 0) for owner, have in spare.items()}
    kept: list[tuple[str | None, int, int]] = []
    for owner, start, stop in reversed(pieces):
        lost = min(spare[owner], stop - start) if owner is not None else 0
        if owner is not None:
            spare[owner] -= lost
        kept += [(None, stop - lost, stop), (owner, start, stop - lost)]
    return [piece for piece in reversed(kept) if piece[1] < piece[2]]


def _joined(pieces: Iterable[tuple[str | None, int, int]]) -> Ranges:
    out: list[tuple[str | None, int]] = []
    for owner, _, stop in pieces:
        if out and out[-1][0] == owner:
            out.pop()
        out.append((owner, stop))
    return tuple(out)


class Split:
    """Units to variants. ``ranges`` must cover all buckets.

    >>> split = Split("s1", allocate(counts({"control": 90, "new": 10})))
    >>> split.variant("u1"), split.variants(["u1", "u2", "u3"])
    ('control', ['control', 'control', 'new'])
    """

    def __init__(self, salt: str, ranges: Ranges) -> None:
        ends = [end for _, end in ranges]
        if not ends or ends[-1] != BUCKETS or any(a >= b for a, b in zip([0, *ends], ends, strict=False)):
            raise InputError(f"ranges that rise to {BUCKETS}", str(ends), "make them with `allocate`")
        self.seed, self.ranges = seed_of(salt), ranges
        self._ends = ends
        self._owners = [owner for owner, _ in ranges]

    def variant(self, unit: str) -> str | None:
        """The variant of a unit; None: it takes no part."""
        return self._owners[bisect_right(self._ends, bucket(self.seed, unit))]

    def variants(self, units: Sequence[str]) -> list[str | None]:
        """The same for many units at once."""
        owners = np.array(self._owners, object)
        found: list[str | None] = owners[np.searchsorted(self._ends, self.buckets(units), side="right")].tolist()
        return found

    def buckets(self, units: Sequence[str]) -> npt.NDArray[np.int64]:
        """The bucket of each unit [units]."""
        n = len(units)
        hashes = np.fromiter(map(xxh64_intdigest, map(_utf8, units), repeat(self.seed, n)), np.uint64, n)
        # In halves, since 64 bits do not hold h * B: floor(h B / 2^64) = floor((high B + floor(low B / 2^32)) / 2^32)
        high, low, b = hashes >> np.uint64(32), hashes & np.uint64(0xFFFFFFFF), np.uint64(BUCKETS)
        return ((high * b + (low * b >> np.uint64(32))) >> np.uint64(32)).astype(np.int64)

    def shares(self) -> dict[str, float]:
        """Share of all units, by variant."""
        out: dict[str, float] = {}
        start = 0
        for owner, end in self.ranges:
            if owner is not None:
                out[owner] = out.get(owner, 0.0) + (end - start) / BUCKETS
            start = end
        return out


def _utf8(unit: str) -> bytes:
    return unit.encode("utf-8", "surrogatepass")
