"""`PackedDense` against float64 with operands rounded alike, at every edge of tiles, panels and blocks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ops.cases import randn, with_strides
from torch import Tensor

from bertfast.cpu_dense import PackedDense
from cpu_kernels import rounding

# Of a row tile, of a block, of two blocks (from where on threads have rows of their own), of 128, 256 and 512.
_ROWS = [0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 600]
# Of a vector, of a step of bfloat16 and of int8, of a panel.
_SIZES = [1, 7, 16, 31, 32, 33, 63, 64, 65, 100, 384, 768, 3072]
# Sums of float32, and few more roundings: of what the terms of a sum add up to without their signs.
_BOUND = 2e-6


def _operands(rows: int, k: int, columns: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(rows * 1_000_003 + k * 1009 + columns)
    weight = randn(columns, k, dtype=torch.float32) * k**-0.5
    return randn(rows, k, dtype=dtype), weight, randn(columns, dtype=torch.float32)


def _check(found: Tensor, x: Tensor, weight: Tensor, bias: Tensor, precision: str) -> None:
    size = rounding.rounded_rows(x, precision).abs() @ rounding.rounded_weight(weight, precision).abs().t()
    error = (found.double() - rounding.dense(x, weight, bias, precision)).abs()
    assert found.shape == error.shape
    assert (error <= _BOUND * (size + bias.abs())).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rows", _ROWS)
def test_rows(operands, rows, dtype):
    x, weight, bias = _operands(rows, 100, 70, dtype)
    _check(PackedDense(weight, bias, operands)(x, torch.float32), x, weight, bias, operands)


@pytest.mark.parametrize("k", _SIZES)
def test_sizes(operands, k):
    for columns in _SIZES:
        for rows, dtype in ((3, torch.float32), (33, torch.bfloat16)):
            x, weight, bias = _operands(rows, k, columns, dtype)
            _check(PackedDense(weight, bias, operands)(x, torch.float32), x, weight, bias, operands)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 140),
    st.integers(1, 200),
    st.integers(1, 140),
    st.floats(-4, 4),
    st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_any_shape(operands, rows, k, columns, offset, dtype):
    x, weight, bias = _operands(rows, k, columns, dtype)
    x = x + torch.tensor(offset, dtype=dtype)
    _check(PackedDense(weight, bias, operands)(x, torch.float32), x, weight, bias, operands)


def test_inputs_may_have_strides(operands):
    x, weight, bias = _operands(37, 100, 70)
    expected = PackedDense(weight, bias, operands)(x, torch.float32)
    found = PackedDense(*map(with_strides, (weight, bias)), operands)(with_strides(x), torch.float32)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("columns", [1, 16, 33, 96])
def test_bfloat16_results_are_those_of_float32_rounded_once(operands, columns):
    x, weight, bias = _operands(67, 100, columns)
    layer = PackedDense(weight, bias, operands)
    assert torch.equal(layer(x, torch.bfloat16), layer(x, torch.float32).bfloat16())


def test_a_row_does_not_depend_on_others_nor_on_threads(threads, operands):
    """By one kind of instructions, to the bit. 600 rows are blocks enough for each thread to have its own."""
    x, weight, bias = _operands(600, 200, 300)
    layer = PackedDense(weight, bias, operands)
    together = layer(x, torch.float32)
    for rows in (1, 2, 16, 17, 33, 100):
        alone = [layer(part, torch.float32) for part in x[:200].split(rows)]
        assert torch.equal(torch.cat(alone), together[:200])
    torch.set_num_threads(1)
    assert torch.equal(layer(x, torch.float32), together)


def test_several_callers_at_once(operands):
    """Of layers of several sizes: each thread's memory between products is its own."""
    layers = []
    for k, columns in ((100, 70), (700, 300), (33, 40)):
        x, weight, bias = _operands(90, k, columns)
        layer = PackedDense(weight, bias, operands)
        layers.append((layer, x, layer(x, torch.float32)))
    with ThreadPoolExecutor(6) as pool:
        found = pool.map(lambda one: torch.equal(one[0](one[1], torch.float32), one[2]), layers * 40)
        assert all(found)


