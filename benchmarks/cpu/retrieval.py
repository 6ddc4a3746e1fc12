"""What a precision does to sentence embeddings: cosines to float32's, and whose texts a search finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bertfast.bench.accuracy import cosines

Array = np.ndarray[Any, np.dtype[np.floating[Any]]]
TOP = 10


@dataclass(frozen=True)
class Pairs:
    """Queries and documents: the answer to each query is the document with its index."""

    queries: list[str]
    documents: list[str]


@dataclass(frozen=True)
class Quality:
    """cosine: of a text's embedding with float32's. The others are means over the queries.

    top1: share whose best document is float32's; top10: share of float32's ten best that are among the ten best;
    spearman: rank correlation of all documents' scores with float32's; mrr: reciprocal rank of the right answer.
    """

    cosine_mean: float
    cosine_least: float
    top1: float
    top10: float
    spearman: float
    mrr: float


def pairs(texts: list[str], count: int) -> Pairs:
    """The first sentences of texts as queries, what follows them as documents; ``count`` of them, evenly spread."""
    split = [text.partition(". ") for text in texts]
    found = {rest: first for first, _, rest in split if len(first.split()) >= 4 and len(rest.split()) >= 4}
    answers = list(found)
    if count > len(answers):
        raise ValueError(
            f"expected at most {len(answers)} texts, as many as have a first sentence and more; got {count}"
        )
    documents = [answers[i * len(answers) // count] for i in range(count)]
    return Pairs([found[document] for document in documents], documents)


def quality(found: Array, expected: Array) -> Quality:
    """Of embeddings [2 N, H], queries first, then documents."""
    similarity = cosines(found, expected)
    scores, expected_scores = _scores(found), _scores(expected)
    order, expected_order = (np.argsort(-s, axis=1, kind="stable") for s in (scores, expected_scores))
    shared = [len(set(a) & set(b)) / len(a) for a, b in zip(order[:, :TOP], expected_order[:, :TOP], strict=True)]
    ranks, expected_ranks = (np.argsort(o, axis=1, kind="stable") for o in (order, expected_order))
    return Quality(
        float(similarity.mean()),
        float(similarity.min()),
        float((order[:, 0] == expected_order[:, 0]).mean()),
        float(np.mean(shared)),
        float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(ranks, expected_ranks, strict=True)])),
        float((1 / (1 + ranks.diagonal())).mean()),
    )


def _scores(embeddings: Array) -> Array:
    """Cosines of each query with each document."""
    unit = embeddings.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    queries, documents = np.split(unit, 2)
    scores: Array = queries @ documents.T
    return scores
