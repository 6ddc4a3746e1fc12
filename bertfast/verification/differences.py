"""How far two results are apart: of one text, and of many together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TextDifference:
    """What one text adds to the difference of an output: sums, so that any selection of texts can be told of.

    cosines: of vectors with more than one value. chosen, agreed: argmaxes, and equal ones; decided: of those where
    stock is decided. not_finite: values that are NaN or infinite, in either result.
    """

    text: int
    tokens: int
    values: int
    squared_error: float
    squared_size: float
    max_abs_error: float
    least_cosine: float
    sum_of_cosines: float
    cosines: int
    chosen: int = 0
    agreed: int = 0
    decided: int = 0
    agreed_decided: int = 0
    not_finite: int = 0


@dataclass(frozen=True)
class Difference:
    """Of an output, over some texts. relative_error: `relative_error`. None: cosine_least and cosine_mean of single
    numbers, agreement and decided_agreement of what is no choice. worst_text: the index of the text that adds most.
    """

    texts: int
    relative_error: float
    max_abs_error: float
    cosine_least: float | None
    cosine_mean: float | None
    agreement: float | None
    decided_agreement: float | None
    not_finite: int
    worst_text: int


def text_difference(actual: Tensor, expected: Tensor, text: int, tokens: int, lead: float | None) -> TextDifference:
    """actual, expected: [vectors, width], compared in float64. lead: see `Limits`; None where vectors are no choice."""
    if actual.shape != expected.shape:
        raise ValueError(f"shapes {list(actual.shape)} and {list(expected.shape)}: expected the same")
    # Of one text at a time: all logits of a batch over a vocabulary would be gigabytes.
    actual, expected = actual.double(), expected.double()
    apart = actual - expected
    cosines = _cosines(actual, expected) if actual.shape[-1] > 1 else actual.new_ones(0)
    several = lead is not None and actual.shape[-1] > 1
    choices = _choices(actual, expected, lead) if lead is not None and several else (0, 0, 0, 0)
    return TextDifference(
        text,
        tokens,
        actual.numel(),
        apart.square().sum().item(),
        expected.square().sum().item(),
        apart.abs().max().item(),
        cosines.min().item() if len(cosines) else 1.0,
        cosines.sum().item(),
        len(cosines),
        *choices,
        not_finite=int((~(actual.isfinite() & expected.isfinite())).sum()),
    )


def combine(parts: Sequence[TextDifference], mean_square: float) -> Difference:
    """Of these texts together. mean_square: of the output's values over all texts."""
    cosines, chosen, decided = (sum(getattr(p, name) for p in parts) for name in ("cosines", "chosen", "decided"))
    worst = max(parts, key=lambda p: _ordered(relative_error([p], mean_square)))
    return Difference(
        texts=len(parts),
        relative_error=relative_error(parts, mean_square),
        max_abs_error=_extreme([p.max_abs_error for p in parts], max),
        cosine_least=_extreme([p.least_cosine for p in parts], min) if cosines else None,
        cosine_mean=sum(p.sum_of_cosines for p in parts) / cosines if cosines else None,
        agreement=sum(p.agreed for p in parts) / chosen if chosen else None,
        decided_agreement=sum(p.agreed_decided for p in parts) / decided if decided else None,
        not_finite=sum(p.not_finite for p in parts),
        worst_text=worst.text,
    )


def relative_error(parts: Sequence[TextDifference], mean_square: float) -> float:
    """``||a - b|| / ||b||`` over these texts; NaN if either holds one.

    ``||b||`` counts as no less than what as many values of the output have in the mean: the score of a text that
    happens to be near zero has no digits of its own.
    """
    error = sum(p.squared_error for p in parts)
    size = sum(p.squared_size for p in parts)
    if error == 0:
        return 0.0
    typical = mean_square * sum(p.values for p in parts)
    # Not max(): a NaN must stay one.
    size = typical if size < typical else size
    return math.sqrt(error / size) if size else math.inf


def mean_square(parts: Sequence[TextDifference]) -> float:
    """Of the values that are expected."""
    return sum(p.squared_size for p in parts) / sum(p.values for p in parts)


def _cosines(actual: Tensor, expected: Tensor) -> Tensor:
    """[vectors]. Two vectors of nothing are alike."""
    sizes = actual.norm(dim=-1) * expected.norm(dim=-1)
    products = (actual * expected).sum(-1)
    alike = (actual == expected).all(-1)
    return torch.where(alike, 1.0, products / sizes.clamp(min=torch.finfo(torch.float64).tiny))


def _choices(actual: Tensor, expected: Tensor, lead: float) -> tuple[int, int, int, int]:
    first, second = expected.topk(2, dim=-1).values.unbind(-1)
    decided = first - second > lead * expected.abs().amax(-1)
    agreed = actual.argmax(-1) == expected.argmax(-1)
    return agreed.numel(), int(agreed.sum()), int(decided.sum()), int((agreed & decided).sum())


def _extreme(values: list[float], choose: Callable[[list[float]], float]) -> float:
    return math.nan if any(map(math.isnan, values)) else choose(values)


def _ordered(error: float) -> float:
    return math.inf if math.isnan(error) else error
