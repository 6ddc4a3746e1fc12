"""Arguments that do not fit their op, each in an otherwise right call of it."""

from __future__ import annotations

import torch

_SHAPES_BY_OP = {
    "bias_gelu": {
        "x": [(24,), (7, 2, 24)],
        "bias": [(25,), (1,), (24, 1), ()],
    },
    "residual_layer_norm": {
        "x": [(24,), (7, 1, 24)],
        "residual": [(6, 24), (1, 24), (7, 25), (24,)],
        "weight": [(1,), (23,), (24, 1)],
        "bias": [(1,), (23,), (24, 1)],
    },
    "embedding_layer_norm": {
        "input_ids": [(), (7, 1)],
        "token_type_ids": [(6,), (1,), (7, 1), ()],
        "position_ids": [(6,), (1,), (7, 1), ()],
        "word_embeddings": [(24,)],
        "token_type_embeddings": [(2, 23), (2, 1), (24,)],
        "position_embeddings": [(19, 23), (19, 1), (24,)],
        "weight": [(24, 1), ()],
        "bias": [(1,), (23,), (24, 1)],
    },
    "varlen_attention": {
        "qkv": [(7, 2, 2, 12), (7, 3, 24), (7, 72)],
        "cu_seqlens": [(4, 1), ()],
        "key_lengths": [(2,), (4,), (3, 1)],
    },
    "first_token_attention": {
        "query": [(3, 24), (3, 1, 2, 12)],
        "key_value": [(7, 3, 2, 12), (7, 2, 1, 12), (7, 2, 2, 11), (7, 48)],
        "cu_seqlens": [(4, 1), ()],
        "key_lengths": [(2,), (4,), (3, 1)],
    },
}
# (op, argument, shape)
WRONG_SHAPES = [
    (op, name, shape)
    for op, arguments in _SHAPES_BY_OP.items()
    for name, shapes in arguments.items()
    for shape in shapes
]
# (op, argument, dtype)
WRONG_DTYPES = [
    ("embedding_layer_norm", "input_ids", torch.int16),
    ("embedding_layer_norm", "token_type_ids", torch.float32),
    ("embedding_layer_norm", "position_ids", torch.uint8),
    ("varlen_attention", "cu_seqlens", torch.int64),
    ("varlen_attention", "key_lengths", torch.int64),
    ("first_token_attention", "cu_seqlens", torch.int64),
    ("first_token_attention", "key_lengths", torch.float32),
    # Operands of two dtypes: the result's would depend on who computes it.
    ("bias_gelu", "bias", torch.float64),
    ("residual_layer_norm", "residual", torch.float64),
    ("residual_layer_norm", "weight", torch.float64),
    ("residual_layer_norm", "bias", torch.bfloat16),
    ("embedding_layer_norm", "token_type_embeddings", torch.float64),
    ("embedding_layer_norm", "position_embeddings", torch.bfloat16),
    ("embedding_layer_norm", "weight", torch.float64),
    ("first_token_attention", "key_value", torch.float64),
]
