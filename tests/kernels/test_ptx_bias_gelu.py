"""bias_gelu as nvcc compiled it, run by the interpreter."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kernels.comparison import ARCHITECTURES, check_emulation, check_oracle, normal
from kernels.device_runs import DeviceRuns
from kernels.elements import ELEMENTS, Element
from kernels.ptx.kinds import Array

pytestmark = pytest.mark.slow


def _activation(x: Array, activation: int) -> Array:
    if activation == 2:
        return np.maximum(x, 0)
    if activation == 0:
        return 0.5 * x * np.vectorize(math.erfc)(-x * math.sqrt(0.5))
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("element", ELEMENTS, ids=str)
@pytest.mark.parametrize("activation", [0, 1, 2], ids=["erf", "tanh", "relu"])
@pytest.mark.parametrize(("num_tokens", "inner_size", "skipped"), [(3, 1024, 0), (2, 1500, 1), (5, 7, 0)])
def test_bias_gelu(
    runs: DeviceRuns,
    architecture: str,
    element: Element,
    activation: int,
    num_tokens: int,
    inner_size: int,
    skipped: int,
) -> None:
    x = normal(element, 1, (num_tokens, inner_size), deviation=2.0, skipped=skipped)
    bias = normal(element, 2, (inner_size,), mean=0.5)
    out = element.empty((num_tokens, inner_size))
    emulated = runs.run(
        "bias_gelu",
        architecture,
        {"x": x, "bias": bias},
        {"out": out},
        num_tokens=num_tokens,
        inner_size=inner_size,
        dtype=element.number,
        activation=activation,
    )["out"]
    want = _activation(element.to_float64(x) + element.to_float64(bias), activation)
    check_oracle(out, want, element, 3 * 2.0**-22)
    if activation == 2:
        check_emulation(out, emulated, element, 0)
    else:
        # exp2 is within 1 ulp here and there; what it multiplies is below 1/2 (erf) or close to the result (tanh).
        check_emulation(out, emulated, element, 2 if element.unit_roundoff == 2.0**-24 else 1, 2.0**-24)
