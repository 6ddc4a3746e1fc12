"""The CPU kernel of residual + LayerNorm against float64, at every kind of edge."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tolerances import TOLERANCES, assert_close, assert_no_further_from_truth
from torch import Tensor

from bertfast.cpu_kernels import residual_layer_norm

EPS = 1e-12
# Below, at and above a vector of 16 and the four that are summed side by side.
_WIDTHS = [1, 7, 15, 16, 17, 63, 64, 65, 128, 384, 768, 1000, 1024]
_BOUND = TOLERANCES[torch.float32].op


def _make(rows: int, width: int, dtype: torch.dtype = torch.float32, offset: float = 0.0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(rows * 10_000 + width)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return (normal(rows, width) + offset).to(dtype), normal(rows, width), normal(width), normal(width)


def _truth(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, eps: float = EPS) -> Tensor:
    return F.layer_norm(x.double() + residual.double(), weight.shape, weight.double(), bias.double(), eps)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", _WIDTHS)
def test_against_float64(threads, width, dtype):
    for rows in (1, 3, 130):
        arguments = _make(rows, width, dtype)
        found = residual_layer_norm(*arguments, EPS)
        assert found.dtype == torch.float32
        assert_close(found.double(), _truth(*arguments), _BOUND)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_large_mean(dtype):
    """Which E[x^2] - mean^2 would not survive. The sum is rounded once before its mean is taken, as in torch."""
    x, residual, weight, bias = _make(9, 768, dtype, offset=1000.0)
    found = residual_layer_norm(x, residual, weight, bias, EPS)
    stock = F.layer_norm(x + residual, weight.shape, weight, bias, EPS)
    assert_no_further_from_truth(found, stock, _truth(x, residual, weight, bias))


@pytest.mark.parametrize("eps", [1e-12, 1e-5, 0.5])
def test_eps(eps):
    x, residual, weight, bias = _make(4, 100)
    found = residual_layer_norm(x * 1e-2, residual * 1e-2, weight, bias, eps)
    assert_close(found.double(), _truth(x * 1e-2, residual * 1e-2, weight, bias, eps), _BOUND)


def test_a_constant_row_is_the_bias():
    _, _, weight, bias = _make(1, 50)
    x = torch.full((2, 50), 3.0)
    assert torch.equal(residual_layer_norm(x, x, weight, bias, EPS), bias.expand(2, 50))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("width", [7, 64, 1000])
def test_nan_and_infinity_stay_in_their_row(bad, width):
    x, residual, weight, bias = _make(5, width)
    expected = residual_layer_norm(x, residual, weight, bias, EPS)
    x[1, width - 1] = bad
    residual[3, 0] = bad
    found = residual_layer_norm(x, residual, weight, bias, EPS)
    assert found[[1, 3]].isnan().all()
    assert torch.equal(found[[0, 2, 4]], expected[[0, 2, 4]])


@pytest.mark.parametrize("shape", [(0, 768), (0, 0), (3, 0)])
def test_empty(shape):
    x = torch.empty(shape)
    found = residual_layer_norm(x, x, torch.ones(shape[1]), torch.ones(shape[1]), EPS)
    assert found.shape == shape


@pytest.mark.parametrize("width", _WIDTHS)
def test_nothing_beside_the_rows_is_written(width):
    x, residual, weight, bias = _make(3, width)
    memory = torch.full((3 * width + 64,), 7.0)
    out = memory[32 : 32 + 3 * width].view(3, width)
    assert residual_layer_norm(x, residual, weight, bias, EPS, out) is out
    assert torch.equal(out, residual_layer_norm(x, residual, weight, bias, EPS))
    assert (memory[:32] == 7).all()
    assert (memory[32 + 3 * width :] == 7).all()


@pytest.mark.parametrize("place", ["x", "residual"])
def test_in_place(place):
    arguments = dict(zip(("x", "residual", "weight", "bias"), _make(40, 100), strict=True))
    expected = residual_layer_norm(**arguments, eps=EPS)
    assert torch.equal(residual_layer_norm(**arguments, eps=EPS, out=arguments[place]), expected)


def test_the_same_bits_on_any_number_of_threads(threads):
    arguments = _make(500, 768)
    alone = [
        residual_layer_norm(x, r, *arguments[2:], EPS)
        for x, r in zip(arguments[0][:, None], arguments[1][:, None], strict=True)
    ]
    assert torch.equal(residual_layer_norm(*arguments, EPS), torch.cat(alone))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x": torch.ones(2, 3, 8)}, r"x: expected \[T, H\], got \[2, 3, 8\]"),
        (
            {"x": torch.ones(2, 8, dtype=torch.float16)},
            "x: expected torch.float32, contiguous, on cpu, got torch.float16",
        ),
        ({"x": torch.ones(8, 2).T}, "x: expected torch.float32, contiguous, on cpu, got torch.float32, with strides"),
        ({"x": torch.ones(2, 8, device="meta")}, "x: expected .* on cpu, got torch.float32, contiguous, on meta"),
        ({"residual": torch.ones(3, 8)}, r"residual: expected \[2, 8\], got \[3, 8\]"),
        ({"residual": torch.ones(2, 8).bfloat16()}, "residual: expected torch.float32, .* got torch.bfloat16"),
        ({"weight": torch.ones(7)}, r"weight: expected \[8\], got \[7\]"),
        ({"weight": torch.ones(8).bfloat16()}, "weight: expected torch.float32, .* got torch.bfloat16"),
        ({"bias": torch.ones(16)[::2]}, "bias: expected torch.float32, .* with strides"),
        ({"out": torch.ones(2, 9)}, r"out: expected \[2, 8\], got \[2, 9\]"),
        ({"out": torch.ones(2, 8, dtype=torch.int32)}, "out: expected torch.float32, .* got torch.int32"),
    ],
)
def test_refused(changes, words):
    fitting = {"x": torch.ones(2, 8), "residual": torch.ones(2, 8), "weight": torch.ones(8), "bias": torch.ones(8)}
    with pytest.raises(ValueError, match=f"^{words}"):
        residual_layer_norm(**{**fitting, "eps": EPS, **changes})
