"""How results of the interpreter are compared: with an oracle in float64, and with the emulation.

Emulation and device code come from one source, so they may differ only where the device approximates a function, or
where nvcc makes one rounding of a multiplication and an addition and the host compiler, told to, two.
"""

from __future__ import annotations

import numpy as np

from kernels.elements import Element
from kernels.ptx.kinds import Array

# sm_75 has no bfloat16 conversions and no asynchronous copies; sm_80 stands for those after it.
ARCHITECTURES = ("75", "80")


def check_oracle(got: Array, want: Array, element: Element, float_error: float) -> None:
    """Within one rounding to the element type, and the error of the arithmetic in float."""
    # 1.001: the rounding is of the float result, which is itself a little off.
    bound = 1.001 * element.unit_roundoff * np.abs(want) + float_error
    excess = np.abs(element.to_float64(got) - want) - bound
    assert np.max(excess, initial=0) <= 0, f"{np.max(excess):.2e} beyond the bound"  # NaN fails, too


def check_emulation(got: Array, emulated: Array, element: Element, ulps: int, float_error: float = 0.0) -> None:
    """At most ``ulps`` steps apart, or ``float_error`` where results cancel; 0 and 0 is bit for bit."""
    steps = np.abs(element.ordinals(got) - element.ordinals(emulated))
    distance = np.abs(element.to_float64(got) - element.to_float64(emulated))
    assert ((steps <= ulps) | (distance <= float_error)).all(), f"{steps.max()} ulps apart, {distance.max():.2e}"


def normal(
    element: Element, seed: int, shape: tuple[int, ...], mean: float = 0.0, deviation: float = 1.0, skipped: int = 0
) -> Array:
    """Normally distributed, the same for one seed; the data begin ``skipped`` elements off a 16-byte boundary."""
    return element.array(np.random.default_rng(seed).normal(mean, deviation, shape), skipped)
