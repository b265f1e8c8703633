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

    Who shrinks gives to who grows where their ranges touch, so that the end between the two moves and there are as many ranges as
    before, or fewer. Only where none touch is a range cut. What nobody has counts as one more variant. Without ``before`` the variants
    stand one after the other.

    >>> first = allocate({"control": 900_000, "new": 100_000})
    >>> first
    (('control', 900000), ('new', 1000000))
    >>> allocate({"control": 800_000, "new": 200_000}, first)
    (('control', 800000), ('new', 1000000))
    """
    if not before:
        whole = [*wanted.items(), (None, BUCKETS - sum(wanted.values()))]
        ends = np.cumsum([size for _, size in whole]).tolist()
        return tuple((owner, end) for (owner, size), end in zip(whole, ends, strict=True) if size)
    pieces = [(owner, end - start) for (owner, end), start in zip(before, _starts(before), strict=True)]
    missing: dict[str | None, int] = dict.fromkeys([owner for owner, _ in before], 0)
    missing[None] = BUCKETS - sum(wanted.values())
    for name, n in wanted.items():
        missing[name] = n
    for owner, size in pieces:
        missing[owner] -= size
    while any(missing.values()):
        pieces = _joined(_move(pieces, missing))
    return tuple(zip((owner for owner, _ in pieces), np.cumsum([size for _, size in pieces]).tolist(), strict=True))


_Piece = tuple[str | None, int]
"""Owner and size."""


def _move(pieces: list[_Piece], missing: dict[str | None, int]) -> list[_Piece]:
    """One step from an owner who has too many (negative ``missing``) to one who has too few.

    First over the end between two ranges that touch: a whole range if that can be, else as much as can be. Each step leaves one range less,
    or one owner less that has not what it should. Where no two of them touch, the largest range of a giver is cut at its end, so that
    these two touch from now on: that is why ranges do not become many more than there are pairs of variants.
    """
    best, step = (False, 0), None
    for left in range(len(pieces) - 1):
        for giver, taker in ((left, left + 1), (left + 1, left)):
            (owner, size), to = pieces[giver], pieces[taker][0]
            n = min(-missing[owner], missing[to], size)
            if n > 0 and (n == size, n) > best:
                best, step = (n == size, n), (giver, taker, n)
    if step is not None:
        giver, taker, n = step
        (owner, size), (to, room) = pieces[giver], pieces[taker]
        pieces[giver], pieces[taker] = (owner, size - n), (to, room + n)
    else:
        giver = max((i for i, (owner, _) in enumerate(pieces) if missing[owner] < 0), key=lambda i: pieces[i][1])
        (owner, size), to = pieces[giver], max(missing, key=lambda o: missing[o])
        n = min(-missing[owner], missing[to], size)
        pieces[giver : giver + 1] = [(owner, size - n), (to, n)]
    missing[owner] += n
    missing[to] -= n
    return pieces


def _joined(pieces: Iterable[_Piece]) -> list[_Piece]:
    out: list[_Piece] = []
    for owner, size in pieces:
        if size and out and out[-1][0] == owner:
            out[-1] = (owner, out[-1][1] + size)
        elif size:
            out.append((owner, size))
    return out


def _starts(ranges: Ranges) -> list[int]:
    return [0, *(end for _, end in ranges[:-1])]


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
