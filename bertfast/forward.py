"""One fast forward: from checked inputs to outputs in the padded layout."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bertfast.encoder import PackedTokens, encode, encode_first, encode_last
from bertfast.inputs import EncoderInputs
from bertfast.packing import PackedBatch
from bertfast.weights import EncoderWeights


def packed_forward(
    weights: EncoderWeights, inputs: EncoderInputs, batch: PackedBatch, first_token_only: bool, wants_states: bool
) -> Callable[[], tuple[Tensor, ...]]:
    """The forward of a call, to be run without a graph: the last hidden state, then the earlier ones if wanted."""

    def run() -> tuple[Tensor, ...]:
        tokens = packed_tokens(weights, inputs, batch)
        if first_token_only:
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
