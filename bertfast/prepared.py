"""A model as it was inspected and made ready to run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from bertfast import guard
from bertfast.errors import PrecisionError, ReleasedWeightsError
from bertfast.families import Refused
from bertfast.families import bert as family
from bertfast.graphs import GraphLimits
from bertfast.precision import missing, resolve
from bertfast.reporting import logger
from bertfast.runner import LayerRunner
from bertfast.staleness import Copied
from bertfast.weights import EncoderWeights, build_weights, copied_roles

# A mark that copies and pickles of a model carry.
_RELEASED = "_bertfast_released"


@dataclass(frozen=True)
class Prepared:
    """snapshot: what the model consisted of. runner: of small batches, None where launches cost nothing.

    copied: the weights that were copied, None if all are read in place or if the originals were given up.
    """

    snapshot: guard.Snapshot
    weights: EncoderWeights
    runner: LayerRunner | None
    copied: Copied | None = None

    def holds(self) -> bool:
        """Whether the model is still what was prepared."""
        return self.snapshot.holds() and (self.copied is None or self.copied.unchanged())


def prepare(model: nn.Module, precision: str | None = None) -> Prepared:
    """Inspect a ``BertModel``. Raises Refused with the first thing that does not fit."""
    # Weights prepared in inference mode would be inference tensors, and the parameters with them.
    with torch.inference_mode(False), torch.no_grad():
        spec, snapshot = guard.inspect_model(model)
        names = family.parameter_names(spec)
        parameters = {role: snapshot.parameters[name] for role, name in names.items()}
        word = parameters["embeddings.word"]
        try:
            reduced = resolve(precision, word.dtype, word.device)
        except PrecisionError as error:
            raise Refused(str(error)) from error
        # Taken first: a change while they are copied is noticed by the next call.
        copied = None if reduced is None else Copied(parameters[role] for role in copied_roles(spec))
        weights = build_weights(spec, parameters, reduced)
    pool = weights.backend.make_graph_pool()
    runner = None if pool is None else LayerRunner(weights, pool, GraphLimits())
    return Prepared(snapshot, weights, runner, copied)


def say_what_is_missing(model: nn.Module, asked: str | None, used: str | None) -> None:
    """Warn of a precision that was asked for and is not used, because this machine is not fast in it."""
    lacks = missing(asked) if asked in ("bfloat16", "int8") and used is None else None
    if lacks is not None and next(model.parameters()).dtype == torch.float32:
        logger.warning("bertfast: %s computes in float32, not in %s: %s", type(model).__name__, asked, lacks)


def check_not_released(model: nn.Module, purpose: str = "be prepared anew") -> None:
    """Raise ReleasedWeightsError if `release` has taken the weights of ``model``; all but fast calls need them."""
    if _RELEASED in model.__dict__:
        raise ReleasedWeightsError(
            f"{type(model).__name__} would {purpose}, and keep_original=False has given up the weights; load the model "
            "again, without it where this is needed"
        )


def release(model: nn.Module, prepared: Prepared) -> Prepared:
    """Give up the weights that ``prepared`` holds copies of: their memory is free, their values are NaN.

    The parameters stay, with their names, shapes and dtype, and require gradients no longer. ``state_dict``,
    ``load_state_dict`` and what uses them raise ReleasedWeightsError.
    """
    names = family.parameter_names(prepared.weights.spec)
    with torch.inference_mode(False), torch.no_grad():
        for parameter in prepared.snapshot.parameters.values():
            parameter.requires_grad_(False)
        for role in copied_roles(prepared.weights.spec):
            parameter = prepared.snapshot.parameters[names[role]]
            parameter.data = parameter.new_full((1,) * parameter.dim(), float("nan")).expand(parameter.shape)
    model.__dict__[_RELEASED] = True
    model.register_state_dict_pre_hook(_refuse_state_dict)
    model.register_load_state_dict_pre_hook(_refuse_loading)
    return replace(prepared, snapshot=prepared.snapshot.renewed(model), copied=None)


def _refuse_state_dict(model: nn.Module, prefix: str, keep_vars: bool) -> None:
    check_not_released(model, "give its state dict")


def _refuse_loading(model: nn.Module, *arguments: Any) -> None:
    check_not_released(model, "load a state dict")
