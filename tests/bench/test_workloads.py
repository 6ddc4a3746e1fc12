"""Batches: as long and as full as they are asked to be, of ids that the model has."""

from __future__ import annotations

import numpy as np
import pytest

from bertfast.bench.workloads import filled_lengths, grid, of_texts, random_batch


@pytest.mark.parametrize("fill", [1.0, 0.75, 0.5, 0.3])
def test_a_batch_is_filled_as_asked_and_its_longest_text_is_whole(fill):
    lengths = filled_lengths(16, 128, fill)
    assert max(lengths) == 128
    assert min(lengths) >= 3
    assert sum(lengths) / (16 * 128) == pytest.approx(fill, abs=0.03)


def test_a_grid_has_each_combination_once_and_single_texts_are_full():
    found = grid([1, 4], [8, 16], [1.0, 0.5], 100, 0)
    assert [workload.name for workload in found] == ["1x8", "1x16", "4x8", "4x8 53%", "4x16", "4x16 50%"]
    assert all(workload.real_tokens == workload.padded_slots for workload in found if "%" not in workload.name)
    half = found[-1]
    assert (half.batch_size, half.longest, half.padded_slots) == (4, 16, 64)
    assert half.real_tokens < 40
    assert not any(workload.is_texts for workload in found)


def test_a_name_has_the_share_that_short_texts_reach():
    full, part = grid([2], [8], [1.0, 0.5, 0.4], 100, 0)
    assert (full.name, part.name, part.real_tokens, part.padded_slots) == ("2x8", "2x8 69%", 11, 16)


def test_ids_are_in_the_vocabulary_and_padding_holds_the_pad_id():
    batch = random_batch((3, 7), 7, vocab_size=97, pad_id=5)
    assert batch.mask.tolist() == [[1] * 3 + [0] * 4, [1] * 7]
    assert (batch.ids[batch.mask == 0] == 5).all()
    assert batch.ids[batch.mask == 1].max() < 97


def test_texts_are_batched_in_their_order_and_padded_to_the_longest_of_a_batch():
    def tokenizer(texts, *, padding, truncation, max_length, return_tensors):
        assert (padding, truncation, return_tensors) == (True, True, "np")
        lengths = [min(len(text), max_length) for text in texts]
        ids = np.zeros((len(texts), max(lengths)), np.int32)
        mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int32)
        return {"input_ids": ids, "attention_mask": mask}

    two, all_at_once = of_texts(["a", "bbb", "cccccccc"], [2, 8], tokenizer, 5)
    assert two.is_texts
    assert all_at_once.is_texts
    assert [batch.mask.sum(1).tolist() for batch in two.batches] == [[1, 3], [5]]
    assert (two.real_tokens, two.padded_slots, two.longest) == (9, 11, 5)
    assert [batch.mask.shape for batch in all_at_once.batches] == [(3, 5)]
