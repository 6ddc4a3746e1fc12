"""Models without their original weights: what was copied in a reduced precision is all that is left of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from bertfast.errors import ReleasedWeightsError, UnsupportedModelError
from bertfast.families import bert as family
from bertfast.prepared import Prepared
from bertfast.weights import copied_roles

# A mark that copies and pickles of a model carry.
_RELEASED = "_bertfast_released"


def is_released(model: nn.Module) -> bool:
    """Whether `release` has taken the weights of ``model``."""
    return _RELEASED in model.__dict__


def check_not_released(model: nn.Module, purpose: str = "be prepared anew") -> None:
    """Raise ReleasedWeightsError if the weights of ``model`` are gone; all but fast calls need them."""
    if is_released(model):
        raise ReleasedWeightsError(
            f"{type(model).__name__} would {purpose}, and keep_original=False has given up the weights; load the model "
            "again, without it where this is needed"
        )


def check_unchanged(model: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    """Raise ReleasedWeightsError if ``change``, what `nn.Module.to` and the like do, would do anything to the model."""
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            # Of the same kind but small: nothing is done to the model itself.
            stand_in = tensor.new_zeros((1,) * tensor.dim())
            address = stand_in.data_ptr()
            if change(stand_in) is not stand_in or stand_in.data_ptr() != address:
                check_not_released(model, "move or convert its weights")


def check_not_shared(root: nn.Module, model: nn.Module, prepared: Prepared) -> None:
    """Raise UnsupportedModelError if a weight that `release` would take is reached in ``root`` without ``model``."""
    given_up = {id(parameter) for parameter in _copied(prepared)}
    if any(id(parameter) in given_up for parameter in _parameters_without(root, model)):
        raise UnsupportedModelError(
            f"{type(model).__name__} shares weights with another part of {type(root).__name__}, which would lose them "
            "with keep_original=False; accelerate it without that option"
        )


def _copied(prepared: Prepared) -> list[nn.Parameter]:
    """The parameters that ``prepared`` holds copies of."""
    spec = prepared.weights.spec
    names = family.parameter_names(spec)
    return [prepared.snapshot.parameters[names[role]] for role in copied_roles(spec)]


def _parameters_without(root: nn.Module, left_out: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of all modules that can be reached without entering ``left_out``."""
    seen, waiting = {left_out}, [root]
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            yield from module.parameters(recurse=False)
            waiting.extend(module.children())


def release(model: nn.Module, prepared: Prepared) -> Prepared:
    """Give up the weights that ``prepared`` holds copies of: their memory is free, their values are NaN.

    The parameters stay, with their names, shapes and dtype, and require gradients no longer. ``state_dict``,
    ``load_state_dict`` and what uses them raise ReleasedWeightsError.
    """
    with torch.inference_mode(False), torch.no_grad():
        for parameter in prepared.snapshot.parameters.values():
            parameter.requires_grad_(False)
        for parameter in _copied(prepared):
            parameter.data = parameter.new_full((1,) * parameter.dim(), float("nan")).expand(parameter.shape)
    model.__dict__[_RELEASED] = True
    model.register_state_dict_pre_hook(_refuse_state_dict)
    model.register_load_state_dict_pre_hook(_refuse_loading)
    return replace(prepared, snapshot=prepared.snapshot.renewed(model), copied=None)


def _refuse_state_dict(model: nn.Module, prefix: str, keep_vars: bool) -> None:
    check_not_released(model, "give its state dict")


def _refuse_loading(model: nn.Module, *arguments: Any) -> None:
    check_not_released(model, "load a state dict")
