"""How far a candidate's outputs are from float32 transformers'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Outputs: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Accuracy:
    """Against float32 transformers: relative errors, and the least cosine of a text's pooled output.

    logits_error: None for a model without a head.
    """

    logits_error: float | None
    pooled_error: float
    pooled_cosine: float


def accuracy(found: Outputs, expected: Outputs, hidden_size: int) -> Accuracy:
    """Of logits and pooled outputs [hidden_size] side by side, as the modules of ``models`` give them."""
    labels = expected.shape[1] - hidden_size
    pooled, expected_pooled = found[:, labels:], expected[:, labels:]
    return Accuracy(
        _relative(found[:, :labels], expected[:, :labels]) if labels else None,
        _relative(pooled, expected_pooled),
        float(cosines(pooled, expected_pooled).min()),
    )


def _relative(found: Outputs, expected: Outputs) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def cosines(a: Outputs, b: Outputs) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Of each row of a with the same row of b."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    found: np.ndarray[Any, np.dtype[np.float64]] = (x * y).sum(1) / (
        np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    )
    return found
