"""Will this session end in a cart or a purchase? A River pipeline that answers at each event.

``SessionFacts → HashedFacts → LogisticRegression(AdaGrad)``. Every fact becomes the index of one bucket with value 1:
nothing has to be scaled, no outlier pulls a weight, a sample is a few dozen bytes, and a linear model can bend. Known
facts own their indices; words (context, other event types) share the rest by hashing (Weinberger et al., ICML 2009), so
the state is bounded. AdaGrad (Duchi et al., JMLR 2011) gives rare buckets larger steps; its step costs what the sample
has in features, where River's Adam and RMSProp walk over all weights ever seen.
"""

from __future__ import annotations

import math
import struct
import zlib
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from river import base, compose, linear_model, optim, utils

from .base import Arrays
from .errors import InputError, SnapshotError

Features = dict[int, float]

SIZE = 1 << 12
"""Indices of features are below this."""
LAYOUT = 2
"""Raise it whenever a fact gets another index: samples and snapshots of another layout are refused."""
MAX_WORDS, MAX_LENGTH = 16, 64
"""At most so many entries of a context count, and so many characters of each."""

_TYPES = ("impression", "view", "click", "like", "cart", "purchase", "rating", "return")
_TYPE = {name: i for i, name in enumerate(_TYPES)}
_OTHER, _NO_TYPE = len(_TYPES), len(_TYPES) + 1
_COUNT = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128)
_FEW = (1, 2, 3, 5, 8, 16)
_LENGTH = (10, 30, 60, 120, 300, 600, 1200, 2400, 3600, 7200)
_IDLE = (1, 3, 10, 30, 60, 180, 600, 1800, 21_600, 86_400, 604_800)
_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_LOW, _HIGH = -3, 16
"""Values are told apart by powers of two from 2**_LOW to 2**_HIGH."""

_N_COUNT, _N_FEW, _N_RATE = len(_COUNT) + 1, len(_FEW) + 1, 7
_SIZES = (
    _N_COUNT, (_OTHER + 1) * _N_FEW, _N_COUNT, 6, len(_LENGTH) + 1, len(_IDLE) + 2, 24, 7, _NO_TYPE + 1,
    _HIGH - _LOW + 3, _N_COUNT, _N_FEW, _N_RATE, _N_COUNT * _N_RATE, (_NO_TYPE + 1) * _N_COUNT,
)  # fmt: skip
(
    _EVENTS, _KINDS, _DISTINCT, _REPEATS, _SESSION, _SILENCE, _HOUR, _WEEKDAY, _LAST,
    _VALUE, _SESSIONS, _CONVERSIONS, _RATE, _EVENTS_BY_RATE, _LAST_BY_DISTINCT, _WORDS,
) = accumulate(_SIZES, initial=0)  # fmt: skip
"""Where each fact's indices begin, in the order of ``_SIZES``; words take what is left."""


class SessionFacts(NamedTuple):
    """What is known of a session at one moment; folded from its events by whoever owns the user."""

    n_events: int = 0
    """Events of the session so far."""
    types: Mapping[str, int] = {}
    """How many of each event type."""
    n_distinct: int = 0
    """Distinct items of the session."""
    session_s: float = 0.0
    """Seconds since its first event."""
    idle_s: float | None = None
    """Seconds since the user's latest event; None for a user never seen."""
    timestamp: int = 0
    """Now, ms since the epoch, UTC: hour and weekday."""
    last_type: str = ""
    """Type of the latest event."""
    value: float | None = None
    """Latest value or price seen."""
    n_sessions: int = 0
    """Earlier sessions of the user."""
    n_conversions: int = 0
    """Earlier conversions of the user."""
    context: Mapping[str, Any] = {}
    """Device, country, page …: strings, numbers or booleans; anything else is passed over."""


