"""Arguments of any layout, class and dtype to the ops: the result is that of plain memory, or an error."""

from __future__ import annotations

from typing import Any

import odd_tensors
import pytest
import torch
from fuzzing import fuzzer, outcome
from hypothesis import given
from hypothesis import strategies as st
from ops.cases import OPS, parts

_DTYPES = [torch.int64, torch.int32, torch.uint8, torch.bool, torch.float32, torch.bfloat16, torch.complex64]


def check_op(op: Any, name: str, arguments: dict[str, Any], form: str) -> None:
    """``op`` with the argument ``name`` in this form computes what it does with a plain one, to the bit."""
    odd = {**arguments, name: odd_tensors.made(form, arguments[name])}
    found = outcome(op, **odd)
    if isinstance(found, Exception):
        # Whatever can be read has the result, or the error, of its values.
        assert form in odd_tensors.OTHERS or isinstance(outcome(op, **_plain(odd)), Exception), repr(found)
        return
    for part, wanted in zip(parts(found), parts(op(**_plain(odd))), strict=True):
        assert torch.equal(part, wanted)


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        name: odd_tensors.plain(value) if isinstance(value, torch.Tensor) else value
        for name, value in arguments.items()
    }


@st.composite
def changed(draw: st.DrawFn, op: str) -> tuple[str, dict[str, Any], str]:
    """An argument's name, the arguments, and the form for that one; now and then it has another dtype, too."""
    num_tokens = draw(st.sampled_from([0, 1, 7]))
    arguments = OPS[op].make_full(num_tokens, torch.float32)
    name = draw(st.sampled_from([name for name, value in arguments.items() if isinstance(value, torch.Tensor)]))
    if draw(st.integers(0, 4)) == 0:
        arguments[name] = arguments[name].to(draw(st.sampled_from(_DTYPES)))
    return name, arguments, draw(odd_tensors.forms)


@pytest.mark.fuzz
@pytest.mark.parametrize("op", OPS)
def test_any_argument(op):
    @fuzzer(40)
    @given(changed(op))
    def check(drawn):
        check_op(OPS[op], *drawn)

    check()
