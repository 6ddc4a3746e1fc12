"""One fast forward: from checked inputs to outputs in the padded layout, with or without a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bertfast.autograd import Recomputation, with_gradients
from bertfast.encoder import PackedTokens, encode, encode_first, encode_last
from bertfast.guard import Snapshot
from bertfast.inputs import EncoderInputs
from bertfast.packing import PackedBatch
from bertfast.weights import EncoderWeights


def fast_forward(
    weights: EncoderWeights, inputs: EncoderInputs, batch: PackedBatch, pooled_only: bool, wants_states: bool
) -> Callable[[], tuple[Tensor, ...]]:
    """The fast forward, to be called without a graph: last hidden state, then the earlier ones if wanted."""

    def run() -> tuple[Tensor, ...]:
        tokens = packed_tokens(weights, inputs, batch)
        if pooled_only:
            return (batch.scatter_first(encode_first(weights, tokens, batch)),)
        if wants_states:
            *earlier, last = (batch.scatter(state) for state in encode(weights, tokens, batch))
            return (last, *earlier)
        return (batch.scatter(encode_last(weights, tokens, batch)),)

    return run


def packed_tokens(weights: EncoderWeights, inputs: EncoderInputs, batch: PackedBatch) -> PackedTokens:
    """The ids of the computed positions. Given embeddings are a table whose rows are looked up by position."""
    columns = batch.columns() if inputs.position_ids is None else batch.gather(inputs.position_ids)
    types = inputs.token_type_ids
    token_types = torch.zeros_like(columns) if types is None else batch.gather(types)
    if inputs.input_ids is not None:
        return PackedTokens(batch.gather(inputs.input_ids), token_types, columns, weights.embeddings.word)
    assert inputs.inputs_embeds is not None
    table = inputs.inputs_embeds.detach().reshape(-1, weights.spec.hidden_size)
    rows = torch.arange(len(table), device=table.device)
    return PackedTokens(rows if batch.indices is None else batch.indices, token_types, columns, table)


def differentiable(
    model: nn.Module,
    stock: Callable[..., Any],
    arguments: Mapping[str, Any],
    snapshot: Snapshot,
    run: Callable[[], tuple[Tensor, ...]],
    computed: Tensor | None,
    pooled_only: bool,
) -> tuple[Tensor, ...]:
    """The outputs of ``run``, with stock's backward if anything requires gradients."""
    wanted = [p for p in snapshot.parameters.values() if p.requires_grad]
    embeds = arguments.get("inputs_embeds")
    if embeds is not None and embeds.requires_grad:
        wanted.append(embeds)
    if not wanted:
        with torch.no_grad():
            return run()

    def recompute() -> tuple[Tensor, ...]:
        with _EvalMode(model):
            output = stock(model, **{**arguments, "return_dict": True})
        if pooled_only:
            return (output.last_hidden_state[:, :1],)
        states = output.hidden_states or ()
        return (output.last_hidden_state, *states[:-1])

    visible = None if computed is None or pooled_only else computed.unsqueeze(2)
    kept = tuple(value for value in arguments.values() if isinstance(value, Tensor))
    return with_gradients(Recomputation(run, recompute, tuple(wanted), kept, snapshot.same_objects, visible))


class _EvalMode:
    """The forward that is being repeated ran in eval mode; a script may have called ``train()`` since."""

    def __init__(self, model: nn.Module) -> None:
        self._training = [m for m in model.modules() if m.training]

    def __enter__(self) -> None:
        for module in self._training:
            module.training = False

    def __exit__(self, *_: object) -> None:
        for module in self._training:
            module.training = True
