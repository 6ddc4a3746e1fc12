"""Every op and dense layer, at its shapes, in its dtypes, by whoever computes it: `benchmarks.kernels.tables`."""

from __future__ import annotations

import pytest

from benchmarks.kernels.tables import PARAMETERS, Measure, cases


@pytest.mark.parametrize(PARAMETERS, cases())
def test_kernel(measure: Measure, op: str, shape: str, dtype: str, implementation: str) -> None:
    measure(op, shape, dtype, implementation)
