"""``bertfast::embedding_layer_norm``: three gathers and a LayerNorm, the first thing an encoder does."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bertfast.ops._library import check_dtype, check_shape, register


def embedding_layer_norm(
    input_ids: Tensor,
    token_type_ids: Tensor,
    position_ids: Tensor,
    word_embeddings: Tensor,
    token_type_embeddings: Tensor,
    position_embeddings: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
) -> Tensor:
    """LayerNorm of ``word[input_ids] + token_type[token_type_ids] + position[position_ids]``.

    The ids are [T], int64 or int32; the tables [rows, H]; weight and bias [H] -> [T, H], dtype of the tables.
    Ids are taken to be in range: the engine checks them before the first op. Raises ValueError for shapes and
    dtypes that do not fit.
    """
    return torch.ops.bertfast.embedding_layer_norm(  # type: ignore[no-any-return]
        input_ids,
        token_type_ids,
        position_ids,
        word_embeddings,
        token_type_embeddings,
        position_embeddings,
        weight,
        bias,
        eps,
    )


def _check(
    input_ids: Tensor,
    token_type_ids: Tensor,
    position_ids: Tensor,
    word_embeddings: Tensor,
    token_type_embeddings: Tensor,
    position_embeddings: Tensor,
    weight: Tensor,
    bias: Tensor,
) -> None:
    check_shape("input_ids", input_ids, "T")
    ids = {"input_ids": input_ids, "token_type_ids": token_type_ids, "position_ids": position_ids}
    for name, index in ids.items():
        check_shape(name, index, input_ids.shape[0])
        check_dtype(name, index, torch.int64, torch.int32)
    check_shape("word_embeddings", word_embeddings, "rows", "H")
    hidden_size, dtype = word_embeddings.shape[1], word_embeddings.dtype
    tables = {"token_type_embeddings": token_type_embeddings, "position_embeddings": position_embeddings}
    for name, table in tables.items():
        check_shape(name, table, "rows", hidden_size)
        check_dtype(name, table, dtype)
    for name, parameter in {"weight": weight, "bias": bias}.items():
        check_shape(name, parameter, hidden_size)
        check_dtype(name, parameter, dtype)


def _reference(
    input_ids: Tensor,
    token_type_ids: Tensor,
    position_ids: Tensor,
    word_embeddings: Tensor,
    token_type_embeddings: Tensor,
    position_embeddings: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
) -> Tensor:
    _check(
        input_ids,
        token_type_ids,
        position_ids,
        word_embeddings,
        token_type_embeddings,
        position_embeddings,
        weight,
        bias,
    )
    # The order of the sum is Hugging Face's own, so that float32 results agree to the last bit.
    x = F.embedding(input_ids, word_embeddings) + F.embedding(token_type_ids, token_type_embeddings)
    x += F.embedding(position_ids, position_embeddings)
    return F.layer_norm(x, weight.shape, weight, bias, eps)


def _fake(
    input_ids: Tensor,
    token_type_ids: Tensor,
    position_ids: Tensor,
    word_embeddings: Tensor,
    token_type_embeddings: Tensor,
    position_embeddings: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
) -> Tensor:
    _check(
        input_ids,
        token_type_ids,
        position_ids,
        word_embeddings,
        token_type_embeddings,
        position_embeddings,
        weight,
        bias,
    )
    return word_embeddings.new_empty((input_ids.shape[0], word_embeddings.shape[1]))


register(
    "embedding_layer_norm(Tensor input_ids, Tensor token_type_ids, Tensor position_ids, Tensor word_embeddings, "
    "Tensor token_type_embeddings, Tensor position_embeddings, Tensor weight, Tensor bias, float eps) -> Tensor",
    _reference,
    _fake,
)
