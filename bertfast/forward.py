"""One fast forward: from checked inputs to outputs in the padded layout."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from bertfast.encoder import PackedTokens, embed, run_all_layers, run_layers
from bertfast.inputs import EncoderInputs
from bertfast.packing import PackedBatch
from bertfast.weights import EncoderWeights

#: Runs the layers of a small batch: embeddings, batch, first token only, what is done with the rows.
SmallBatchRunner = Callable[[Tensor, PackedBatch, bool, Callable[[Tensor], Tensor]], Tensor]


def packed_forward(
    weights: EncoderWeights,
    tokens: PackedTokens,
    batch: PackedBatch,
    first_token_only: bool,
    wants_states: bool,
    after_embedding: Callable[[Tensor], None],
    run_small: SmallBatchRunner | None,
) -> Callable[[], tuple[Tensor, ...]]:
    """The forward of a call, to be run without a graph: the last hidden state, then the earlier ones if wanted."""

    def run() -> tuple[Tensor, ...]:
        x, out_of_range = embed(weights, tokens)
        after_embedding(out_of_range)
        if wants_states:
            *earlier, last = (batch.scatter(state) for state in run_all_layers(weights, x, batch.sequences))
            return (last, *earlier)
        finish = batch.scatter_first if first_token_only else batch.scatter
        if run_small is not None:
            return (run_small(x, batch, first_token_only, finish),)
        return (finish(run_layers(weights, x, batch.sequences, first_token_only)),)

    return run


def packed_tokens(weights: EncoderWeights, inputs: EncoderInputs, batch: PackedBatch, checks_ids: bool) -> PackedTokens:
    """The ids by position, on the device of the weights. Given embeddings are a table, looked up by position."""
    device = weights.device

    def flat(ids: Tensor | None) -> Tensor | None:
        return None if ids is None else ids.reshape(-1).to(device, non_blocking=True)

    table = weights.embeddings.word
    if inputs.inputs_embeds is not None:
        embeds = inputs.inputs_embeds.detach().reshape(-1, weights.spec.hidden_size)
        table = embeds.to(device, non_blocking=True)
    return PackedTokens(
        flat(inputs.input_ids),
        flat(inputs.token_type_ids),
        flat(inputs.position_ids),
        table,
        batch.rows(),
        batch.padded_len,
        checks_ids,
    )
