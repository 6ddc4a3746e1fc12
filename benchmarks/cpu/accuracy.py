"""How far a candidate's outputs are from float32 transformers'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from cpu.models import LABELS

Outputs = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Accuracy:
    """Against float32 transformers: relative errors, and the least cosine of a text's pooled output."""

    logits_error: float
    pooled_error: float
    pooled_cosine: float


def accuracy(found: Outputs, expected: Outputs) -> Accuracy:
    """Of logits and pooled outputs side by side, as ``models.LogitsAndPooled`` gives them."""
    pooled, expected_pooled = found[:, LABELS:], expected[:, LABELS:]
    return Accuracy(
        _relative(found[:, :LABELS], expected[:, :LABELS]),
        _relative(pooled, expected_pooled),
        float(cosines(pooled, expected_pooled).min()),
    )


def _relative(found: Outputs, expected: Outputs) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def cosines(a: Outputs, b: Outputs) -> Outputs:
    """Of each row of a with the same row of b."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
