"""Every backend of `bertfast.linear` against float64, and what compile and export make of the portable one."""

from __future__ import annotations

import pytest
import torch
from ops.cases import DTYPES, activation_oracle, layer_norm_oracle, randn
from tolerances import TOLERANCES, relative_error
from torch._subclasses.fake_tensor import FakeTensorMode

from bertfast.backends import CudaBackend
from bertfast.linear import BlasLinear, FusedLinear, MixedLinear, Norm, OneDnnLinear, PortableLinear, select_cpu_linear

_CPU = torch.device("cpu")
_BACKENDS = ["auto", "blas", "onednn", "portable", "fused"]
# [T, K] x [M, K]: one row, few rows, more rows than any backend's idea of few; few rows of a large weight, which the
# default backend multiplies in another way.
_SHAPES = [(1, 64, 96), (2, 5, 7), (33, 384, 1152), (200, 96, 64), (0, 8, 8), (21, 700, 800)]


def _sample(rows, inner, outer, dtype):
    """x, weight, bias, residual, norm; products of the size of the bias."""
    return (
        randn(rows, inner, dtype=dtype),
        (randn(outer, inner) * inner**-0.5).to(dtype),
        randn(outer, dtype=dtype),
        randn(rows, outer, dtype=dtype),
        Norm(randn(outer, dtype=dtype), randn(outer, dtype=dtype), 1e-2),
    )


def _product_oracle(x, weight, bias):
    return x.double() @ weight.double().t() + bias.double()


def _bound(dtype, inner):
    # Each partial sum of a product is rounded: sqrt(K) roundings add up to more than the op's own.
    return TOLERANCES[dtype].op * (1 + inner**0.5 / 16)


