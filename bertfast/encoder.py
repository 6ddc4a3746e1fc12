"""The encoder: embeddings and post-LN layers over packed tokens. No padding, no masks, no devices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bertfast.ops import embedding_layer_norm, first_token_attention, varlen_attention
from bertfast.packing import PackedBatch
from bertfast.weights import EncoderWeights, LayerWeights

# Rows of one feed-forward step: the [rows, I] activations stay in the last-level cache.
_FEED_FORWARD_ROWS = 1024


@dataclass(frozen=True)
class PackedTokens:
    """What is embedded. word_ids, token_type_ids, position_ids: [T]; word_embeddings: [rows, H]."""

    word_ids: Tensor
    token_type_ids: Tensor
    position_ids: Tensor
    word_embeddings: Tensor


class Scratch:
    """Memory for the two widest activations, allocated once per forward and reused by every layer.

    A traced graph has none: its compiler plans the memory, and a block of rows would fix the number of tokens.
    """

    def __init__(self, weights: EncoderWeights, num_tokens: int, like: Tensor) -> None:
        spec = weights.spec
        self.qkv: Tensor | None = None
        self.intermediate: Tensor | None = None
        if not torch.compiler.is_compiling():
            self.qkv = like.new_empty((num_tokens, 3 * spec.hidden_size))
            self.intermediate = like.new_empty((min(num_tokens, _FEED_FORWARD_ROWS), spec.inner_size))


def embed(weights: EncoderWeights, tokens: PackedTokens) -> Tensor:
    """Sum of the three embeddings, normalised: [T, H]."""
    table = weights.embeddings
    return embedding_layer_norm(
        tokens.word_ids,
        tokens.token_type_ids,
        tokens.position_ids,
        tokens.word_embeddings,
        table.token_type,
        table.position,
        table.norm.weight,
        table.norm.bias,
        table.norm.eps,
    )


def encode(weights: EncoderWeights, tokens: PackedTokens, batch: PackedBatch) -> list[Tensor]:
    """All hidden states of the packed batch, embeddings first: L + 1 tensors [T, H]."""
    states = [embed(weights, tokens)]
    scratch = Scratch(weights, batch.num_tokens, states[0])
    for layer in weights.layers:
        states.append(run_layer(weights, layer, states[-1], batch, scratch))
    return states


def encode_last(weights: EncoderWeights, tokens: PackedTokens, batch: PackedBatch) -> Tensor:
    """The last hidden state of every packed row: [T, H]."""
    x = embed(weights, tokens)
    scratch = Scratch(weights, batch.num_tokens, x)
    for layer in weights.layers:
        x = run_layer(weights, layer, x, batch, scratch)
    return x


def encode_first(weights: EncoderWeights, tokens: PackedTokens, batch: PackedBatch) -> Tensor:
    """The last hidden state of each sequence's first token: [B, H], in packed order.

    The last layer computes keys and values for all rows, everything else for one row per sequence.
    """
    x = embed(weights, tokens)
    scratch = Scratch(weights, batch.num_tokens, x)
    for layer in weights.layers[:-1]:
        x = run_layer(weights, layer, x, batch, scratch)
    spec, last = weights.spec, weights.layers[-1]
    first = x[batch.first_rows]
    query = weights.first_token.query(first).view(-1, spec.num_heads, spec.head_size)
    key_value = weights.first_token.key_value(x).view(-1, 2, spec.num_heads, spec.head_size)
    context = first_token_attention(query, key_value, batch.cu_seqlens, batch.key_lengths, spec.scale)
    first = last.attention_output.add_norm(context.view(-1, spec.hidden_size), first, last.attention_norm)
    return feed_forward(weights, last, first, scratch)


def run_layer(weights: EncoderWeights, layer: LayerWeights, x: Tensor, batch: PackedBatch, scratch: Scratch) -> Tensor:
    """One post-LN layer. x: [T, H] -> [T, H]."""
    spec = weights.spec
    qkv = layer.qkv(x, out=scratch.qkv).view(-1, 3, spec.num_heads, spec.head_size)
    context = varlen_attention(qkv, batch.cu_seqlens, batch.key_lengths, batch.max_seqlen, spec.scale)
    x = layer.attention_output.add_norm(context.view(-1, spec.hidden_size), x, layer.attention_norm)
    return feed_forward(weights, layer, x, scratch)


def feed_forward(weights: EncoderWeights, layer: LayerWeights, x: Tensor, scratch: Scratch) -> Tensor:
    """Both dense layers of the feed-forward network and its LayerNorm, in blocks of rows. x: [T, H] -> [T, H]."""
    activation, memory = weights.spec.activation, scratch.intermediate
    if memory is None:
        return layer.output.add_norm(layer.intermediate.activated(x, activation), x, layer.output_norm)
    blocks = [
        layer.output.add_norm(
            layer.intermediate.activated(rows, activation, out=memory[: rows.shape[0]]), rows, layer.output_norm
        )
        for rows in x.split(_FEED_FORWARD_ROWS)
    ]
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks)
