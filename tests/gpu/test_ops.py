"""Every op's kernel on the GPU, against float64, against its CPU reference, and at its edges."""

from __future__ import annotations

import pytest
import torch
from ops.cases import OPS, activation_oracle, parts, with_strides
from tolerances import KERNEL_RATIO, TOLERANCES, assert_no_further_from_truth, relative_error

from gpu.op_cases import KERNEL_DTYPES, cases, in_float64, on_device, results

_CASES = list(cases())


def _takes(target, dtype):
    if dtype == torch.bfloat16 and target.real and torch.cuda.get_device_capability(target.device) < (8, 0):
        pytest.skip("bfloat16 takes compute capability 8.0")


@pytest.mark.parametrize("case", _CASES, ids=str)
def test_against_the_reference(case, target):
    _takes(target, case.dtype)
    actual = [part.cpu() for part in results(case, on_device(case.make(), target.device))]
    reference = results(case, case.make())
    if not reference[0].is_floating_point() or case.op in ("pad_input", "gather_first"):
        # Nothing is computed, only moved and counted.
        for got, wanted in zip(actual, reference, strict=True):
            assert torch.equal(got, wanted)
        return
    truth = results(case, in_float64(case.make()))
    assert actual[0].dtype == case.dtype
    assert actual[0].is_contiguous()
    # Where one element decides, and its terms nearly cancel.
    few = 8 if truth[0].numel() < 64 else 1
    assert relative_error(actual[0], truth[0]) <= few * TOLERANCES[case.dtype].op
    assert_no_further_from_truth(actual[0], reference[0], truth[0], few * KERNEL_RATIO)
    assert (actual[0][truth[0] == 0] == 0).all()
    for got, wanted in zip(actual[1:], reference[1:], strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize("op", OPS)
def test_the_same_bits_each_time(op, target):
    arguments = on_device(OPS[op].make(257, torch.float16), target.device)
    expected = [part.clone() for part in _parts(op, arguments)]
    for _ in range(20):
        for got, wanted in zip(_parts(op, arguments), expected, strict=True):
            assert torch.equal(got, wanted)


def _parts(op, arguments):
    return parts(OPS[op](**arguments))


@pytest.mark.parametrize("op", OPS)
def test_any_strides(op, target):
    arguments = on_device(OPS[op].make(7, torch.float32), target.device)
    strided = {name: with_strides(value) for name, value in arguments.items()}
    for got, wanted in zip(_parts(op, strided), _parts(op, arguments), strict=True):
        # A CPU's attention adds up in another order for other strides.
        assert torch.equal(got, wanted) or (not target.real and relative_error(got, wanted) <= 1e-6)
        assert got.is_contiguous()


@pytest.mark.parametrize("activation", ["erf", "tanh", "relu"])
@pytest.mark.parametrize("dtype", KERNEL_DTYPES, ids=str)
def test_every_16_bit_value_of_an_activation(dtype, activation, target):
    """All finite values of a 16-bit type, as float32 too: the GPU's own functions have no bad spot."""
    _takes(target, dtype)
    if not target.real:
        pytest.skip("a CPU's gelu is torch's own, and has bad spots")
    narrow = torch.float16 if dtype == torch.float32 else dtype
    x = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(narrow).to(dtype)
    x = x[x.isfinite()].view(-1, 8)
    bias = torch.zeros(8, dtype=dtype, device=target.device)
    out = OPS["bias_gelu"](x=x.to(target.device), bias=bias, activation=activation).cpu().double()
    truth = activation_oracle(x, activation).nan_to_num(0.0)
    # Half a step of the stored type, near zero half of its smallest one, and the error of the float inside.
    info = torch.finfo(dtype)
    rounding = 0.5 * info.eps * truth.abs() + 0.5 * info.smallest_normal * info.eps
    assert ((out - truth).abs() <= 1.01 * (rounding + 3e-7 * x.double().abs().clamp(max=1))).all()


@pytest.mark.parametrize("dtype", KERNEL_DTYPES, ids=str)
@pytest.mark.parametrize("length", [20, 100, 150])
def test_large_scores(dtype, length, target):
    """Scores of several hundred: exp of them overflows unless the largest is taken off first."""
    _takes(target, dtype)
    arguments = OPS["varlen_attention"].make(length, dtype)
    qkv = 20 * torch.randn(length, 3, 2, 64, dtype=torch.float64).to(dtype)
    arguments.update(qkv=qkv, cu_seqlens=torch.tensor([0, length], dtype=torch.int32), key_lengths=None, scale=1.0)
    out = OPS["varlen_attention"](**on_device(arguments, target.device)).cpu()
    truth = OPS["varlen_attention"](**in_float64(arguments))
    assert out.isfinite().all()
    assert relative_error(out, truth) <= 100 * TOLERANCES[dtype].op


def test_rows_beyond_the_keys_are_never_read(target):
    arguments = on_device(OPS["varlen_attention"].make(257, torch.float16), target.device)
    starts, keys = arguments["cu_seqlens"].tolist(), arguments["key_lengths"].tolist()
    clean = OPS["varlen_attention"](**arguments)
    for start, end, count in zip(starts, starts[1:], keys, strict=False):
        arguments["qkv"][start + count : end, 1:] = float("nan")
    assert torch.equal(OPS["varlen_attention"](**arguments), clean)


def test_an_error_of_a_kernel_is_an_exception_in_python(target):
    """Refused before the launch: the context lives on."""
    if not target.real:
        pytest.skip("the references take any head size")
    arguments = on_device(OPS["varlen_attention"].make(7, torch.float32), target.device)
    wide = torch.zeros(7, 3, 1, 257, device=target.device)
    with pytest.raises(ValueError, match="qkv: expected at most 256"):
        OPS["varlen_attention"](**{**arguments, "qkv": wide})
    target.finish()
    OPS["varlen_attention"](**arguments)
    target.finish()
