"""Arguments that do not fit raise a ValueError that names the argument, also while tracing."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ops.cases import OPS
from ops.wrong_arguments import WRONG_CONTENTS, WRONG_DTYPES, WRONG_SHAPES, WRONG_VALUES

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
    arguments = OPS[op].make_full(7, _f32)
    arguments[name] = torch.ones(shape, dtype=arguments[name].dtype)
    _assert_refused(op, name, arguments)


@pytest.mark.parametrize(("op", "name", "dtype"), WRONG_DTYPES)
def test_wrong_dtypes(op, name, dtype):
    arguments = OPS[op].make_full(7, _f32)
    arguments[name] = arguments[name].to(dtype)
    _assert_refused(op, name, arguments)


@pytest.mark.parametrize("size", [3, 5])
def test_queries_and_sequences_that_differ_in_number(size):
    arguments = OPS["first_token_attention"].make(7, _f32)
    arguments.update(key_lengths=None, cu_seqlens=torch.arange(size, dtype=torch.int32))
    _assert_refused("first_token_attention", "cu_seqlens", arguments)


@pytest.mark.parametrize(("op", "name", "changes"), WRONG_VALUES)
def test_wrong_values(op, name, changes):
    _assert_refused(op, name, {**OPS[op].make_full(7, _f32), **changes})


@pytest.mark.parametrize(("op", "name", "changes"), WRONG_CONTENTS)
def test_wrong_contents(op, name, changes):
    """What only the data tells: no fake can see it."""
    with pytest.raises(ValueError, match=rf"^{name}: expected .*, got "):
        OPS[op](**{**OPS[op].make_full(7, _f32), **changes})


def test_every_place_is_missed_by_an_error():
    """The error of `pad_input` names the first position that has no row, wherever it is."""
    for missing in range(7):
        indices = torch.arange(7)
        indices[missing] = (missing + 1) % 7
        with pytest.raises(ValueError, match=rf"got none that is {missing}$"):
            OPS["pad_input"](x=torch.ones(7, 2), indices=indices)
