"""The kernel of ``embedding_layer_norm`` against the definition in float64 and against torch's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.cases import OPS, layer_norm_oracle, randn
from tolerances import KERNEL_RATIO, TOLERANCES, assert_no_further_from_truth, relative_error

_DTYPES = [torch.float32, torch.float16, torch.bfloat16]
_ROWS = (31, 3, 19)


def _check(emulated, num_tokens, hidden_size, dtype, ids_dtype=torch.int64):
    tables = [randn(rows, hidden_size, dtype=dtype) for rows in _ROWS]
    ids = [torch.randint(0, rows, (num_tokens,), dtype=ids_dtype) for rows in _ROWS]
    weight, bias = randn(2, hidden_size, dtype=dtype)
    out, _ = emulated.embedding_layer_norm(*ids, *tables, weight, bias, 1e-2)
    assert out.dtype == dtype
    total = sum(table.double()[index.long()] for table, index in zip(tables, ids, strict=True))
    truth = layer_norm_oracle(total, weight, bias, 1e-2)
    few = 8 if hidden_size < 15 else 1  # a difference of two sums decides, and the rounding of one sum with it
    assert relative_error(out, truth) <= few * TOLERANCES[dtype].op
    reference, _ = torch.ops.bertfast.embedding_layer_norm(*ids, *tables, weight, bias, 1e-2)
    assert_no_further_from_truth(out, reference, truth, few * KERNEL_RATIO)


@pytest.mark.parametrize("ids_dtype", [torch.int64, torch.int32], ids=str)
@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
@pytest.mark.parametrize("hidden_size", [2, 15, 64, 384, 768, 1000, 1025, 8192])
@pytest.mark.parametrize("num_tokens", [0, 1, 7])
def test_sizes(emulated, num_tokens, hidden_size, dtype, ids_dtype):
    _check(emulated, num_tokens, hidden_size, dtype, ids_dtype)


@settings(max_examples=60)
@given(st.integers(0, 9), st.integers(2, 1500), st.sampled_from(_DTYPES))
def test_any_size(emulated_library, num_tokens, hidden_size, dtype):
    torch.manual_seed(hidden_size)
    _check(emulated_library, num_tokens, hidden_size, dtype)


@pytest.mark.parametrize("narrow", ["input_ids", "token_type_ids", "position_ids"])
def test_ids_of_two_dtypes(emulated, narrow):
    arguments = OPS["embedding_layer_norm"].make(7, torch.float32)
    expected, _ = emulated.embedding_layer_norm(**arguments)
    arguments[narrow] = arguments[narrow].int()
    assert torch.equal(emulated.embedding_layer_norm(**arguments)[0], expected)


@pytest.mark.parametrize("wrong", [-1, 31, 2**40])
def test_an_id_out_of_range_reads_out_of_bounds(emulated, wrong):
    """The op takes ids to be in range; the emulation sees where the kernel reads otherwise."""
    arguments = OPS["embedding_layer_norm"].make(7, torch.float32)
    arguments["input_ids"][3] = wrong
    with pytest.raises(RuntimeError, match=r"embedding_layer_norm: csrc/kernels/.*: out of bounds"):
        emulated.embedding_layer_norm(**arguments)


def _arguments(num_positions, ids_dtype=torch.int64, dtype=torch.float16):
    ids = [torch.randint(0, rows, (num_positions,), dtype=ids_dtype) for rows in _ROWS]
    tables = [randn(rows, 72, dtype=dtype) for rows in _ROWS]
    names = ("input_ids", "token_type_ids", "position_ids")
    names += ("word_embeddings", "token_type_embeddings", "position_embeddings")
    return {
        **dict(zip(names, ids + tables, strict=True)),
        "weight": randn(72, dtype=dtype),
        "bias": randn(72, dtype=dtype),
        "eps": 1e-2,
    }


def _meets_the_reference(emulated, **arguments):
    truth, _ = torch.ops.bertfast.embedding_layer_norm(
        **{
            name: value.double() if getattr(value, "is_floating_point", bool)() else value
            for name, value in arguments.items()
        }
    )
    out, bits = emulated.embedding_layer_norm(**arguments)
    assert out.shape == truth.shape
    assert bits.shape == (0,)
    assert relative_error(out, truth) <= TOLERANCES[out.dtype].op


@pytest.mark.parametrize("ids_dtype", [torch.int64, torch.int32], ids=str)
@pytest.mark.parametrize("num_tokens", [None, 0, 1, 17, 30])
def test_rows_and_ids_left_out(emulated, num_tokens, ids_dtype):
    arguments = _arguments(30, ids_dtype)
    if num_tokens is not None:
        arguments["indices"] = torch.randperm(30)[:num_tokens]
    _meets_the_reference(emulated, **arguments)
    for name in ("token_type_ids", "position_ids", "input_ids"):
        arguments[name] = None
        if name == "input_ids":
            arguments["word_embeddings"] = arguments["word_embeddings"][:30].contiguous()
        _meets_the_reference(emulated, **arguments, padded_len=6)


@pytest.mark.parametrize("ids_dtype", [torch.int64, torch.int32], ids=str)
@pytest.mark.parametrize(("name", "bit"), [("input_ids", 1), ("token_type_ids", 2), ("position_ids", 4)])
def test_ids_out_of_range_are_flagged_as_the_reference_does(emulated, name, bit, ids_dtype):
    limits = torch.iinfo(ids_dtype)
    for bad in (-1, limits.min, limits.max, 31):
        for indices in (None, torch.tensor([3, 1, 0, 6]), torch.tensor([0, 2, 4])):
            arguments = _arguments(7, ids_dtype)
            arguments[name][1] = bad
            arguments["indices"] = indices
            out, bits = emulated.embedding_layer_norm(**arguments, checks_ids=True)
            wanted, wanted_bits = torch.ops.bertfast.embedding_layer_norm(**arguments, checks_ids=True)
            assert relative_error(out, wanted) <= 2 * TOLERANCES[out.dtype].op
            is_read = indices is None or 1 in indices.tolist()
            assert bits.tolist() == wanted_bits.tolist() == [bit if is_read else 0]
