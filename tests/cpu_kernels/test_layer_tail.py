"""`PackedTail` against float64 with operands rounded alike: blocks of rows, threads, norms, and what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ops.cases import randn, with_strides
from precisions import REDUCED
from tolerances import KERNEL_RATIO, assert_no_further_from_truth, relative_error
from torch import Tensor

from bertfast.cpu_dense import PackedDense, PackedTail, serves
from bertfast.norm import Norm
from cpu_kernels.rounding import Layer, layer_tail

# Some of what lies between two products is rounded to the other side than in float64: few values, by a step each.
# Rounding the operands otherwise, or not at all, is 3e-3 in bfloat16 and 1e-2 in int8.
_BOUND = {"bfloat16": 2e-4, "int8": 5e-4}
_FLOATS = [torch.float32, torch.bfloat16]
_Parts = tuple[Layer, Layer, Layer]


def _normal(*size: int) -> Tensor:
    return randn(*size, dtype=torch.float32)


def _norm(size: int, eps: float) -> Norm:
    return Norm(1 + 0.1 * _normal(size), 0.1 * _normal(size), eps)


def _parts(h: int, i: int, eps: float = 1e-12) -> _Parts:
    return (
        Layer(_normal(h, h) * h**-0.5, _normal(h), _norm(h, eps)),
        Layer(_normal(i, h) * h**-0.5, _normal(i)),
        Layer(_normal(h, i) * i**-0.5, _normal(h), _norm(h, eps)),
    )


def _tail(parts: _Parts, activation: str, precision: str):
    """``call(context, x)``."""
    first, inner, last = (PackedDense(part.weight, part.bias, precision) for part in parts)
    packed = PackedTail(first, inner, activation, last)
    return lambda context, x: packed(context, x, parts[0].norm, parts[2].norm)


def _rows(rows: int, h: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return randn(rows, h, dtype=dtype), _normal(rows, h)


def _check(rows: int, h: int, i: int, activation: str, precision: str, dtype: torch.dtype) -> None:
    torch.manual_seed(rows * 10_007 + h)
    parts, (context, x) = _parts(h, i, 1e-5), _rows(rows, h, dtype)
    found = _tail(parts, activation, precision)(context, x)
    assert found.dtype == torch.float32
    assert relative_error(found, layer_tail(context, x, parts, activation, precision)) <= _BOUND[precision]


@pytest.mark.parametrize("activation", ["erf", "tanh", "relu"])
@pytest.mark.parametrize("dtype", _FLOATS, ids=str)
@pytest.mark.parametrize(("h", "i"), [(1, 1), (7, 33), (33, 7), (64, 256), (100, 65), (384, 1536)])
def test_sizes(operands, h, i, dtype, activation):
    _check(33, h, i, activation, operands, dtype)


@pytest.mark.parametrize("rows", [0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 600])
def test_rows(operands, rows):
    _check(rows, 48, 80, "erf", operands, torch.float32)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 140), st.integers(2, 100), st.integers(1, 140), st.sampled_from(_FLOATS))
def test_any_shape(operands, rows, h, i, dtype):
    _check(rows, h, i, "relu", operands, dtype)


@pytest.mark.parametrize("eps", [1e-12, 0.5])
def test_eps_of_each_norm(operands, eps):
    torch.manual_seed(0)
    parts, (context, x) = _parts(48, 80), _rows(20, 48)
    for place in (0, 2):
        changed = list(parts)
        changed[place] = replace(parts[place], norm=replace(parts[place].norm, eps=eps))
        found, wanted = _tail(changed, "erf", operands)(context, x), layer_tail(context, x, changed, "erf", operands)
        assert relative_error(found, wanted) <= _BOUND[operands]


@pytest.mark.parametrize("mean", [0.0, 1000.0])
def test_the_residual_stream_and_its_norms_are_float32(operands, mean):
    """Products of zero leave them: around any mean as near to float64 as PyTorch's, each of the two."""
    torch.manual_seed(0)
    parts, (context, x) = _parts(384, 100), _rows(9, 384)
    for part in parts:
        part.weight.zero_()
        part.bias.zero_()
    norms = [parts[0].norm, parts[2].norm]
    stock, truth = x + mean, (x + mean).double()
    for n in norms:
        stock = F.layer_norm(stock, (384,), n.weight, n.bias, n.eps)
        truth = F.layer_norm(truth, (384,), n.weight.double(), n.bias.double(), n.eps)
    assert_no_further_from_truth(_tail(parts, "erf", operands)(context, x + mean), stock, truth, KERNEL_RATIO)


def test_inputs_and_norms_may_have_strides(operands):
    parts, (context, x) = _parts(48, 80), _rows(40, 48)
    expected = _tail(parts, "erf", operands)(context, x)
    strided = [
        replace(p, norm=None if p.norm is None else Norm(with_strides(p.norm.weight), p.norm.bias, 1e-12))
        for p in parts
    ]
    assert torch.equal(_tail(strided, "erf", operands)(with_strides(context), with_strides(x)), expected)


