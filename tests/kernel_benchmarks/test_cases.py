"""Every case of a CPU: right before it is timed, and made of what real data is made of."""

from __future__ import annotations

import itertools

import pytest
import torch
from tolerances import REDUCED_TOLERANCES, TOLERANCES

from benchmarks.cpu.rows import SHORT_LENGTHS, ragged_lengths
from benchmarks.kernels import dense_groups, op_groups
from benchmarks.kernels.dense_groups import Dense, make_group, members
from benchmarks.kernels.groups import Group
from benchmarks.kernels.implementations import IMPLEMENTATIONS, Implementation, implementations
from benchmarks.kernels.layers import LAYERS, Rows
from benchmarks.kernels.measured import check
from benchmarks.kernels.tables import by_key
from bertfast import cpu_dense, cpu_extension, ops
from bertfast.linear import Norm
from bertfast.precision import onednn_lacks

_GROUPS = [group for group in by_key().values() if group.device == "cpu"]
_OPS = [group for group in _GROUPS if group.op in ops.__all__]
_LAYERS = {layer.name: layer for layer in LAYERS}
_REAL_LENGTHS = {(128,) * 8, (128,), (32,), ragged_lengths(), SHORT_LENGTHS}


def _bound(group: Group, name: str) -> float:
    """Two results that are each as far from the truth as may be; PyTorch's int8 has one scale for all of x."""
    if group.dtype == "int8":
        return group.allowed if name == "pytorch" else REDUCED_TOLERANCES["int8"].dense * 2
    if group.op in _LAYERS and group.dtype == "bfloat16":
        return group.allowed
    return 0.0 if group.op == "unpad_input" else 2 * TOLERANCES[getattr(torch, group.dtype)].op


@pytest.mark.parametrize("group", _GROUPS, ids=str)
def test_all_compute_the_same(group):
    torch.manual_seed(0)
    inputs = group.make()
    assert tuple(inputs.calls) == group.names
    for name, error in check(group, inputs).items():
        assert error <= _bound(group, name), name


@pytest.mark.parametrize("group", _GROUPS, ids=str)
def test_nothing_is_timed_on_zeros(group):
    torch.manual_seed(0)
    first, second = group.make(), group.make()
    floats = [value for value in first.values if value.is_floating_point()]
    assert floats or group.op == "unpad_input"
    for value in floats:
        assert (value == 0).float().mean() < 1e-2
        assert value.float().std() > 0.01
    # Inputs that take turns are not one input.
    assert any(not torch.equal(a, b) for a, b in zip(first.values, second.values, strict=True))


@pytest.mark.parametrize("group", [group for group in _OPS if group.op == "unpad_input"], ids=str)
def test_masks_are_those_of_padded_texts(group):
    mask, ids, *_ = group.make().values
    assert tuple(mask.sum(1).tolist()) in _REAL_LENGTHS
    assert all(after <= before for row in mask.tolist() for before, after in itertools.pairwise(row))
    assert torch.equal(ids > 0, mask.bool())


@pytest.mark.parametrize("op", ["varlen_attention", "first_token_attention"])
def test_attention_is_timed_on_real_lengths(op):
    found = set()
    for group in _OPS:
        if group.op == op:
            (offsets,) = (value for value in group.make().values if value.dtype == torch.int32)
            found.add(tuple(offsets.diff().tolist()))
    assert found == _REAL_LENGTHS


def test_every_op_layer_and_dtype_is_there():
    assert {group.op for group in _GROUPS} == {*ops.__all__, *_LAYERS}
    for op in ops.__all__:
        dtypes = {group.dtype for group in _OPS if group.op == op}
        assert dtypes == ({"int64"} if op == "unpad_input" else {"float32", "bfloat16", "float16"})
    there = {
        precision for precision in dense_groups.PRECISIONS if precision == "float32" or not onednn_lacks(precision)
    }
    assert {group.dtype for group in _GROUPS if group.op in _LAYERS} == there


def test_pytorch_stands_beside_every_op_that_it_has():
    without = {group.op for group in _GROUPS if "pytorch" not in group.names}
    assert without == {"unpad_input"}


