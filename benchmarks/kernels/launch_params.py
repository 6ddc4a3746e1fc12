"""How each kernel's launcher is called at a shape: the fields of its Params, as csrc/kernels/<op>.h has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bertfast.roofline.work import Shape

# Some place that is aligned; nothing is read from it.
_SOMEWHERE = 1 << 20
# As csrc/kernels/dtype.h counts: by bytes of an element.
_DTYPES = {4: 0, 2: 1}


def launch_params(op: str, shape: Shape, compute_capability: int) -> dict[str, Any]:
    """For a device of this capability, ``90``, which only attention asks for."""
    params = _PARAMS[op](shape)
    return {**params, "compute_capability": compute_capability} if op == "varlen_attention" else params


def _pointers(*names: str) -> dict[str, int]:
    return dict.fromkeys(names, _SOMEWHERE)


def _rows(shape: Shape) -> dict[str, Any]:
    dtype = _DTYPES[shape.element_bytes]
    return {"num_tokens": shape.tokens, "hidden_size": shape.hidden, "eps": 1e-12, "dtype": dtype}


def _tables(shape: Shape) -> dict[str, Any]:
    sizes = {"num_words": 30522, "num_token_types": 2, "num_positions": 512}
    return {**sizes, "padded_len": shape.length, "id_dtype": 1}


def _heads(shape: Shape) -> dict[str, Any]:
    return {
        "key_lengths": None,
        "num_tokens": shape.tokens,
        "num_sequences": shape.batch,
        "num_heads": shape.heads,
        "head_size": shape.hidden // shape.heads,
        "scale": 0.125,
        "dtype": _DTYPES[shape.element_bytes],
    }


def _embedding_layer_norm(shape: Shape) -> dict[str, Any]:
    return {
        **_pointers("indices", "word_ids", "token_type_ids", "position_ids", "word_embeddings"),
        **_pointers("token_type_embeddings", "position_embeddings", "weight", "bias", "out", "out_of_range"),
        **_rows(shape),
        **_tables(shape),
    }


def _residual_layer_norm(shape: Shape) -> dict[str, Any]:
    return {**_pointers("x", "x_bias", "residual", "weight", "bias", "out"), **_rows(shape)}


def _bias_gelu(shape: Shape) -> dict[str, Any]:
    sizes = {"num_tokens": shape.tokens, "inner_size": shape.inner}
    return {**_pointers("x", "bias", "out"), **sizes, "dtype": _DTYPES[shape.element_bytes], "activation": 0}


def _varlen_attention(shape: Shape) -> dict[str, Any]:
    return {**_pointers("qkv", "cu_seqlens", "out"), **_heads(shape), "max_seqlen": shape.length}


def _first_token_attention(shape: Shape) -> dict[str, Any]:
    return {**_pointers("query", "key_value", "cu_seqlens", "out"), **_heads(shape)}


def _unpad_input(shape: Shape) -> dict[str, Any]:
    return {
        **_pointers("attention_mask", "input_ids", "token_type_ids", "position_ids"),
        **_pointers("indices", "cu_seqlens", "key_lengths", "first_rows", "counts"),
        **_tables(shape),
        "pad_token_id": 0,
        "has_pad_token": True,
        "batch_size": shape.batch,
        "mask_dtype": 5,
        "mask_reading": 0,
        "model_dtype": _DTYPES[shape.element_bytes],
    }


def _pad_input(shape: Shape) -> dict[str, Any]:
    sizes = {"num_rows": shape.tokens, "num_positions": shape.tokens, "hidden_size": shape.hidden}
    return {**_pointers("x", "indices", "num_tokens", "out"), **sizes, "dtype": _DTYPES[shape.element_bytes]}


def _gather_first(shape: Shape) -> dict[str, Any]:
    sizes = {"num_tokens": shape.tokens, "batch_size": shape.batch, "hidden_size": shape.hidden}
    return {**_pointers("x", "first_rows", "out"), **sizes, "dtype": _DTYPES[shape.element_bytes]}


_PARAMS: dict[str, Callable[[Shape], dict[str, Any]]] = {
    "embedding_layer_norm": _embedding_layer_norm,
    "residual_layer_norm": _residual_layer_norm,
    "bias_gelu": _bias_gelu,
    "varlen_attention": _varlen_attention,
    "first_token_attention": _first_token_attention,
    "unpad_input": _unpad_input,
    "pad_input": _pad_input,
    "gather_first": _gather_first,
}
