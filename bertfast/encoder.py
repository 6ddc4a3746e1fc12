"""The encoder: embeddings and post-LN layers over packed tokens. No masks, no devices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bertfast.linear import filled_up
from bertfast.ops import embedding_layer_norm, gather_first
from bertfast.packing import Sequences
from bertfast.weights import EncoderWeights, LayerWeights


@dataclass(frozen=True)
class PackedTokens:
    """What is embedded, by position of the padded batch; see `bertfast.ops.embedding_layer_norm`.

    word_ids, token_type_ids, position_ids: [P] or None; word_embeddings: [rows, H]; indices: [T] or None;
    padded_len: S; checks_ids: nobody has compared the ids with their tables yet.
    """

    word_ids: Tensor | None
    token_type_ids: Tensor | None
    position_ids: Tensor | None
    word_embeddings: Tensor
    indices: Tensor | None
    padded_len: int
    checks_ids: bool = False


class Scratch:
    """Memory for the two widest activations, allocated once per forward and reused by every layer.

    A traced graph has none: its compiler plans the memory, and a block of rows would fix the number of tokens. Nor have
    products of a reduced precision, whose library allocates their results.
    """

    def __init__(self, weights: EncoderWeights, x: Tensor) -> None:
        spec, num_tokens = weights.spec, x.shape[0]
        self.block: int | None = None
        self.qkv: Tensor | None = None
        self.intermediate: Tensor | None = None
        if torch.compiler.is_compiling():
            return
        self.block = max(1, min(num_tokens, weights.block_rows or num_tokens))
        if not weights.copied:
            self.qkv = x.new_empty((num_tokens, 3 * spec.hidden_size))
            self.intermediate = x.new_empty((self.block, spec.inner_size))


def embed(weights: EncoderWeights, tokens: PackedTokens) -> tuple[Tensor, Tensor]:
    """Sum of the three embeddings, normalised: [T, H]; and what was found of the ids, as the op tells it."""
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
        tokens.indices,
        tokens.padded_len,
        tokens.checks_ids,
    )


def run_all_layers(weights: EncoderWeights, x: Tensor, sequences: Sequences) -> list[Tensor]:
    """All hidden states. x: [T, H], the embeddings -> themselves and the result of each layer, L + 1 tensors [T, H]."""
    rows, states = x.shape[0], [_filled_up(weights, x)]
    sequences = _as_computed(weights, sequences)
    scratch = Scratch(weights, states[0])
    for layer in weights.layers:
        states.append(run_layer(weights, layer, states[-1], sequences, scratch))
    return [x, *(_first_rows(state, rows) for state in states[1:])]


def run_layers(weights: EncoderWeights, x: Tensor, sequences: Sequences, first_token_only: bool) -> Tensor:
    """The last hidden state. x: [T, H], the embeddings -> [T, H], or of each sequence's first token [B, H]."""
    rows, x = x.shape[0], _filled_up(weights, x)
    sequences = _as_computed(weights, sequences)
    scratch = Scratch(weights, x)
    *layers, last = weights.layers
    for layer in layers:
        x = run_layer(weights, layer, x, sequences, scratch)
    if first_token_only:
        return run_layer_on_first(weights, last, x, sequences, scratch)
    return _first_rows(run_layer(weights, last, x, sequences, scratch), rows)


def _as_computed(weights: EncoderWeights, sequences: Sequences) -> Sequences:
    return sequences.taken_apart() if weights.invariant else sequences


def _filled_up(weights: EncoderWeights, x: Tensor) -> Tensor:
    """x with rows of zeros below, which belong to no sequence, where other numbers of rows would be slow."""
    if torch.compiler.is_compiling():
        return x
    return filled_up(x, weights.backend.padded_rows(x.shape[0], weights.dtype, weights.precision))


def _first_rows(x: Tensor, rows: int) -> Tensor:
    """x without what `_filled_up` added, and nothing else in its memory: callers may keep it."""
    return x if x.shape[0] == rows else x[:rows].clone()


def run_layer(
    weights: EncoderWeights, layer: LayerWeights, x: Tensor, sequences: Sequences, scratch: Scratch
) -> Tensor:
    """One post-LN layer. x: [T, H] -> [T, H]."""
    spec = weights.spec
    qkv = layer.qkv(x, out=scratch.qkv).view(-1, 3, spec.num_heads, spec.head_size)
    context = weights.backend.attention(qkv, sequences, spec.scale)
    return after_attention(weights, layer, context.view(-1, spec.hidden_size), x, scratch)


def run_layer_on_first(
    weights: EncoderWeights, layer: LayerWeights, x: Tensor, sequences: Sequences, scratch: Scratch
) -> Tensor:
    """The last layer, for the first token of each sequence. x: [T, H] -> [B, H].

    Keys and values are those of all rows; everything else is computed for one row per sequence.
    """
    spec = weights.spec
    first = _filled_up(weights, gather_first(x, sequences.first_rows))
    query = weights.first_token.query(first)[: len(sequences)].view(-1, spec.num_heads, spec.head_size)
    key_value = weights.first_token.key_value(x).view(-1, 2, spec.num_heads, spec.head_size)
    context = weights.backend.first_token_attention(query, key_value, sequences, spec.scale)
    context = _filled_up(weights, context.view(-1, spec.hidden_size))
    return _first_rows(after_attention(weights, layer, context, first, scratch), len(sequences))


def after_attention(
    weights: EncoderWeights, layer: LayerWeights, context: Tensor, x: Tensor, scratch: Scratch
) -> Tensor:
    """What a layer does with each row by itself, in blocks of rows. context, x: [T, H] -> [T, H]."""
    if layer.tail is not None:
        return layer.tail(context, x)
    activation = weights.spec.activation

    def run(context: Tensor, x: Tensor) -> Tensor:
        out = None if scratch.intermediate is None else scratch.intermediate[: x.shape[0]]
        x = layer.attention_output.add_norm(context, x, layer.attention_norm)
        return layer.output.add_norm(layer.intermediate.activated(x, activation, out=out), x, layer.output_norm)

    if scratch.block is None or x.shape[0] <= scratch.block:
        return run(context, x)
    return torch.cat(list(map(run, context.split(scratch.block), x.split(scratch.block))))
