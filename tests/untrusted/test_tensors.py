"""Inputs of any layout, class, dtype and shape: a model computes what stock does, or refuses; never another number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import odd_tensors
import pytest
import torch
from fuzzing import assert_same_outcome, fuzzer
from hypothesis import given, reject
from hypothesis import strategies as st
from precisions import REDUCED, needs
from tolerances import REDUCED_TOLERANCES, TOLERANCES
from torch import Tensor, nn

import bertfast

_ROWS, _COLUMNS, _HIDDEN = 3, 5, 64
_DTYPES = [
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.uint16,
    torch.bool,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float64,
    torch.complex64,
    torch.float8_e4m3fn,
]
_MODES = {"no_grad": torch.no_grad, "grad": torch.enable_grad, "inference": torch.inference_mode}


def _fitting() -> dict[str, Tensor]:
    mask = (torch.arange(_COLUMNS) < torch.tensor([[5], [3], [1]])).long()
    return {
        "input_ids": (torch.arange(_ROWS * _COLUMNS).view(_ROWS, _COLUMNS) + 8) * mask,
        "attention_mask": mask,
        "token_type_ids": torch.arange(_COLUMNS).expand(_ROWS, _COLUMNS) % 2,
        "position_ids": torch.arange(_COLUMNS).flip(0).repeat(_ROWS, 1),
        "inputs_embeds": torch.linspace(-1, 1, _ROWS * _COLUMNS * _HIDDEN).view(_ROWS, _COLUMNS, _HIDDEN),
    }


_SHAPES = {
    "no texts": lambda tensor: tensor[:0],
    "no columns": lambda tensor: tensor[:, :0],
    "one text": lambda tensor: tensor[:1],
    "one column": lambda tensor: tensor[:, :1],
    "one more column": lambda tensor: torch.cat((tensor, tensor[:, -1:]), 1),
    "one row less": lambda tensor: tensor[:-1],
    "one axis less": lambda tensor: tensor[:1].reshape(tensor.shape[1:]),
    "no axis": lambda tensor: tensor.reshape(-1)[:1].reshape([]),
    "by query": lambda tensor: tensor.unsqueeze(1).expand(-1, tensor.shape[1], *tensor.shape[1:]),
    "one row for all queries": lambda tensor: tensor.unsqueeze(1),
    "by head and query": lambda tensor: tensor[:, None, None].expand(-1, -1, tensor.shape[1], *tensor.shape[1:]),
    "one row for all heads and queries": lambda tensor: tensor[:, None, None],
}


class _Inputs(dict[str, Tensor]):
    """By name; ``forms`` says how they were made."""

    forms: dict[str, str]

    def __repr__(self) -> str:
        return str({name: (list(t.shape), t.dtype, self.forms.get(name)) for name, t in self.items()})


@st.composite
def _inputs(draw: st.DrawFn) -> _Inputs:
    """Fitting ones, some left out, one or two of the others unusual; for two, all texts may be missing."""
    inputs = _fitting()
    del inputs[draw(st.sampled_from(["input_ids", "inputs_embeds"]))]
    kept = {name for name in ("attention_mask", "token_type_ids", "position_ids") if draw(st.booleans())}
    inputs = {name: value for name, value in inputs.items() if name in kept or name.startswith("input")}
    forms = {}
    if draw(st.integers(0, 9)) == 0:
        shape = draw(st.sampled_from(["no texts", "no columns", "one text", "one column"]))
        inputs = {name: _SHAPES[shape](value) for name, value in inputs.items()}
    for name in draw(st.lists(st.sampled_from(sorted(inputs)), min_size=1, max_size=2, unique=True)):
        value = inputs[name]
        if draw(st.integers(0, 2)) == 0:
            value = value.to(draw(st.sampled_from(_DTYPES)))
        if draw(st.integers(0, 3)) == 0 and value.numel() > 0:
            value = _SHAPES[draw(st.sampled_from(sorted(_SHAPES)))](value)
        forms[name] = draw(odd_tensors.forms)
        inputs[name] = odd_tensors.made(forms[name], value)
    drawn = _Inputs(inputs)
    drawn.forms = forms
    return drawn


def _outcome(model: Any, inputs: dict[str, Tensor], mode: AbstractContextManager[Any]) -> Any:
    with mode:
        try:
            return {name: _read(value) for name, value in model(**inputs).items()}
        except Exception as error:
            return error


def _read(output: Tensor) -> Any:
    """A plain tensor; of one that holds no numbers, what it is."""
    if output.is_meta or type(output) is not Tensor:
        return str(type(output)), str(output.device), list(output.shape)
    return output.detach()


@pytest.fixture
def pair(make_config, shared_pair):
    return shared_pair("BertModel", make_config("gelu-1x2x32"), on_fallback="silent")


@pytest.mark.fuzz
def test_any_tensors(pair):
    @fuzzer(150)
    @given(inputs=_inputs(), mode=st.sampled_from(sorted(_MODES)))
    def check(inputs, mode):
        fast_calls = bertfast.STATS["fast"]
        actual = _outcome(pair.fast, inputs, _MODES[mode]())
        if "on meta" in inputs.forms.values():
            # Beside others torch reads such ids as if there were any: no two calls of stock are alike.
            assert bertfast.STATS["fast"] == fast_calls
            return
        expected = _outcome(pair.stock, inputs, _MODES[mode]())
        if isinstance(actual, bertfast.InputShapeError):
            return  # stock makes something of a mask without columns, and nothing of no texts
        assert_same_outcome(actual, expected, 2 * pair.bound)

    check()


@contextmanager
def _replaced(models: Sequence[nn.Module], name: str, form: str) -> Iterator[None]:
    """The parameter of each model in this form."""
    owner, _, attribute = name.rpartition(".")
    owners = [model.get_submodule(owner)._parameters for model in models]
    before = [parameters[attribute] for parameters in owners]
    odd = odd_tensors.made(form, before[0].detach())
    try:
        for parameters in owners:
            parameters[attribute] = odd if isinstance(odd, nn.Parameter) else nn.Parameter(odd, requires_grad=False)
        yield
    finally:
        for parameters, parameter in zip(owners, before, strict=True):
            parameters[attribute] = parameter


@pytest.mark.fuzz
@pytest.mark.parametrize("precision", [None, *REDUCED])
def test_any_parameter(precision, make_config, shared_pair):
    bound = 2 * TOLERANCES[torch.float32].model
    if precision is not None:
        needs(precision)
        bound = 2 * REDUCED_TOLERANCES[precision].model
    pair = shared_pair("BertModel", make_config("gelu-1x2x32"), precision=precision, on_fallback="silent")
    names = [name for name, _ in pair.stock.named_parameters()]
    inputs = {name: _fitting()[name] for name in ("input_ids", "attention_mask")}

    @fuzzer(50)
    @given(st.sampled_from(names), odd_tensors.forms)
    def check(name, form):
        if form == "on meta":
            reject()  # which stock computes with, as above
        with _replaced([pair.stock, pair.fast], name, form):
            expected = _outcome(pair.stock, inputs, torch.no_grad())
            assert_same_outcome(_outcome(pair.fast, inputs, torch.no_grad()), expected, bound)

    check()
