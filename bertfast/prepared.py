"""A model as it was inspected and made ready to run."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from bertfast import guard
from bertfast.backends import resolve_precision
from bertfast.errors import PrecisionError
from bertfast.families import Refused
from bertfast.families import bert as family
from bertfast.graphs import GraphLimits
from bertfast.precision import Choice
from bertfast.runner import LayerRunner
from bertfast.staleness import Copied
from bertfast.weights import EncoderWeights, build_weights, copied_roles


@dataclass(frozen=True)
class Prepared:
    """snapshot: what the model consisted of. runner: of small batches, None where launches cost nothing.

    copied: the weights that were copied, None if all are read in place or if the originals were given up. choice:
    what became of the precision that was asked for.
    """

    snapshot: guard.Snapshot
    weights: EncoderWeights
    runner: LayerRunner | None
    copied: Copied | None = None
    choice: Choice = field(default_factory=Choice)

    def holds(self) -> bool:
        """Whether the model is still what was prepared."""
        return self.snapshot.holds() and (self.copied is None or self.copied.unchanged())


def prepare(model: nn.Module, precision: str | None = None, invariant: bool = False) -> Prepared:
    """Inspect a ``BertModel``. Raises Refused with the first thing that does not fit, InvarianceError."""
    # Weights prepared in inference mode would be inference tensors, and the parameters with them.
    with torch.inference_mode(False), torch.no_grad():
        spec, snapshot = guard.inspect_model(model)
        names = family.parameter_names(spec)
        parameters = {role: snapshot.parameters[name] for role, name in names.items()}
        word = parameters["embeddings.word"]
        try:
            choice = resolve_precision(precision, word)
        except PrecisionError as error:
            raise Refused(str(error)) from error
        # Taken first: a change while they are copied is noticed by the next call.
        copied = None if choice.reduced is None else Copied(parameters[role] for role in copied_roles(spec))
        weights = build_weights(spec, parameters, choice.reduced, invariant)
    pool = weights.backend.make_graph_pool()
    runner = None if pool is None else LayerRunner(weights, pool, GraphLimits())
    return Prepared(snapshot, weights, runner, copied, choice)
