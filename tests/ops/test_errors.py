"""Arguments that do not fit raise a ValueError that names the argument, also while tracing."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ops.cases import OPS, offsets
from ops.wrong_arguments import WRONG_DTYPES, WRONG_SHAPES

_f32 = torch.float32


def _assert_refused(op, name, arguments):
    with pytest.raises(ValueError, match=rf"^{name}\b"):
        OPS[op](**arguments)
    fake_mode = FakeTensorMode()
    fakes = {
        key: fake_mode.from_tensor(value) if isinstance(value, torch.Tensor) else value
        for key, value in arguments.items()
    }
    with fake_mode, pytest.raises(ValueError, match=rf"^{name}\b"):
        OPS[op](**fakes)


@pytest.mark.parametrize(("op", "name", "shape"), WRONG_SHAPES)
def test_wrong_shapes(op, name, shape):
    arguments = OPS[op].make(7, _f32)
    arguments[name] = torch.ones(shape, dtype=arguments[name].dtype)
    _assert_refused(op, name, arguments)


@pytest.mark.parametrize(("op", "name", "dtype"), WRONG_DTYPES)
def test_wrong_dtypes(op, name, dtype):
    arguments = OPS[op].make(7, _f32)
    arguments[name] = arguments[name].to(dtype)
    _assert_refused(op, name, arguments)


@pytest.mark.parametrize("size", [3, 5])
def test_queries_and_sequences_that_differ_in_number(size):
    arguments = OPS["first_token_attention"].make(7, _f32)
    arguments.update(key_lengths=None, cu_seqlens=torch.arange(size, dtype=torch.int32))
    _assert_refused("first_token_attention", "cu_seqlens", arguments)


def test_wrong_activation():
    arguments = OPS["bias_gelu"].make(7, _f32)
    arguments["activation"] = "swish"
    _assert_refused("bias_gelu", "activation", arguments)


# What only the data tells: no fake can see it.
_WRONG_OFFSETS = {
    "beyond the rows": [0, 4, 6, 8],
    "short of the rows": [0, 4, 5, 6],
    "not from 0": [1, 4, 6, 7],
    "going back": [0, 6, 4, 7],
    "negative": [-1, 4, 6, 7],
}


@pytest.mark.parametrize("op", ["varlen_attention", "first_token_attention"])
@pytest.mark.parametrize("wrong", _WRONG_OFFSETS)
def test_wrong_offsets(wrong, op):
    arguments = OPS[op].make(7, _f32)
    arguments["cu_seqlens"] = torch.tensor(_WRONG_OFFSETS[wrong], dtype=torch.int32)
    arguments["key_lengths"] = None
    with pytest.raises(ValueError, match=r"^cu_seqlens"):
        OPS[op](**arguments)


@pytest.mark.parametrize("op", ["varlen_attention", "first_token_attention"])
@pytest.mark.parametrize("keys", [[5, 2, 1], [4, 2, -1]])
def test_wrong_key_counts(keys, op):
    arguments = OPS[op].make(7, _f32)
    arguments["cu_seqlens"] = offsets([4, 2, 1])
    arguments["key_lengths"] = torch.tensor(keys, dtype=torch.int32)
    with pytest.raises(ValueError, match="keys"):
        OPS[op](**arguments)


def test_max_seqlen_below_the_longest():
    arguments = OPS["varlen_attention"].make(7, _f32)
    arguments["max_seqlen"] = 3
    with pytest.raises(ValueError, match=r"max_seqlen|cu_seqlens"):
        OPS["varlen_attention"](**arguments)
