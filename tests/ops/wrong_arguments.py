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
        "x_bias": [(1,), (23,), (7, 24)],
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
        "indices": [(), (7, 1)],
    },
    "unpad_input": {
        "attention_mask": [(7,), (7, 1, 1, 5), ()],
        "input_ids": [(7, 4), (1, 5), (35,)],
        "token_type_ids": [(7, 4), (1, 5), (35,)],
        "position_ids": [(7, 4), (1, 5), (5,)],
    },
    "pad_input": {
        "x": [(24,), (7, 1, 24)],
        "indices": [(), (7, 1)],
        "num_tokens": [(), (2,), (1, 1)],
    },
    "gather_first": {
        "x": [(24,), (7, 1, 24)],
        "first_rows": [(), (3, 1)],
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
    ("embedding_layer_norm", "indices", torch.int32),
    ("residual_layer_norm", "x_bias", torch.float16),
    ("unpad_input", "attention_mask", torch.complex64),
    ("unpad_input", "input_ids", torch.int16),
    ("unpad_input", "token_type_ids", torch.float32),
    ("unpad_input", "position_ids", torch.uint8),
    ("pad_input", "indices", torch.int32),
    ("pad_input", "num_tokens", torch.int64),
    ("gather_first", "first_rows", torch.int32),
    ("first_token_attention", "key_value", torch.float64),
]


def _int32(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


_NO_IDS = {"input_ids": None, "token_type_ids": None, "position_ids": None}
# (op, argument, what is changed): told by sizes and numbers, so a fake sees it, too.
WRONG_VALUES = [
    ("bias_gelu", "activation", {"activation": "swish"}),
    *(
        ("embedding_layer_norm", "padded_len", {"position_ids": None, "padded_len": padded_len})
        for padded_len in (None, -1, 0, 20)
    ),
    *(
        ("embedding_layer_norm", table, {table: torch.ones(0, 24)})
        for table in ("word_embeddings", "token_type_embeddings", "position_embeddings")
    ),
    ("embedding_layer_norm", "token_type_ids", {"input_ids": None}),
    ("unpad_input", "attention_mask", {"attention_mask": torch.ones(7, 0), **_NO_IDS}),
    ("unpad_input", "one_in", {"one_in": torch.float64}),
    ("unpad_input", "one_in", {"one_in": torch.int64}),
    ("pad_input", "x", {"x": torch.ones(8, 24), "num_tokens": None}),
    ("varlen_attention", "cu_seqlens", {"cu_seqlens": _int32(), "key_lengths": None}),
    ("varlen_attention", "cu_seqlens", {"cu_seqlens": _int32(0), "key_lengths": None}),
    *(("varlen_attention", "scale", {"scale": scale}) for scale in (0.0, -0.125, float("inf"), float("nan"))),
    ("first_token_attention", "cu_seqlens", {"cu_seqlens": _int32(), "key_lengths": None}),
    ("first_token_attention", "scale", {"scale": -1.0}),
]
# (op, argument, what is changed): only the data tells, and a fake does not. On a CPU it is looked at.
WRONG_CONTENTS = [
    ("unpad_input", "attention_mask", {"attention_mask": torch.ones(1).expand(2**16, 2**15), **_NO_IDS}),
    *(
        ("pad_input", "indices", {"indices": torch.tensor(indices)})
        for indices in ([0, 1, 2, 3, 4, 5, 5], [1, 2, 3, 4, 5, 6, 7], [-1, 1, 2, 3, 4, 5, 6], [2**40, 0, 1, 2, 3, 4, 5])
    ),
    *(("gather_first", "first_rows", {"first_rows": torch.tensor(rows)}) for rows in ([0, 7], [-1, 0], [0, -(2**63)])),
    *(
        (op, "cu_seqlens", {"cu_seqlens": _int32(*offsets), "key_lengths": None})
        for op in ("varlen_attention", "first_token_attention")
        for offsets in (
            [0, 4, 6, 8],  # beyond the rows
            [1, 4, 6, 7],  # not from 0
            [0, 6, 4, 7],  # going back
            [-1, 4, 6, 7],
            [0, -(2**31), 2**31 - 1, 7],
        )
    ),
    *(
        (op, "key_lengths", {"cu_seqlens": _int32(0, 4, 6, 7), "key_lengths": _int32(*keys)})
        for op in ("varlen_attention", "first_token_attention")
        for keys in ([5, 2, 1], [4, 2, -1], [-(2**31), 2**31 - 1, 0])
    ),
    ("embedding_layer_norm", "word_embeddings", {"word_embeddings": torch.ones(0, 24), **_NO_IDS}),
    *(("varlen_attention", "max_seqlen", {"max_seqlen": longest}) for longest in (3, 0, -1)),
]