class HashedFacts(base.Transformer):  # type: ignore[misc]
    """River transformer: `SessionFacts` → indices of their buckets, each with value 1. Stateless.

    Python's own hash, which is salted, plays no part: ``seed`` alone decides where words land.

    >>> x = HashedFacts().transform_one(SessionFacts(n_events=2, types={"view": 2}, context={"device": "phone"}))
    >>> len(x), set(x.values()), all(0 <= i < SIZE for i in x)
    (16, {1.0}, True)
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def transform_one(self, x: SessionFacts) -> Features:
        """The sparse one-hot vector. Raises InputError on a value or time that is not finite."""
        n, types, n_distinct, session_s, idle_s, timestamp, last_type, value, n_sessions, n_conversions, context = x
        if not (math.isfinite(session_s) and math.isfinite(idle_s or 0.0) and math.isfinite(value or 0.0)):
            raise InputError("finite times and value", f"{session_s}, {idle_s}, {value}", "drop the event")
        events = bisect_right(_COUNT, n)
        distinct = bisect_right(_COUNT, n_distinct)
        rate = 1 + min(5 * n_conversions // n_sessions, 5) if n_sessions > 0 else 0
        last = _TYPE.get(last_type, _OTHER) if last_type else _NO_TYPE
        found = [
            _EVENTS + events,
            _DISTINCT + distinct,
            _SESSION + bisect_right(_LENGTH, session_s),
            _SILENCE + (len(_IDLE) + 1 if idle_s is None else bisect_right(_IDLE, idle_s)),
            _HOUR + timestamp // _HOUR_MS % 24,
            _WEEKDAY + timestamp // _DAY_MS % 7,
            _LAST + last,
            _VALUE + self._value(value),
            _SESSIONS + bisect_right(_COUNT, n_sessions),
            _CONVERSIONS + bisect_right(_FEW, n_conversions),
            _RATE + rate,
            _EVENTS_BY_RATE + _N_RATE * events + rate,
            _LAST_BY_DISTINCT + _N_COUNT * last + distinct,
        ]
        if n > 0:
            found.append(_REPEATS + min(max(5 * (n - n_distinct) // n, 0), 5))
        others = 0
        for name, count in types.items():
            known = _TYPE.get(name)
            if known is None:
                others += count
            else:
                found.append(_KINDS + _N_FEW * known + bisect_right(_FEW, count))
        if others:
            found.append(_KINDS + _N_FEW * _OTHER + bisect_right(_FEW, others))
        if last == _OTHER:
            found.append(self._word("last", last_type))
        if context:
            for at, (key, word) in enumerate(context.items()):
                if at == MAX_WORDS:
                    break
                if isinstance(word, (str, int, float)):
                    found.append(self._word(key, word))
        return dict.fromkeys(found, 1.0)

    def _word(self, key: str, word: str | float) -> int:
        crc = zlib.crc32(f"{key}={word}"[:MAX_LENGTH].encode("utf-8", "surrogatepass"), self.seed & 0xFFFFFFFF)
        return _WORDS + ((crc * 0x9E3779B1 & 0xFFFFFFFF) * (SIZE - _WORDS) >> 32)

    @staticmethod
    def _value(value: float | None) -> int:
        if value is None:
            return 0
        if value <= 0.0:
            return 1
        return 2 + min(max(math.frexp(value)[1], _LOW), _HIGH) - _LOW


def encode_sample(features: Features) -> bytes:
    """A sample as bytes: layout, then the indices (uint16, little endian).

    >>> decode_sample(encode_sample({7: 1.0, 4000: 1.0}))
    {7: 1.0, 4000: 1.0}
    """
    return struct.pack(f"<B{len(features)}H", LAYOUT, *features)


def decode_sample(data: bytes) -> Features:
    """The sample that `encode_sample` wrote. Raises InputError on anything else."""
    if len(data) % 2 == 0 or data[0] != LAYOUT:
        raise InputError(f"a sample of layout {LAYOUT}", repr(bytes(data[:8])), "run one release on all workers")
    indices = struct.unpack(f"<{len(data) // 2}H", data[1:])
    if indices and max(indices) >= SIZE:
        raise InputError(f"indices below {SIZE}", str(max(indices)), "run one release on all workers")
    return dict.fromkeys(indices, 1.0)


class IntentModel:
    """Probability that a session converts. ``prior`` is the answer before anything is learned.

    >>> model = IntentModel(prior=0.05)
    >>> keen = model.features(SessionFacts(n_events=9, types={"view": 8, "like": 1}, last_type="like"))
    >>> idle = model.features(SessionFacts(n_events=1, types={"view": 1}, last_type="view"))
    >>> round(model.score_one(keen), 4)
    0.05
    >>> for _ in range(50):
    ...     model.learn_one(keen, True)
    ...     model.learn_one(idle, False)
    >>> model.score_one(keen) > 0.9, model.score_one(idle) < 0.1
    (True, True)
    """

    def __init__(self, lr: float = 0.1, prior: float = 0.05, seed: int = 0) -> None:
        if not 0.0 < prior < 1.0 or not 0.0 < lr <= 1.0:
            raise InputError("0 < prior < 1 and 0 < lr ≤ 1", f"{prior} and {lr}", "correct the setting")
        self.lr, self.prior, self.seed = lr, prior, seed
        self.pipeline: Any = self._new()

    def _new(self) -> Any:
        return compose.Pipeline(
            HashedFacts(self.seed),
            linear_model.LogisticRegression(
                # eps stands in for a start of AdaGrad's sums: without it the very first sample moves every weight by lr
                optimizer=optim.AdaGrad(self.lr, eps=1.0),
                intercept_init=math.log(self.prior / (1.0 - self.prior)),
                intercept_lr=0.01,
            ),
        )

    def features(self, facts: SessionFacts) -> Features:
        """Facts through all steps of the pipeline but the last."""
        features: Features = self.pipeline.transform_one(facts)
        return features

    def score_one(self, features: Features) -> float:
        """Probability in [0, 1]. Changes nothing."""
        return float(self.pipeline["LogisticRegression"].predict_proba_one(features)[True])

    def learn_one(self, features: Features, converted: bool) -> None:
        """One step towards what came of a session."""
        self.pipeline["LogisticRegression"].learn_one(features, bool(converted))

    def snapshot(self) -> Arrays:
        """All state: intercept, weights and AdaGrad's sums, by feature index."""
        model = self.pipeline["LogisticRegression"]
        weights, sums = model.weights, model.optimizer.g2
        return {
            "config": np.array([LAYOUT, SIZE, self.seed], np.int64),
            "learned": np.array([model.optimizer.n_iterations], np.int64),
            "intercept": np.array([model.intercept], np.float64),
            "weight_index": np.array(list(weights), np.uint16),
            "weight": np.array(list(weights.values()), np.float64),
            "sum_index": np.array(list(sums), np.uint16),
            "sum": np.array(list(sums.values()), np.float64),
        }

    def restore(self, state: Arrays) -> None:
        """Take over a snapshot, bit for bit. Raises SnapshotError on another layout, size or seed."""
        if state["config"].tolist() != [LAYOUT, SIZE, self.seed]:
            raise SnapshotError(
                f"layout, size and seed {[LAYOUT, SIZE, self.seed]}",
                str(state["config"].tolist()),
                "set the seed alike, or remove the snapshot to learn anew",
            )
        self.pipeline = self._new()
        model = self.pipeline["LogisticRegression"]
        model.optimizer.n_iterations = int(state["learned"][0])
        model.intercept = float(state["intercept"][0])
        model._weights = utils.VectorDict(
            dict(zip(state["weight_index"].tolist(), state["weight"].tolist(), strict=True))
        )
        model.optimizer.g2.update(zip(state["sum_index"].tolist(), state["sum"].tolist(), strict=True))

    @property
    def n_learned(self) -> int:
        """Samples learned."""
        return int(self.pipeline["LogisticRegression"].optimizer.n_iterations)

    @property
    def nbytes(self) -> int:
        """Bytes held by weights and sums, by estimate."""
        model = self.pipeline["LogisticRegression"]
        return 120 * (len(model._weights) + len(model.optimizer.g2))