def test_nothing_beside_the_rows_is_read(operands):
    """Neighbours in memory hold NaN."""
    for rows, k, columns in ((17, 33, 40), (1, 1, 1), (33, 65, 33)):
        x, weight, bias = _operands(rows, k, columns)
        memory = torch.full((rows * k + 2000,), float("nan"))
        among = memory[1000 : 1000 + rows * k].view(rows, k).copy_(x)
        layer = PackedDense(weight, bias, operands)
        assert torch.equal(layer(among, torch.float32), layer(x, torch.float32))


def test_later_edits_are_not_seen(reduced):
    x, weight, bias = _operands(5, 40, 50)
    layer = PackedDense(weight, bias, reduced)
    before = layer(x, torch.float32)
    weight.zero_()
    bias.zero_()
    assert torch.equal(layer(x, torch.float32), before)


def test_memory_of_a_copy(reduced):
    """A panel's worth of padding at most."""
    _, weight, bias = _operands(1, 768, 3072)
    expected = {"bfloat16": 2 * 768 * 3072, "int8": 768 * 3072 + 8 * 3072}[reduced]
    assert PackedDense(weight, bias, reduced).num_bytes == expected + 4 * 3072


_ROWS_OF_CODES = {
    "zeros": lambda x: x * 0,
    "negative zeros": lambda x: x * -0.0,
    "constant": lambda x: x * 0 + 3.7,
    "constant, negative": lambda x: x * 0 - 3.7,
    "positive": lambda x: x.abs() + 0.1,
    "negative": lambda x: -x.abs() - 0.1,
    "one outlier": lambda x: torch.where(torch.arange(x.shape[1]) == 5, 1000.0, x),
    "large": lambda x: x.clamp(-1, 1) * 1e37,
    "small": lambda x: x * 1e-20,
}


