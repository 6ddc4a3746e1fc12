"""Arguments for every op, and float64 oracles written out from the definitions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bertfast import ops

Arguments = dict[str, Any]


def randn(*size: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal values that the dtype holds exactly; the same for every dtype but for that rounding."""
    return torch.randn(size, dtype=torch.float64).to(dtype)


def offsets(lengths: list[int]) -> Tensor:
    """cu_seqlens of sequences of these lengths."""
    return torch.tensor([sum(lengths[:i]) for i in range(len(lengths) + 1)], dtype=torch.int32)


def counts(lengths: list[int] | None) -> Tensor | None:
    """key_lengths, or None."""
    return None if lengths is None else torch.tensor(lengths, dtype=torch.int32)


def with_strides(value):
    """The same values at twice the distance, the axes in another order."""
    if not isinstance(value, torch.Tensor) or value.dim() == 0:
        return value
    flipped = value.permute(*reversed(range(value.dim())))
    return flipped.repeat_interleave(2, 0).permute(*reversed(range(value.dim())))[..., ::2]


# Oracles. Each computes in float64 from the values given, which may be rounded to a narrower dtype.


def activation_oracle(x: Tensor, activation: str) -> Tensor:
    """GELU after Hendrycks & Gimpel: exact by erf, or approximated by tanh; ReLU."""
    x = x.double()
    if activation == "relu":
        return torch.where(x > 0, x, 0.0)
    if activation == "erf":
        return x * 0.5 * torch.erfc(-x / math.sqrt(2))
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def layer_norm_oracle(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Ba et al.: biased variance, around the mean."""
    x = x.double()
    centred = x - x.mean(1, keepdim=True)
    variance = centred.pow(2).mean(1, keepdim=True)
    return centred / (variance + eps).sqrt() * weight.double() + bias.double()


def attention_row_oracle(query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """One query of one head. query: [D]; keys, values: [n, D] -> [D]; zeros if n is 0."""
    if len(keys) == 0:
        return torch.zeros_like(query)
    scores = scale * (keys * query).sum(1)
    weights = (scores - scores.max()).exp()
    return (weights.unsqueeze(1) * values).sum(0) / weights.sum()


def varlen_attention_oracle(qkv: Tensor, lengths: list[int], keys: list[int] | None, scale: float) -> Tensor:
    """Every query by itself. qkv: [T, 3, N, D] -> [T, N, D]."""
    qkv = qkv.double()
    out, row = torch.empty_like(qkv[:, 0]), 0
    for length, num_keys in zip(lengths, keys or lengths, strict=True):
        seen = slice(row, row + num_keys)
        for i in range(row, row + length):
            for n in range(qkv.shape[2]):
                q, k, v = qkv[i, 0, n], qkv[seen, 1, n], qkv[seen, 2, n]
                out[i, n] = attention_row_oracle(q, k, v, scale)
        row += length
    assert row == len(qkv)
    return out


def first_token_attention_oracle(
    query: Tensor, key_value: Tensor, lengths: list[int], keys: list[int] | None, scale: float
) -> Tensor:
    """One query for each sequence. query: [B, N, D]; key_value: [T, 2, N, D] -> [B, N, D]."""
    query, key_value = query.double(), key_value.double()
    out, row = torch.empty_like(query), 0
    for b, (length, num_keys) in enumerate(zip(lengths, keys or lengths, strict=True)):
        for n in range(query.shape[1]):
            k, v = (key_value[row : row + num_keys, part, n] for part in (0, 1))
            out[b, n] = attention_row_oracle(query[b, n], k, v, scale)
        row += length
    return out


# Arguments by name for T tokens, three sequences of them where an op wants sequences.


def _bias_gelu(num_tokens: int, dtype: torch.dtype) -> Arguments:
    return {"x": randn(num_tokens, 24, dtype=dtype), "bias": randn(24, dtype=dtype), "activation": "erf"}


def _residual_layer_norm(num_tokens: int, dtype: torch.dtype) -> Arguments:
    return {
        "x": randn(num_tokens, 24, dtype=dtype),
        "residual": randn(num_tokens, 24, dtype=dtype),
        "weight": randn(24, dtype=dtype),
        "bias": randn(24, dtype=dtype),
        "eps": 1e-5,
    }


def _x_bias(num_tokens: int, dtype: torch.dtype) -> Arguments:
    return {"x_bias": randn(24, dtype=dtype)}


def _embedding_layer_norm(num_tokens: int, dtype: torch.dtype) -> Arguments:
    return {
        "input_ids": torch.randint(0, 31, (num_tokens,)),
        "token_type_ids": torch.randint(0, 2, (num_tokens,)),
        "position_ids": torch.randint(0, 19, (num_tokens,)),
        "word_embeddings": randn(31, 24, dtype=dtype),
        "token_type_embeddings": randn(2, 24, dtype=dtype),
        "position_embeddings": randn(19, 24, dtype=dtype),
        "weight": randn(24, dtype=dtype),
        "bias": randn(24, dtype=dtype),
        "eps": 1e-5,
    }


def _places_and_flags(num_tokens: int, dtype: torch.dtype) -> Arguments:
    return {
        "indices": torch.randperm(num_tokens),
        "padded_len": 19,
        "checks_ids": True,
    }


def _unpad_input(num_tokens: int, dtype: torch.dtype) -> Arguments:
    """A batch of as many rows as there are tokens otherwise."""
    size = (num_tokens, 5)
    return {
        "attention_mask": torch.randint(0, 2, size).to(dtype),
        "input_ids": torch.randint(0, 3, size),
        "token_type_ids": torch.randint(0, 2, size),
        "position_ids": torch.randint(0, 19, size),
        "num_words": 31,
        "num_token_types": 2,
        "num_positions": 19,
        "pad_token_id": 0,
        "one_in": torch.float16,
    }


def _pad_input(num_tokens: int, dtype: torch.dtype) -> Arguments:
    return {"x": randn(num_tokens, 24, dtype=dtype), "indices": torch.randperm(num_tokens)}


def _num_tokens(num_tokens: int, dtype: torch.dtype) -> Arguments:
    return {"num_tokens": torch.tensor([num_tokens // 2], dtype=torch.int32)}


def _gather_first(num_tokens: int, dtype: torch.dtype) -> Arguments:
    sequences = min(num_tokens, 3)
    return {"x": randn(num_tokens, 24, dtype=dtype), "first_rows": torch.randperm(num_tokens)[:sequences]}


def _lengths(num_tokens: int) -> list[int]:
    return [num_tokens - 3, 2, 1] if num_tokens > 3 else [num_tokens, 0, 0]


def _varlen_attention(num_tokens: int, dtype: torch.dtype) -> Arguments:
    lengths = _lengths(num_tokens)
    return {
        "qkv": randn(num_tokens, 3, 2, 12, dtype=dtype),
        "cu_seqlens": offsets(lengths),
        "key_lengths": counts([(length + 1) // 2 for length in lengths]),
        # Any bound will do; one that does not depend on T keeps traces free of guards on it.
        "max_seqlen": 512,
        "scale": 0.3,
    }


def _first_token_attention(num_tokens: int, dtype: torch.dtype) -> Arguments:
    lengths = _lengths(num_tokens)
    return {
        "query": randn(3, 2, 12, dtype=dtype),
        "key_value": randn(num_tokens, 2, 2, 12, dtype=dtype),
        "cu_seqlens": offsets(lengths),
        "key_lengths": counts([(length + 1) // 2 for length in lengths]),
        "scale": 0.3,
    }


def parts(result: Any) -> tuple[Tensor, ...]:
    """The tensors of a result, of which most ops have one."""
    return (result,) if isinstance(result, Tensor) else tuple(result)


def _nothing(num_tokens: int, dtype: torch.dtype) -> Arguments:
    return {}


@dataclass(frozen=True)
class Op:
    """make(T, dtype): arguments by name. per_token: those with an axis of T. optional(T, dtype): the ones that have
    a default and are not in make.
    """

    name: str
    make: Callable[[int, torch.dtype], Arguments]
    per_token: tuple[str, ...]
    optional: Callable[[int, torch.dtype], Arguments] = _nothing

    def __call__(self, **arguments: Any) -> Any:
        """The public function."""
        return getattr(ops, self.name)(**arguments)

    def make_full(self, num_tokens: int, dtype: torch.dtype) -> Arguments:
        """Every argument that the op has."""
        return {**self.make(num_tokens, dtype), **self.optional(num_tokens, dtype)}

    @property
    def overload(self) -> Any:
        """The operator behind it."""
        return getattr(torch.ops.bertfast, self.name).default


_IDS = ("input_ids", "token_type_ids", "position_ids")
OPS = {
    op.name: op
    for op in (
        Op("bias_gelu", _bias_gelu, ("x",)),
        Op("residual_layer_norm", _residual_layer_norm, ("x", "residual"), _x_bias),
        Op("embedding_layer_norm", _embedding_layer_norm, _IDS, _places_and_flags),
        Op("unpad_input", _unpad_input, ("attention_mask", *_IDS)),
        Op("pad_input", _pad_input, ("x", "indices"), _num_tokens),
        Op("gather_first", _gather_first, ("x",)),
        Op("varlen_attention", _varlen_attention, ("qkv",)),
        Op("first_token_attention", _first_token_attention, ("key_value",)),
    )
}
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
TOKENS = [0, 1, 2, 7, 64, 257]