def test_the_cpu_kernels_stand_beside_the_ops_that_they_serve():
    found = {(group.op, group.dtype) for group in _OPS if "native" in group.names}
    wanted = {(op, "float32") for op in ("bias_gelu", "residual_layer_norm", "varlen_attention")}
    if not cpu_extension.available():
        assert not found
    else:
        assert found - wanted == ({("varlen_attention", "bfloat16")} if cpu_extension.features()["amx_bf16"] else set())
        assert wanted <= found


@pytest.mark.parametrize("precision", dense_groups.PRECISIONS)
def test_a_layers_tail_is_fused_as_in_a_model(precision):
    reason = dense_groups.unavailable(precision)
    if reason is not None:
        pytest.skip(reason)
    group = make_group(Dense(_LAYERS["layer_tail"], "tiny", 5, 32, 64, precision))
    fuses = precision != "float32" and cpu_dense.serves(precision)
    assert ("fused" in group.names, "native" in group.names) == (fuses, fuses)
    assert {"bertfast", "pytorch"} < {*group.names}
    torch.manual_seed(0)
    calls = group.make().calls
    if fuses:
        assert torch.equal(calls["bertfast"](), calls["fused"]())
        found = members(_LAYERS["layer_tail"], precision)
        assert found["bertfast"].call is found["fused"].call is not found["native"].call
    if precision == "float32":
        # Context and x, three weights; the result. A product is two operations for each number of a weight.
        weights = 32 * 32 + 2 * 32 * 64
        assert (group.work.read_bytes, group.work.written_bytes) == (4 * (2 * 5 * 32 + weights), 4 * 5 * 32)
        assert group.work.flops == 2 * 5 * weights


def test_layers_that_are_not_fused_say_so():
    layer = _LAYERS["layer_tail"]
    (make,) = (member.make for name, member in members(layer, "float32").items() if name == "blas")
    dense = [make([torch.ones(2, 2)], [torch.ones(2)]) for _ in range(3)]
    rows = Rows(torch.ones(1, 2), torch.ones(1, 2), (Norm(torch.ones(2), torch.ones(2), 1e-12),) * 2)
    with pytest.raises(ValueError, match="layer_tail: BlasLinear is not fused"):
        layer.fused(dense, rows)


def test_names_are_readable_and_single():
    names = [str(group) for group in _GROUPS]
    assert len(set(names)) == len(names)
    assert "residual_layer_norm[base-1024x768-float32]" in names
    assert "varlen_attention[base-ragged16x105x768-bfloat16]" in names
    assert "feed_forward[large-128x4096-float32]" in names
    assert "layer_tail[base-737x3072-float32]" in names


def test_gpu_cases_are_named_apart(monkeypatch):
    cuda = [group.key for group in op_groups.cuda_groups()]
    assert cuda
    assert not {*cuda} & {group.key for group in _GROUPS}


def test_another_implementation_is_one_entry(monkeypatch):
    def wrong(op, calls):
        return lambda: calls.ours() * 2

    new = Implementation("new", wrong, ops=("bias_gelu",), devices=("cpu",), takes=lambda dtype: dtype == torch.float32)
    absent = Implementation("absent", wrong, takes=lambda dtype: False)
    table = (*IMPLEMENTATIONS, new, absent)
    monkeypatch.setattr("benchmarks.kernels.implementations.IMPLEMENTATIONS", table)

    def names(*asked):
        return [one.name for one in implementations(*asked)]

    native = ["native"] if cpu_extension.available() else []
    assert names("bias_gelu", "cpu", torch.float32) == ["bertfast", "reference", *native, "pytorch", "new"]
    assert "new" not in names("bias_gelu", "cuda", torch.float32)
    assert "new" not in names("bias_gelu", "cpu", torch.float16)
    group = next(group for group in op_groups.cpu_groups() if group.key == ("bias_gelu", "base-32x3072", "float32"))
    with pytest.raises(AssertionError, match=r"bias_gelu\[base-32x3072-float32\]: .*'new': 1.0.* not timed"):
        check(group, group.make())
