"""Small compiled helpers that several models share: exact top-k with explicit ties, a fast logarithm and a fast hyperbolic tangent."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

NO_ITEM = -1

ONE_THREAD = 250_000
"""Products of two numbers that are summed up at a time: few enough that the work is never shared out to other threads."""


@intrinsic
def _float_bits(typingctx: Any, x: Any) -> Any:
    """Bits of a float32 as an int32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(32))

    return types.int32(types.float32), codegen


@intrinsic
def _bits_float(typingctx: Any, x: Any) -> Any:
    """The float32 that has these bits."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), codegen


@njit(cache=True, inline="always")
def fast_log(x: float) -> float:
    """Natural logarithm of a positive normal float32, absolute error below 2e-4 (exponent plus a quartic of the mantissa)."""
    bits = _float_bits(np.float32(x))
    exponent = np.float32((bits >> 23) - 127)
    m = _bits_float(np.int32((bits & 0x7FFFFF) | 0x3F800000))
    poly = np.float32(-0.07844068)
    poly = poly * m + np.float32(0.62603218)
    poly = poly * m + np.float32(-2.07833517)
    poly = poly * m + np.float32(4.02921139)
    poly = poly * m + np.float32(-2.49835315)
    return (exponent + poly) * np.float32(0.69314718)


@njit(cache=True, inline="always")
def fast_tanh(x: Any) -> Any:
    """Hyperbolic tangent of a float32, absolute error below 1e-4 (its continued fraction, cut after the seventh level)."""
    x = min(max(np.float32(x), np.float32(-4.97)), np.float32(4.97))
    s = x * x
    top = x * (np.float32(135135.0) + s * (np.float32(17325.0) + s * (np.float32(378.0) + s)))
    return top / (np.float32(135135.0) + s * (np.float32(62370.0) + s * (np.float32(3150.0) + np.float32(28.0) * s)))


@njit(cache=True)
def insert_top(items: Any, scores: Any, n: int, k: int, item: int, score: float) -> int:
    """Put (item, score) into a list sorted by score descending, then item ascending; returns its new length (≤ k)."""
    if n == k:
        if score < scores[k - 1] or (score == scores[k - 1] and item > items[k - 1]):
            return n
        n -= 1
    at = n
    while at > 0 and (scores[at - 1] < score or (scores[at - 1] == score and items[at - 1] > item)):
        items[at] = items[at - 1]
        scores[at] = scores[at - 1]
        at -= 1
    items[at] = item
    scores[at] = score
    return n + 1


@njit(cache=True)
def drain_top(acc: Any, touched: Any, n_touched: int, blocked: Any, k: int, items: Any, scores: Any) -> int:
    """The k best of the accumulated scores into ``items``/``scores``; sets the accumulator back to zero."""
    n = 0
    for t in range(n_touched):
        item = touched[t]
        score = acc[item]
        acc[item] = 0.0
        if blocked[item] == 0 and score > 0.0:
            n = insert_top(items, scores, n, k, item, score)
    return n
