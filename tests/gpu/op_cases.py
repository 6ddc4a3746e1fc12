"""Calls of every op that together take every kernel, and every way through its launcher."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from ops.cases import OPS, Arguments, counts, offsets, parts, randn
from torch import Tensor

KERNEL_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# No tokens, one; below and above a warp; more than a block of any kernel.
_TOKENS = (0, 1, 7, 64, 257)
# Vectors of 16 bytes or not, one warp or several, the largest that there are.
_WIDTHS = (15, 64, 768, 1000, 1024, 4096, 8192)
# What the tensor cores' kernels take, and what the exact one does.
_HEAD_SIZES = (32, 64, 128, 1, 5, 40, 96, 256)
# (rows of each sequence, keys or None): short up to 64, short up to 128, flash; rows that are no keys; no keys; empty.
_LAYOUTS: tuple[tuple[list[int], list[int] | None], ...] = (
    ([9, 0, 33], None),
    ([64, 1, 64, 20], [30, 0, 64, 1]),
    ([128, 3, 77], None),
    ([150, 5, 0, 512], [131, 5, 0, 400]),
    ([3, 2], [0, 0]),
)


@dataclass(frozen=True)
class OpCase:
    """``make()`` gives the arguments on the CPU, the same ones each time."""

    op: str
    what: str
    dtype: torch.dtype
    build: Callable[[], Arguments]

    def __str__(self) -> str:
        return f"{self.op}-{self.what}-{str(self.dtype).removeprefix('torch.')}"

    def make(self) -> Arguments:
        torch.manual_seed(0)
        return self.build()


def on_device(arguments: Arguments, device: torch.device) -> Arguments:
    """Copies of the tensors there."""
    return {k: v.to(device, copy=True) if isinstance(v, Tensor) else v for k, v in arguments.items()}


def in_float64(arguments: Arguments) -> Arguments:
    """The floating-point tensors widened: what the exact result is computed from."""
    return {k: v.double() if isinstance(v, Tensor) and v.is_floating_point() else v for k, v in arguments.items()}


def results(case: OpCase, arguments: Arguments) -> tuple[Tensor, ...]:
    """What the op returns."""
    return parts(OPS[case.op](**arguments))


def cases(dtypes: tuple[torch.dtype, ...] = KERNEL_DTYPES) -> Iterator[OpCase]:
    """All of them."""
    for dtype in dtypes:
        for op in OPS.values():
            for num_tokens in _TOKENS:
                yield OpCase(op.name, f"T{num_tokens}", dtype, lambda o=op, t=num_tokens, d=dtype: o.make(t, d))
                yield OpCase(
                    op.name, f"T{num_tokens}-full", dtype, lambda o=op, t=num_tokens, d=dtype: o.make_full(t, d)
                )
        for width in _WIDTHS:
            for name, make in _ROWS.items():
                yield OpCase(name, f"H{width}", dtype, lambda m=make, w=width, d=dtype: m(w, d))
        for head_size in _HEAD_SIZES:
            for i, (lengths, keys) in enumerate(_LAYOUTS):
                for name, attend in _ATTENTION.items():
                    yield OpCase(
                        name,
                        f"D{head_size}-layout{i}",
                        dtype,
                        lambda a=attend, s=lengths, k=keys, h=head_size, d=dtype: a(s, k, h, d),
                    )
        for size in ((32, 128), (3, 700), (1, 1), (300, 2)):
            yield OpCase("unpad_input", f"B{size[0]}S{size[1]}", dtype, lambda s=size, d=dtype: _unpad_input(s, d))


def _bias_gelu(width: int, dtype: torch.dtype) -> Arguments:
    return {"x": randn(33, width, dtype=dtype), "bias": randn(width, dtype=dtype)}


def _residual_layer_norm(width: int, dtype: torch.dtype) -> Arguments:
    rows = {name: randn(9, width, dtype=dtype) for name in ("x", "residual")}
    return {**rows, **{name: randn(width, dtype=dtype) for name in ("weight", "bias", "x_bias")}, "eps": 1e-12}


def _embedding_layer_norm(width: int, dtype: torch.dtype) -> Arguments:
    tables = {"word_embeddings": 31, "token_type_embeddings": 2, "position_embeddings": 19}
    return {
        "input_ids": torch.randint(-2, 33, (38,)),
        "token_type_ids": torch.randint(0, 2, (38,)),
        "position_ids": None,
        **{name: randn(rows, width, dtype=dtype) for name, rows in tables.items()},
        "weight": randn(width, dtype=dtype),
        "bias": randn(width, dtype=dtype),
        "eps": 1e-12,
        "indices": torch.randperm(38)[:21],
        "padded_len": 19,
        "checks_ids": True,
    }


def _pad_input(width: int, dtype: torch.dtype) -> Arguments:
    return {"x": randn(21, width, dtype=dtype), "indices": torch.randperm(38), "num_tokens": None}


def _gather_first(width: int, dtype: torch.dtype) -> Arguments:
    return {"x": randn(21, width, dtype=dtype), "first_rows": torch.tensor([0, 20, 7, 7])}


_ROWS: dict[str, Callable[[int, torch.dtype], Arguments]] = {
    "bias_gelu": _bias_gelu,
    "residual_layer_norm": _residual_layer_norm,
    "embedding_layer_norm": _embedding_layer_norm,
    "pad_input": _pad_input,
    "gather_first": _gather_first,
}


def _layout(lengths: list[int], keys: list[int] | None, head_size: int) -> Arguments:
    return {"cu_seqlens": offsets(lengths), "key_lengths": counts(keys), "scale": head_size**-0.5}


def _varlen_attention(lengths: list[int], keys: list[int] | None, head_size: int, dtype: torch.dtype) -> Arguments:
    qkv = randn(sum(lengths), 3, 2, head_size, dtype=dtype)
    return {"qkv": qkv, **_layout(lengths, keys, head_size), "max_seqlen": max(lengths)}


def _first_token_attention(lengths: list[int], keys: list[int] | None, head_size: int, dtype: torch.dtype) -> Arguments:
    query = randn(len(lengths), 2, head_size, dtype=dtype)
    key_value = randn(sum(lengths), 2, 2, head_size, dtype=dtype)
    return {"query": query, "key_value": key_value, **_layout(lengths, keys, head_size)}


_ATTENTION: dict[str, Callable[..., Arguments]] = {
    "varlen_attention": _varlen_attention,
    "first_token_attention": _first_token_attention,
}


def _unpad_input(size: tuple[int, int], dtype: torch.dtype) -> Arguments:
    arguments: dict[str, Any] = OPS["unpad_input"].make(1, dtype)
    lengths = torch.randint(1, size[1] + 1, (size[0], 1))
    mask = (torch.arange(size[1]) < lengths).to(dtype)
    ids = {name: torch.randint(0, high, size) for name, high in (("input_ids", 31), ("token_type_ids", 2))}
    return {**arguments, **ids, "attention_mask": mask, "position_ids": torch.randint(0, 19, size)}
