"""What is said of embeddings and of a search by them."""

from __future__ import annotations

import numpy as np
import pytest
from cpu.retrieval import pairs, quality


def _embeddings(documents: int = 20) -> np.ndarray:
    """Each query beside its document, all others farther away."""
    vectors = np.random.default_rng(0).normal(size=(documents, 8))
    return np.concatenate([vectors + 0.01, vectors])


def test_the_same_directions_are_perfect_whatever_their_lengths():
    found = quality(3 * _embeddings(), _embeddings())
    assert (found.top1, found.top10, found.mrr) == (1, 1, 1)
    assert (found.cosine_mean, found.cosine_least, found.spearman) == pytest.approx((1, 1, 1))


def test_two_documents_exchanged_cost_their_queries_the_first_place():
    expected = _embeddings()
    found = expected.copy()
    found[[20, 21]] = expected[[21, 20]]
    judged = quality(found, expected)
    assert judged.top1 == pytest.approx(18 / 20)
    assert judged.mrr < 1
    assert judged.cosine_least < 0.9 < judged.cosine_mean


def test_opposite_embeddings_of_documents_turn_the_ranking_round():
    expected = _embeddings()
    found = np.concatenate([expected[:20], -expected[20:]])
    judged = quality(found, expected)
    assert (judged.top1, judged.top10) == (0, 0)
    assert judged.spearman == pytest.approx(-1)


def test_pairs_are_first_sentences_and_what_follows():
    texts = [
        "One two three four. Five six seven eight. Nine.",
        "Too short. Five six seven eight.",
        "No second sentence",
    ]
    found = pairs(texts, 1)
    assert found.queries == ["One two three four"]
    assert found.documents == ["Five six seven eight. Nine."]
    with pytest.raises(ValueError, match=r"expected at most 1 texts.* got 2"):
        pairs(texts, 2)
