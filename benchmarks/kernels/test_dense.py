"""The dense layers on a CPU, in each precision."""

from __future__ import annotations

from benchmarks.kernels.tables import Measure, dense_cases


@dense_cases("qkv")
def test_qkv(measure: Measure, shape: str, dtype: str, implementation: str) -> None:
    measure("qkv", shape, dtype, implementation)


@dense_cases("attention_output")
def test_attention_output(measure: Measure, shape: str, dtype: str, implementation: str) -> None:
    measure("attention_output", shape, dtype, implementation)


@dense_cases("feed_forward")
def test_feed_forward(measure: Measure, shape: str, dtype: str, implementation: str) -> None:
    measure("feed_forward", shape, dtype, implementation)
