"""Every op, at its shapes, in its dtypes, by whoever computes it: `benchmarks.kernels.tables` has the cases."""

from __future__ import annotations

from benchmarks.kernels.tables import Measure, op_cases


@op_cases("embedding_layer_norm")
def test_embedding_layer_norm(measure: Measure, shape: str, dtype: str, implementation: str) -> None:
    measure("embedding_layer_norm", shape, dtype, implementation)


@op_cases("residual_layer_norm")
def test_residual_layer_norm(measure: Measure, shape: str, dtype: str, implementation: str) -> None:
    measure("residual_layer_norm", shape, dtype, implementation)


@op_cases("bias_gelu")
def test_bias_gelu(measure: Measure, shape: str, dtype: str, implementation: str) -> None:
    measure("bias_gelu", shape, dtype, implementation)


@op_cases("varlen_attention")
def test_varlen_attention(measure: Measure, shape: str, dtype: str, implementation: str) -> None:
    measure("varlen_attention", shape, dtype, implementation)


@op_cases("first_token_attention")
def test_first_token_attention(measure: Measure, shape: str, dtype: str, implementation: str) -> None:
    measure("first_token_attention", shape, dtype, implementation)


@op_cases("unpad_input")
def test_unpad_input(measure: Measure, shape: str, dtype: str, implementation: str) -> None:
    measure("unpad_input", shape, dtype, implementation)


@op_cases("pad_input")
def test_pad_input(measure: Measure, shape: str, dtype: str, implementation: str) -> None:
    measure("pad_input", shape, dtype, implementation)


@op_cases("gather_first")
def test_gather_first(measure: Measure, shape: str, dtype: str, implementation: str) -> None:
    measure("gather_first", shape, dtype, implementation)
