"""Models without their original weights: what was copied in a reduced precision is all that is left of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bertfast.errors import ReleasedWeightsError, UnsupportedModelError
from bertfast.families import bert as family
from bertfast.guard import inspect_model
from bertfast.prepared import Prepared
from bertfast.released_parameter import ReleasedParameter, holds_released, is_marked, mark, unmark
from bertfast.weights import copied_roles


def check_traceable(model: nn.Module) -> None:
    """Raise ReleasedWeightsError if the weights of ``model`` are gone, where torch.compile traces the question."""
    if is_marked(model):
        raise _error(model, "be traced")


def check_not_released(model: nn.Module, purpose: str = "be prepared anew") -> None:
    """Raise ReleasedWeightsError if the weights of ``model`` are gone; all but fast calls need them."""
    if holds_released(model):
        raise _error(model, purpose)


def _error(model: nn.Module, purpose: str) -> ReleasedWeightsError:
    return ReleasedWeightsError(
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
    """Give up the weights that ``prepared`` holds copies of: a `ReleasedParameter` takes the place of each.

    Names, shapes and dtype stay; no parameter requires gradients any longer. Calls that are running keep what they
    read. ``state_dict``, ``load_state_dict`` and what uses them raise ReleasedWeightsError.
    """
    with torch.inference_mode(False), torch.no_grad():
        stand_ins = {parameter: ReleasedParameter.of(parameter) for parameter in _copied(prepared)}
    slots = [
        (module._parameters, name, found)
        for module in model.modules()
        for name, found in module._parameters.items()
        if found is not None and found in stand_ins
    ]
    trained = [parameter for parameter in prepared.snapshot.parameters.values() if parameter.requires_grad]
    hooks: list[RemovableHandle] = []
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        mark(model)
        for owner, name, found in slots:
            owner[name] = stand_ins[found]
        for module in filter(holds_released, model.modules()):
            hooks.append(module.register_state_dict_pre_hook(_refuse_state_dict))
            hooks.append(module.register_load_state_dict_pre_hook(_refuse_loading))
        _, snapshot = inspect_model(model)
        return replace(prepared, snapshot=snapshot, copied=None)
    except BaseException:
        # Interrupted: nothing would know where the copies are of what is gone.
        for owner, name, found in slots:
            owner[name] = found
        for hook in hooks:
            hook.remove()
        unmark(model)
        for parameter in trained:
            parameter.requires_grad_(True)
        raise


def renewed(model: nn.Module, last: Prepared | None) -> Prepared:
    """``last`` for a model that has changed since, whose weights were given up, if it is right for it still.

    Raises ReleasedWeightsError with what has changed if not, and Refused if stock would have to run.
    """
    if last is None or last.copied is not None or not last.weights.copied:
        # It shares them with the model that was asked to give them up.
        raise _error(model, "be prepared anew")
    spec, snapshot = inspect_model(model)
    changed = last.snapshot.changed_parameters(snapshot)
    if spec != last.weights.spec or changed:
        what = f"{', '.join(changed[:3])} changed" if changed else f"{spec} is not {last.weights.spec}"
        raise _error(model, f"be prepared anew ({what})")
    return replace(last, snapshot=snapshot)


def _refuse_state_dict(module: nn.Module, prefix: str, keep_vars: bool) -> None:
    check_not_released(module, "give its state dict")


def _refuse_loading(module: nn.Module, *arguments: Any) -> None:
    check_not_released(module, "load a state dict")