@pytest.fixture(params=_BACKENDS)
def linear(request, monkeypatch):
    """``linear(dtype)``: the class chosen for a backend's name; `FusedLinear` is chosen by `MixedLinear` only."""
    if request.param == "fused":
        takes = {torch.float32, torch.bfloat16} if torch.backends.mkldnn.is_available() else set()
        return lambda dtype: FusedLinear if dtype in takes else BlasLinear
    monkeypatch.setenv("BERTFAST_CPU_LINEAR", request.param)
    return lambda dtype: select_cpu_linear(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", _SHAPES, ids=str)
def test_product(shape, dtype, linear):
    x, weight, bias, _, _ = _sample(*shape, dtype)
    layer = linear(dtype)([weight], [bias])
    wanted, bound = _product_oracle(x, weight, bias), _bound(dtype, shape[1])
    out = layer(x)
    assert out.dtype == dtype
    assert relative_error(out, wanted) <= bound
    # Memory offered for the result may be used or not, and may hold anything.
    offered = torch.full_like(out, float("nan"))
    assert relative_error(layer(x, out=offered), wanted) <= bound


@pytest.mark.parametrize("activation", ["erf", "tanh", "relu"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", _SHAPES, ids=str)
def test_activated(shape, dtype, activation, linear):
    x, weight, bias, _, _ = _sample(*shape, dtype)
    layer = linear(dtype)([weight], [bias])
    wanted = activation_oracle(_product_oracle(x, weight, bias), activation)
    bound = 2 * _bound(dtype, shape[1])
    assert relative_error(layer.activated(x, activation), wanted) <= bound
    offered = torch.full_like(wanted, float("nan"), dtype=dtype)
    assert relative_error(layer.activated(x, activation, out=offered), wanted) <= bound


@pytest.mark.parametrize("activation", ["erf", "tanh", "relu"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_is_not_activated_away(dtype, activation, linear):
    """By oneDNN's ReLU it would be."""
    x, weight, bias, _, _ = _sample(33, 64, 96, dtype)
    bias[3] = float("nan")
    found = linear(dtype)([weight], [bias]).activated(x, activation)
    assert found[:, 3].isnan().all()
    assert torch.isfinite(found[:, 4:]).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", _SHAPES, ids=str)
def test_add_norm(shape, dtype, linear):
    x, weight, bias, residual, norm = _sample(*shape, dtype)
    kept = residual.clone()
    out = linear(dtype)([weight], [bias]).add_norm(x, residual, norm)
    assert out.dtype == dtype
    total = _product_oracle(x, weight, bias) + residual.double()
    wanted = layer_norm_oracle(total, norm.weight, norm.bias, norm.eps)
    assert relative_error(out, wanted) <= 2 * _bound(dtype, shape[1])
    # A fused sum must not be made in the residual's memory.
    assert torch.equal(residual, kept)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rows", [3, 200])
@pytest.mark.parametrize("sizes", [(64,), (32, 32, 32), (7, 64, 1)], ids=str)
def test_parts_one_under_the_other(sizes, rows, dtype, linear):
    """As a model holds Q, K and V, some of them cut from a larger matrix: results side by side, in this order."""
    x, weight, bias, residual, norm = _sample(rows, 48, sum(sizes), dtype)
    wide = torch.cat([weight, weight], 1)[:, :48]
    layer = linear(dtype)(wide.split(sizes), bias.split(sizes))
    wanted, bound = _product_oracle(x, weight, bias), _bound(dtype, 48)
    assert relative_error(layer(x), wanted) <= bound
    offered = torch.full_like(residual, float("nan"))
    assert relative_error(layer(x, out=offered), wanted) <= bound
    wanted_norm = layer_norm_oracle(wanted + residual.double(), norm.weight, norm.bias, norm.eps)
    assert relative_error(layer.add_norm(x, residual, norm), wanted_norm) <= 2 * bound
    wanted_gelu = activation_oracle(wanted, "erf")
    assert relative_error(layer.activated(x, "erf"), wanted_gelu) <= 2 * bound


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rows", [1, 3, 4, 60, 120, 250])
def test_an_activated_result_goes_into_the_next_product(rows, dtype, linear):
    """As in the feed-forward network: it may come with its columns side by side in memory."""
    x, weight, bias, _, _ = _sample(rows, 48, 80, dtype)
    _, narrow, shift, residual, norm = _sample(rows, 80, 48, dtype)
    inner = linear(dtype)([weight], [bias]).activated(x, "erf")
    wanted = _product_oracle(inner.double(), narrow, shift)
    layer = linear(dtype)([narrow], [shift])
    assert relative_error(layer(inner), wanted) <= _bound(dtype, 80)
    wanted = layer_norm_oracle(wanted + residual.double(), norm.weight, norm.bias, norm.eps)
    assert relative_error(layer.add_norm(inner, residual, norm), wanted) <= 2 * _bound(dtype, 80)


_FP32, _BF16 = torch.float32, torch.bfloat16


@pytest.mark.parametrize(
    ("rows", "size", "dtype", "chosen"),
    [
        (2, 768, _FP32, BlasLinear),
        (4, 768, _FP32, OneDnnLinear),
        (64, 768, _FP32, OneDnnLinear),
        (65, 768, _FP32, BlasLinear),
        (96, 768, _FP32, FusedLinear),
        (97, 768, _FP32, BlasLinear),
        (256, 768, _FP32, FusedLinear),
        (272, 768, _FP32, BlasLinear),
        (32, 768, _BF16, OneDnnLinear),
        (64, 768, _BF16, OneDnnLinear),
        (65, 768, _BF16, FusedLinear),
        (5000, 768, _BF16, FusedLinear),
        # Small weights stay in a cache.
        (32, 384, _FP32, BlasLinear),
        (96, 384, _BF16, BlasLinear),
    ],
)
def test_what_the_default_backend_chooses(rows, size, dtype, chosen, monkeypatch):
    weight, bias = torch.randn(size, size, dtype=dtype), torch.zeros(size, dtype=dtype)
    layer, used = MixedLinear([weight], [bias]), []
    for part in (layer._few, layer._fused, layer._many):
        monkeypatch.setattr(part, "_multiply", lambda x, out, part=part: used.append(type(part)))
    layer(torch.randn(rows, size, dtype=dtype))
    assert used == [chosen]


def test_the_default_backend_multiplies_a_transposed_weight_by_the_blas(monkeypatch):
    """oneDNN would copy a weight that does not lie in rows."""
    layer, used = MixedLinear([torch.randn(768, 768).t()], [torch.zeros(768)]), []
    monkeypatch.setattr(layer._many, "_multiply", lambda x, out: used.append(x))
    layer(torch.randn(16, 768))
    assert len(used) == 1


def test_inputs_with_strides(linear):
    # A slice of rows, as the feed-forward blocks take them, and columns of something wider.
    x, weight, bias, _, _ = _sample(40, 64, 96, torch.float32)
    layer = linear(torch.float32)([weight], [bias])
    wide = torch.cat([x, x], 1)
    for given in (x[7:29], wide[7:29, 64:]):
        wanted = _product_oracle(x[7:29], weight, bias)
        assert relative_error(layer(given), wanted) <= _bound(torch.float32, 64)


@pytest.mark.parametrize("edited", ["weight", "bias"])
@pytest.mark.parametrize("rows", [1, 5, 200])
def test_nothing_is_copied(rows, edited, linear):
    """An edit of a weight that nobody is told of is in the next result."""
    x, weight, bias, _, _ = _sample(rows, 8, 8, torch.float32)
    layer = linear(torch.float32)([weight], [bias])
    layer(x)
    (weight if edited == "weight" else bias).mul_(2)
    assert relative_error(layer(x), _product_oracle(x, weight, bias)) <= _bound(torch.float32, 8)


def test_an_unknown_backend_raises(monkeypatch):
    monkeypatch.setenv("BERTFAST_CPU_LINEAR", "fastest")
    with pytest.raises(ValueError, match=r"BERTFAST_CPU_LINEAR='fastest'.*blas"):
        select_cpu_linear(torch.float32)


def test_cuda_gets_the_portable_one():
    assert CudaBackend(torch.device("cuda")).linear(torch.float32) is PortableLinear


# Tracing. Weights are captured as constants, as a compiled or exported encoder would.


class _Block(torch.nn.Module):
    """The three uses of a layer, one after the other."""

    def __init__(self, make, dtype=torch.float32, activation="erf"):
        super().__init__()
        _, weight, bias, _, self.norm = _sample(1, 24, 24, dtype)
        self.layer, self.activation = make([weight], [bias]), activation

    def forward(self, x):
        return self.layer.add_norm(self.layer.activated(self.layer(x), self.activation), x, self.norm)


@pytest.mark.parametrize("backend", ["blas", "portable"])
def test_fake_tensors(backend, monkeypatch):
    monkeypatch.setenv("BERTFAST_CPU_LINEAR", backend)
    make = select_cpu_linear(torch.bfloat16)
    real = _Block(make, torch.bfloat16)(randn(7, 24, dtype=torch.bfloat16))
    with FakeTensorMode():
        fake = _Block(make, torch.bfloat16)(torch.empty(7, 24, dtype=torch.bfloat16))
    assert (fake.shape, fake.dtype, fake.stride()) == (real.shape, real.dtype, real.stride())


@pytest.mark.parametrize("compiler", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize("activation", ["erf", "tanh", "relu"])
def test_compile_portable(activation, compiler):
    torch._dynamo.reset()
    block = _Block(PortableLinear, activation=activation)
    compiled = torch.compile(block, fullgraph=True, dynamic=True, backend=compiler)
    with torch.no_grad():
        for rows in (9, 4, 33):
            x = randn(rows, 24, dtype=torch.float32)
            assert relative_error(compiled(x), block(x)) <= TOLERANCES[torch.float32].op


@pytest.mark.parametrize("activation", ["erf", "tanh", "relu"])
def test_export_portable_with_a_dynamic_number_of_tokens(activation):
    block = _Block(PortableLinear, activation=activation)
    shapes = ({0: torch.export.Dim("T", min=2)},)
    program = torch.export.export(block, (randn(9, 24, dtype=torch.float32),), dynamic_shapes=shapes)
    for rows in (2, 33, 3000):
        x = randn(rows, 24, dtype=torch.float32)
        assert relative_error(program.module()(x), block(x)) <= TOLERANCES[torch.float32].op
