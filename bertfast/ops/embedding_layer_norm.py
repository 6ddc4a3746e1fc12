"""``bertfast::embedding_layer_norm``: three gathers and a LayerNorm, the first thing an encoder does."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bertfast.ops._library import check_dtype, check_shape, register
from bertfast.ops.id_range import (
    POSITION_ID_OUT_OF_RANGE,
    TOKEN_TYPE_ID_OUT_OF_RANGE,
    WORD_ID_OUT_OF_RANGE,
    is_out_of_range,
)


def embedding_layer_norm(
    input_ids: Tensor | None,
    token_type_ids: Tensor | None,
    position_ids: Tensor | None,
    word_embeddings: Tensor,
    token_type_embeddings: Tensor,
    position_embeddings: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    indices: Tensor | None = None,
    padded_len: int | None = None,
    checks_ids: bool = False,
) -> tuple[Tensor, Tensor]:
    """LayerNorm of ``word[input_ids] + token_type[token_type_ids] + position[position_ids]``.

    The ids are [P], int64 or int32, each by the position of the flattened batch; the tables [rows, H]; weight and
    bias [H]; indices: [T] int64, the position of each row, or None, and row t is position t -> [T, H], dtype of the
    tables, and [1] int32, or [0] without checks_ids.

    Without input_ids the word of a position is the position itself: the rows of given embeddings as the table, and P
    is their number. Without token_type_ids every type is 0. Without position_ids a position's id is its column,
    ``position % padded_len``; padded_len is not read otherwise.

    checks_ids: an id of the T rows that lies outside of its table counts as the nearest row of it, and the second
    result holds the bits of `id_range` of all such tables. Otherwise ids are taken to be in range. indices are always,
    from 0 to P - 1. Raises ValueError for shapes and dtypes that do not fit.
    """
    tables = (word_embeddings, token_type_embeddings, position_embeddings)
    return torch.ops.bertfast.embedding_layer_norm(  # type: ignore[no-any-return]
        input_ids, token_type_ids, position_ids, *tables, weight, bias, eps, indices, padded_len, checks_ids
    )


class _Arguments(NamedTuple):
    input_ids: Tensor | None
    token_type_ids: Tensor | None
    position_ids: Tensor | None
    word_embeddings: Tensor
    token_type_embeddings: Tensor
    position_embeddings: Tensor
    weight: Tensor
    bias: Tensor
    eps: float
    indices: Tensor | None = None
    padded_len: int | None = None
    checks_ids: bool = False

    @property
    def num_positions(self) -> int:
        return (self.word_embeddings if self.input_ids is None else self.input_ids).shape[0]

    @property
    def num_tokens(self) -> int:
        return self.num_positions if self.indices is None else self.indices.shape[0]

    def positions(self) -> Tensor:
        return torch.arange(self.num_positions, device=self.word_embeddings.device)

    def columns(self) -> Tensor:
        assert self.padded_len is not None
        return self.positions() % self.padded_len


def _check(a: _Arguments) -> None:
    if a.input_ids is not None:
        check_shape("input_ids", a.input_ids, "P")
    _check_parameters(a)
    ids = {"input_ids": a.input_ids, "token_type_ids": a.token_type_ids, "position_ids": a.position_ids}
    for name, index in ids.items():
        if index is not None:
            check_shape(name, index, a.num_positions)
            check_dtype(name, index, torch.int64, torch.int32)
    if a.indices is not None:
        check_shape("indices", a.indices, "T")
        check_dtype("indices", a.indices, torch.int64)
    if a.position_ids is None:
        _check_columns(a.padded_len, a.position_embeddings.shape[0])


def _check_parameters(a: _Arguments) -> None:
    check_shape("word_embeddings", a.word_embeddings, "rows", "H")
    hidden_size, dtype = a.word_embeddings.shape[1], a.word_embeddings.dtype
    tables = {"token_type_embeddings": a.token_type_embeddings, "position_embeddings": a.position_embeddings}
    for name, table in tables.items():
        check_shape(name, table, "rows", hidden_size)
        check_dtype(name, table, dtype)
    # No id lies in an empty table, and none can be brought into it.
    looked_up = tables if a.input_ids is None else {"word_embeddings": a.word_embeddings, **tables}
    for name, table in looked_up.items():
        if table.shape[0] < 1:
            raise ValueError(f"{name}: expected at least 1 row, got 0")
    for name, parameter in {"weight": a.weight, "bias": a.bias}.items():
        check_shape(name, parameter, hidden_size)
        check_dtype(name, parameter, dtype)


def _check_columns(padded_len: int | None, num_rows: int) -> None:
    if padded_len is None:
        raise ValueError("padded_len: expected the columns of the batch, without position_ids, got None")
    if padded_len < 1 or padded_len > num_rows:
        raise ValueError(f"padded_len: expected 1 to {num_rows}, the rows of position_embeddings, got {padded_len}")


def _reference(a: _Arguments) -> tuple[Tensor, Tensor]:
    # Not in _check: traced, the number of tokens would become a guard.
    if a.word_embeddings.shape[0] < 1 and a.num_tokens > 0:
        raise ValueError("word_embeddings: expected at least 1 row, got 0")
    bits = 0

    def rows(ids: Tensor, table: Tensor, bit: int) -> Tensor:
        """The table's rows for the ids by position."""
        nonlocal bits
        if a.indices is not None:
            ids = ids.index_select(0, a.indices)
        if a.checks_ids:
            bits |= bit * is_out_of_range(ids, table.shape[0])
            ids = ids.clamp(0, table.shape[0] - 1)
        return F.embedding(ids, table)

    # The order of the sum is Hugging Face's own, so that float32 results agree to the last bit.
    words = a.positions() if a.input_ids is None else a.input_ids
    x = rows(words, a.word_embeddings, WORD_ID_OUT_OF_RANGE)
    if a.token_type_ids is None:
        x += a.token_type_embeddings[0]
    else:
        x += rows(a.token_type_ids, a.token_type_embeddings, TOKEN_TYPE_ID_OUT_OF_RANGE)
    x += rows(
        a.columns() if a.position_ids is None else a.position_ids, a.position_embeddings, POSITION_ID_OUT_OF_RANGE
    )
    out = F.layer_norm(x, a.weight.shape, a.weight, a.bias, a.eps)
    return out, out.new_full((int(a.checks_ids),), bits, dtype=torch.int32)


def _fake(a: _Arguments) -> tuple[Tensor, Tensor]:
    out = a.word_embeddings.new_empty((a.num_tokens, a.word_embeddings.shape[1]))
    return out, out.new_empty((int(a.checks_ids),), dtype=torch.int32)


# The bits are a result, not an argument that changes: inductor could not lower that.
register(
    "embedding_layer_norm(Tensor? input_ids, Tensor? token_type_ids, Tensor? position_ids, Tensor word_embeddings, "
    "Tensor token_type_embeddings, Tensor position_embeddings, Tensor weight, Tensor bias, float eps, "
    "Tensor? indices=None, SymInt? padded_len=None, bool checks_ids=False) -> (Tensor, Tensor)",
    _reference,
    _fake,
    _check,
    _Arguments,
)