@pytest.mark.parametrize("kind", _ROWS_OF_CODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_ranges_of_rows(operands, kind, dtype):
    x, weight, bias = _operands(20, 100, 70)
    x = _ROWS_OF_CODES[kind](x).to(dtype)
    _check(PackedDense(weight, bias, operands)(x, torch.float32), x, weight, bias, operands)


@pytest.mark.parametrize("value", [1e-45, 1e-38, 3e38, torch.finfo(torch.float32).max], ids=str)
def test_the_ends_of_float32(operands, value):
    """What is smaller than any normal number may be lost, and what bfloat16 does not hold becomes infinite there."""
    x = torch.tensor([[value, -value, 0.0], [value, value / 2, 0.0], [1.0, 2.0, 3.0]])
    found = PackedDense(torch.eye(3) * 0.25, torch.zeros(3), operands)(x, torch.float32)
    # Half a step of the codes, of a row from -value to value.
    step = 1.001 * {"bfloat16": value / 2**9, "int8": value / 255}[operands]
    assert torch.allclose(found[2], x[2] * 0.25, rtol=5e-3)
    if operands == "bfloat16" and torch.tensor(value).bfloat16().isinf():
        assert not found[:2].isfinite().any()
    else:
        assert ((found - x * 0.25)[:2].abs() <= 0.25 * step + torch.finfo(torch.float32).tiny).all()


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_row_that_is_not_finite_is_so_by_itself(operands, value, dtype):
    x, weight, bias = _operands(40, 100, 70, dtype)
    layer = PackedDense(weight, bias, operands)
    clean = layer(x, torch.float32)
    for row, column in ((0, 0), (17, 99), (39, 64)):
        x[row, column] = value
    found = layer(x, torch.float32)
    bad = torch.zeros(40, dtype=torch.bool)
    bad[[0, 17, 39]] = True
    assert not found[bad].isfinite().any()
    assert torch.equal(found[~bad], clean[~bad])


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")], ids=str)
def test_a_weight_that_is_not_finite_shows_in_its_column(operands, value):
    """As in stock, where it may be infinite instead of NaN. No other column changes."""
    x, weight, bias = _operands(40, 100, 70)
    clean = PackedDense(weight, bias, operands)(x, torch.float32)
    for column, k in ((0, 0), (33, 99), (69, 50)):
        weight[column, k] = value
    found = PackedDense(weight, bias, operands)(x, torch.float32)
    bad = torch.zeros(70, dtype=torch.bool)
    bad[[0, 33, 69]] = True
    assert not found[:, bad].isfinite().any()
    assert torch.equal(found[:, ~bad], clean[:, ~bad])


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")], ids=str)
def test_a_bias_that_is_not_finite_is_the_result(operands, value):
    x, weight, bias = _operands(40, 100, 70)
    bias[33] = value
    found = PackedDense(weight, bias, operands)(x, torch.float32)
    assert torch.equal(found[:, 33].nan_to_num(nan=7.0), bias[33].nan_to_num(nan=7.0).expand(40))
    assert found.isfinite().sum() == 40 * 69


def test_weights_without_a_normal_scale(operands):
    x, weight, bias = _operands(5, 100, 4)
    weight *= torch.tensor([0.0, 1e-45, 1e-38, 1e36])[:, None]
    found = PackedDense(weight, bias, operands)(x, torch.float32)
    _check(found, x, weight, bias, operands)


def _refused(make, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        make()


@pytest.mark.parametrize(
    ("weight", "bias", "words"),
    [
        (torch.ones(2, 3, 4), torch.ones(2), r"weight: expected \[M, K\], K from 1 to \d+, got \[2, 3, 4\]"),
        (torch.ones(2, 0), torch.ones(2), r"weight: expected \[M, K\], K from 1 to \d+, got \[2, 0\]"),
        (torch.ones(2, 3).half(), torch.ones(2), "weight: expected torch.float32, .* got torch.float16"),
        (torch.ones(2, 3, device="meta"), torch.ones(2), "weight: expected .* on cpu, got .* on meta"),
        (torch.ones(2, 3), torch.ones(3), r"bias: expected \[2\], got \[3\]"),
        (torch.ones(2, 3), torch.ones(2).double(), "bias: expected torch.float32, .* got torch.float64"),
    ],
)
def test_weights_that_are_refused(reduced, weight, bias, words):
    _refused(lambda: PackedDense(weight, bias, reduced), words)


def test_int8_sums_fit_32_bits(operands):
    if operands == "bfloat16":
        pytest.skip("sums are float32")
    largest = (2**31 - 1) // (255 * 127)
    x, weight = torch.ones(1, largest), torch.ones(1, largest)
    found = PackedDense(weight, torch.zeros(1), operands)(x, torch.float32)
    assert abs(found.item() / largest - 1) < 1e-6
    too_large = torch.ones(1, largest + 1)
    _refused(lambda: PackedDense(too_large, torch.zeros(1), operands), rf"weight: .*K from 1 to {largest}, got")


@pytest.mark.parametrize(
    ("x", "dtype", "words"),
    [
        (torch.ones(2, 4), torch.float32, r"x: expected \[T, 3\], float32 or bfloat16, on cpu, got \[2, 4\]"),
        (torch.ones(3), torch.float32, r"x: expected \[T, 3\], .* got \[3\]"),
        (torch.ones(2, 3).half(), torch.float32, "x: .* got .* torch.float16"),
        (torch.ones(2, 3, device="meta"), torch.float32, "x: .* on meta"),
        (torch.ones(2, 3), torch.float16, "dtype: expected torch.float32 or torch.bfloat16, got torch.float16"),
    ],
)
def test_inputs_that_are_refused(reduced, x, dtype, words):
    _refused(lambda: PackedDense(torch.ones(2, 3), torch.ones(2), reduced)(x, dtype), words)
