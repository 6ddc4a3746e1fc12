"""Masks of every dtype, shape of padding and value mean what they mean to the installed transformers."""

from __future__ import annotations

import pytest
import torch
from tolerances import assert_close, relative_error

from bertfast.ops.unpad_input import MASK_DTYPES

_ATTENTION = ["sdpa", "eager"]


@pytest.mark.parametrize("side", ["right", "left", "holed"])
@pytest.mark.parametrize("dtype", MASK_DTYPES, ids=str)
def test_mask_dtypes(dtype, side, make_config, shared_pair, make_batch):
    config = make_config("relu-3x3x5")
    batch = make_batch(config, side=side)
    batch["attention_mask"] = batch["attention_mask"].to(dtype)
    shared_pair("BertModel", config).check(**batch)


@pytest.mark.parametrize("attention", _ATTENTION)
@pytest.mark.parametrize("model_dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("mask_dtype", [torch.bool, torch.float32, torch.float64], ids=str)
def test_mask_dtypes_beside_model_dtypes(mask_dtype, model_dtype, attention, make_config, shared_pair, make_batch):
    config = make_config("gelu-1x2x32", attn_implementation=attention)
    batch = make_batch(config, side="holed")
    batch["attention_mask"] = batch["attention_mask"].to(mask_dtype)
    shared_pair("BertModel", config, model_dtype).check(**batch)


# Which of these count as attended differs between transformers 4 and 5, and on 4 between its attention
# implementations: bertfast has to do as the installed version does, on its fast path or not.
_ODD_VALUES = {
    "0.5": (torch.float32, [1, 1, 0.5, 1, 0, 0]),
    "2": (torch.int64, [1, 1, 2, 1, 0, 0]),
    "-1": (torch.int64, [1, -1, 1, 1, 0, 0]),
    "255": (torch.uint8, [1, 255, 1, 1, 0, 0]),
    "rounds to 1 in float32": (torch.float64, [1, 1 + 1e-12, 1, 1, 0, 0]),
    "tiny": (torch.float64, [1, 1e-300, 1, 1, 0, 0]),
    "all 0.5": (torch.float32, [0.5] * 6),
    "all 2": (torch.int64, [2] * 6),
}


@pytest.mark.parametrize("attention", _ATTENTION)
@pytest.mark.parametrize("values", _ODD_VALUES)
def test_odd_mask_values(values, attention, make_config, shared_pair, make_batch):
    dtype, row = _ODD_VALUES[values]
    config = make_config("gelu-2x4x12-eager", attn_implementation=attention)
    pair = shared_pair("BertModel", config, on_fallback="silent")
    batch = make_batch(config, lengths=(6, 4))
    batch["attention_mask"] = torch.tensor([row, [1, 1, 1, 1, 0, 0]], dtype=dtype)
    with torch.no_grad():
        expected = pair.stock(**batch).last_hidden_state
        if expected.isnan().any():
            pytest.skip(f"{attention} attention of this transformers gives NaN")
        actual = pair.fast(**batch).last_hidden_state
    assert_close(actual, expected, pair.bound)


@pytest.mark.parametrize("attention", _ATTENTION)
def test_hidden_tokens_are_never_attended(attention, make_config, shared_pair, make_batch):
    """Not only equal to stock: other ids under mask 0 leave every attended position as it is."""
    config = make_config("relu-3x3x5", attn_implementation=attention)
    pair = shared_pair("BertModel", config)
    batch = make_batch(config, side="holed")
    seen = batch["attention_mask"].bool()
    first = pair.check(**batch).last_hidden_state
    other = batch["input_ids"].clone()
    other[~seen] = (other[~seen] + 11) % config.vocab_size
    second = pair.check(**{**batch, "input_ids": other}).last_hidden_state
    assert relative_error(second[seen], first[seen]) <= pair.bound
    assert relative_error(second[~seen], first[~seen]) > 0.1


def test_attended_pad_ids_are_tokens(config, shared_pair, make_batch):
    # Only the mask hides a token; the pad id under mask 1 takes part like any other.
    batch = make_batch(config)
    batch["input_ids"][:, 1::2] = config.pad_token_id
    batch["attention_mask"].fill_(1)
    shared_pair("BertModel", config).check(**batch)
