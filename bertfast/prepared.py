"""A model as it was inspected and made ready to run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from bertfast import guard
from bertfast.families import bert as family
from bertfast.graphs import GraphLimits
from bertfast.runner import LayerRunner
from bertfast.weights import EncoderWeights, build_weights


@dataclass(frozen=True)
class Prepared:
    """snapshot: what the model consisted of. runner: of small batches, None where launches cost nothing."""

    snapshot: guard.Snapshot
    weights: EncoderWeights
    runner: LayerRunner | None


def prepare(model: nn.Module) -> Prepared:
    """Inspect a ``BertModel``. Raises Refused with the first thing that does not fit."""
    # Weights prepared in inference mode would be inference tensors, and the parameters with them.
    with torch.inference_mode(False), torch.no_grad():
        spec, snapshot = guard.inspect_model(model)
        names = family.parameter_names(spec)
        weights = build_weights(spec, {role: snapshot.parameters[name] for role, name in names.items()})
    pool = weights.backend.make_graph_pool()
    runner = None if pool is None else LayerRunner(weights, pool, GraphLimits())
    return Prepared(snapshot, weights, runner)
