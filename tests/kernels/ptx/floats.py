"""Arithmetic that numpy has not: bfloat16, fused multiply-add, and the functions that a GPU approximates."""

from __future__ import annotations

import numpy as np

from kernels.ptx.kinds import Array

_SMALLEST_NORMAL = np.float32(2.0**-126)


def bfloat16_to_float(bits: Array) -> Array:
    """The upper half of a float."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def float_to_bfloat16(values: Array) -> Array:
    """Rounds to nearest, ties to even; NaN becomes the one NaN that the hardware writes."""
    bits = values.view(np.uint32)
    odd = bits >> np.uint32(16) & np.uint32(1)
    rounded = (bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)
    return np.where(np.isnan(values), np.uint32(0x7FFF), rounded).astype(np.uint16)


def fused_multiply_add(a: Array, b: Array, c: Array) -> Array:
    """``a * b + c`` of floats, rounded once.

    The product is exact in float64. The sum is rounded there to odd (Boldo and Melquiond, 2008): the last bit keeps
    whether anything was lost, so that the second rounding, to float, is right.
    """
    product, addend = np.multiply(a, b, dtype=np.float64), np.asarray(c, dtype=np.float64)
    total = np.asarray(product + addend)
    # What the addition lost, exactly (Knuth's two-sum).
    virtual = total - product
    lost = np.asarray((product - (total - virtual)) + (addend - virtual))
    is_even = total.view(np.int64) & 1 == 0
    adjust = np.isfinite(total) & (lost != 0) & is_even
    # The neighbour on the side of the exact sum is odd; one step in bits away, outwards if the signs agree.
    step = np.where((lost > 0) == (total > 0), 1, -1)
    odd = (total.view(np.int64) + step).view(np.float64)
    with np.errstate(over="ignore"):
        return np.where(adjust, odd, total).astype(np.float32)


def flush(values: Array) -> Array:
    """Subnormals become zeros of their sign, as .ftz asks."""
    return np.where(np.abs(values) < _SMALLEST_NORMAL, np.copysign(np.float32(0), values), values)


def exp2(x: Array) -> Array:
    """2^x. The hardware's ex2.approx is within 2 ulp of this."""
    return np.exp2(x.astype(np.float64)).astype(np.float32)


def log2(x: Array) -> Array:
    """The logarithm to base 2."""
    return np.log2(x.astype(np.float64)).astype(np.float32)


def rsqrt(x: Array) -> Array:
    """1 / sqrt(x). The hardware's rsqrt.approx is within 2 ulp of this."""
    return (1.0 / np.sqrt(x.astype(np.float64))).astype(np.float32)


def tanh(x: Array) -> Array:
    """The hyperbolic tangent."""
    return np.tanh(x.astype(np.float64)).astype(np.float32)


def divide_approx(dividend: Array, divisor: Array) -> Array:
    """div.approx: dividend * (1 / divisor), where the reciprocal of a divisor beyond 2^126 is flushed to 0."""
    quotient = np.asarray(dividend / divisor)
    too_large = (np.abs(divisor) > 2.0**126) & np.isfinite(divisor)
    return np.where(too_large, dividend * np.copysign(np.float32(0), divisor), quotient)