def test_inputs_stay_as_they_are(operands):
    parts, (context, x) = _parts(48, 80), _rows(300, 48)
    kept = context.clone(), x.clone()
    _tail(parts, "erf", operands)(context, x)
    assert torch.equal(context, kept[0])
    assert torch.equal(x, kept[1])


def test_a_row_does_not_depend_on_others_nor_on_threads(threads, operands):
    """By one kind of instructions, to the bit."""
    torch.manual_seed(0)
    parts, (context, x) = _parts(100, 170), _rows(600, 100)
    call = _tail(parts, "erf", operands)
    together = call(context, x)
    for rows in (1, 16, 17, 33, 100):
        alone = map(call, context[:200].split(rows), x[:200].split(rows))
        assert torch.equal(torch.cat(list(alone)), together[:200])
    torch.set_num_threads(1)
    assert torch.equal(call(context, x), together)


def test_several_callers_at_once(operands):
    """Of one tail, and of a smaller one between."""
    torch.manual_seed(0)
    large, small = _tail(_parts(100, 170), "erf", operands), _tail(_parts(33, 40), "tanh", operands)
    calls = [(large, _rows(rows, 100)) for rows in (1, 70, 300)] + [(small, _rows(40, 33))]
    expected = [call(*inputs) for call, inputs in calls]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda one: one[0](*one[1]), calls * 40))
    assert all(map(torch.equal, found, expected * 40))


@pytest.mark.parametrize("value", [float("inf"), float("nan")], ids=str)
@pytest.mark.parametrize("place", ["context", "x"])
@pytest.mark.parametrize("activation", ["erf", "tanh", "relu"])
def test_a_row_that_is_not_finite_is_so_by_itself(operands, activation, place, value):
    torch.manual_seed(0)
    inputs = dict(zip(("context", "x"), _rows(40, 48), strict=True))
    call = _tail(_parts(48, 80), activation, operands)
    clean = call(**inputs)
    inputs[place][[3, 39], 7] = value
    found = call(**inputs)
    bad = torch.zeros(40, dtype=torch.bool)
    bad[[3, 39]] = True
    assert found[bad].isnan().all()
    assert torch.equal(found[~bad], clean[~bad])


@pytest.mark.parametrize("activation", ["erf", "tanh", "relu"])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_nan_in_a_layer_is_never_lost(operands, activation, place, name):
    parts, (context, x) = _parts(48, 80), _rows(40, 48)
    getattr(parts[place], name)[5] = float("nan")
    assert _tail(parts, activation, operands)(context, x).isnan().all()


def _refused(make, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        make()


def _packed(columns: int, k: int, precision: str) -> PackedDense:
    return PackedDense(torch.ones(columns, k), torch.ones(columns), precision)


def test_layers_that_do_not_fit(reduced):
    first, inner, last = _packed(8, 8, reduced), _packed(9, 8, reduced), _packed(8, 9, reduced)
    _refused(lambda: PackedTail(inner, inner, "erf", last), r"weights: expected \[H, H\], .* got \[9, 8\], \[9, 8\]")
    _refused(lambda: PackedTail(first, first, "erf", last), r"weights: .* got \[8, 8\], \[8, 8\], \[8, 9\]")
    _refused(lambda: PackedTail(first, inner, "gelu", last), "activation: expected erf, tanh or relu, got 'gelu'")


@pytest.mark.skipif(not all(map(serves, REDUCED)), reason="needs both precisions")
def test_layers_of_two_precisions():
    first, inner, last = _packed(8, 8, "bfloat16"), _packed(9, 8, "int8"), _packed(8, 9, "bfloat16")
    _refused(lambda: PackedTail(first, inner, "erf", last), "weights: expected one precision, got bfloat16, int8")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"context": torch.ones(2, 9)}, r"context: expected \[T, 8\], .* got \[2, 9\]"),
        ({"context": torch.ones(2, 8).half()}, "context: .* torch.float16"),
        ({"x": torch.ones(3, 8)}, r"x: expected \[2, 8\], float32, got \[3, 8\]"),
        ({"x": torch.ones(2, 8).bfloat16()}, r"x: expected \[2, 8\], float32, got .* torch.bfloat16"),
        ({"x": torch.ones(2, 8, device="meta")}, "x: .* on meta"),
        (
            {"attention_norm": Norm(torch.ones(7), torch.ones(8), 1.0)},
            r"attention_norm.weight: expected \[8\], got \[7\]",
        ),
        (
            {"output_norm": Norm(torch.ones(8), torch.ones(8).double(), 1.0)},
            "output_norm.bias: expected torch.float32, .* got torch.float64",
        ),
    ],
)
def test_inputs_that_are_refused(reduced, changes, words):
    tail = PackedTail(_packed(8, 8, reduced), _packed(9, 8, reduced), "erf", _packed(8, 9, reduced))
    norm = Norm(torch.ones(8), torch.ones(8), 1.0)
    fitting = {"context": torch.ones(2, 8), "x": torch.ones(2, 8), "attention_norm": norm, "output_norm": norm}
    _refused(lambda: tail(**{**fitting, **changes}), words)
