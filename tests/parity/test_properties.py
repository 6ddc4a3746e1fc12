"""Random masks, lengths and ids: any pattern with an attended token in every row equals stock."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import assert_same_output, relative_error

import bertfast

# Bounds are of whole tensors. One position, or the two logits of one text, has no others to level out its rounding.
_FEW_VALUES = 5


@st.composite
def batches(draw, vocab_size, pad_id):
    """input_ids, attention_mask, token_type_ids of up to 5 x 12, the pad id anywhere, no row all hidden.

    From two columns on: with one, token types are left to stock, which may broadcast them.
    """
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(2, 12))

    def grid(elements):
        row = st.lists(elements, min_size=columns, max_size=columns)
        return torch.tensor(draw(st.lists(row, min_size=rows, max_size=rows)))

    mask = grid(st.integers(0, 1))
    for row, column in enumerate(draw(st.lists(st.integers(0, columns - 1), min_size=rows, max_size=rows))):
        mask[row, column] = 1
    ids = grid(st.sampled_from([pad_id, 1, 2, vocab_size - 1]) | st.integers(0, vocab_size - 1))
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": grid(st.integers(0, 1))}


@pytest.fixture(params=["relu-3x3x5", "gelu-2x4x12-eager"])
def some_config(request, make_config):
    return make_config(request.param)


@pytest.mark.parametrize("pad_outputs", ["auto", "exact", "zero"])
def test_any_mask(pad_outputs, some_config, shared_pair):
    config = some_config
    pair = shared_pair("BertModel", config, pad_outputs=pad_outputs)

    @settings(max_examples=40)
    @given(batches(config.vocab_size, config.pad_token_id))
    def check(batch):
        actual, expected = pair.outputs(**batch)
        ids, hidden = batch["input_ids"], batch["attention_mask"] == 0
        dropped = hidden & (ids == config.pad_token_id)
        dropped[:, 0] = False
        if pad_outputs != "zero":
            dropped[:] = False
        wanted = expected.last_hidden_state.masked_fill(dropped.unsqueeze(2), 0)
        found = actual.last_hidden_state
        # By position: one wrong token must not hide behind the others.
        for row, column in dropped.logical_not().nonzero().tolist():
            assert relative_error(found[row, column], wanted[row, column]) <= _FEW_VALUES * pair.bound
        assert (found[dropped] == 0).all()
        assert relative_error(actual.pooler_output, expected.pooler_output) <= _FEW_VALUES * pair.bound
        assert bertfast.explain(pair.fast).computed_tokens == ids.numel() - dropped.sum()

    check()


def test_any_mask_through_a_pooled_head(some_config, shared_pair):
    pair = shared_pair("BertForSequenceClassification", some_config)

    @settings(max_examples=40)
    @given(batches(some_config.vocab_size, some_config.pad_token_id))
    def check(batch):
        actual, expected = pair.outputs(**batch)
        assert_same_output(actual, expected, _FEW_VALUES * pair.bound)

    check()


def test_any_ragged_lengths(some_config, shared_pair, make_batch):
    pair = shared_pair("BertForTokenClassification", some_config)
    lengths = st.lists(st.integers(1, 40), min_size=1, max_size=6).filter(lambda drawn: max(drawn) > 1)

    @settings(max_examples=40)
    @given(lengths, st.sampled_from(["right", "left", "holed"]), st.integers(0, 2**32))
    def check(lengths, side, seed):
        pair.check(**make_batch(some_config, lengths, side, seed))

    check()
