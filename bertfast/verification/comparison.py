"""Runs both models on the same batches, and compares what they return."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import bertfast
from bertfast.reporting import FAST, REFUSED, STOCK, Report
from bertfast.verification.buckets import bucket
from bertfast.verification.differences import Difference, TextDifference, combine, mean_square, text_difference
from bertfast.verification.limits import Limits
from bertfast.verification.outputs import by_text, has_classes


@dataclass(frozen=True)
class Comparison:
    """overall, buckets: by output, and there by length. calls: how often each encoder ran what and why, ``"fast"`` or
    ``"stock: <reason>"``. report: `bertfast.explain` after the last call. lengths: tokens of each text.
    """

    overall: dict[str, Difference]
    buckets: dict[str, dict[str, Difference]]
    calls: dict[str, int]
    report: Report
    lengths: list[int] = field(default_factory=list)

    @property
    def all_fast(self) -> bool:
        """Whether nothing ran but bertfast's fast path."""
        return set(self.calls) == {FAST}


@torch.inference_mode()
def compare(
    stock: nn.Module, fast: nn.Module, batches: Iterable[Mapping[str, Tensor]], limits: Limits, **arguments: Any
) -> Comparison:
    """stock: in float32; fast: what `bertfast.accelerate` returned. batches: what both are called with, at least one,
    with ``attention_mask`` [B, S]. arguments: of every call.
    """
    found: dict[str, list[TextDifference]] = {}
    calls: Counter[str] = Counter()
    lengths: list[int] = []
    for batch in batches:
        mask = batch["attention_mask"]
        expected, actual = (by_text(model(**batch, **arguments), mask) for model in (stock, fast))
        calls.update(_paths(bertfast.explain(fast)))
        tokens = mask.sum(1).tolist()
        for name, parts in _differences(actual, expected, tokens, len(lengths), limits.lead):
            found.setdefault(name, []).extend(parts)
        lengths.extend(tokens)
    squares = {name: mean_square(parts) for name, parts in found.items()}
    return Comparison(
        overall={name: combine(parts, squares[name]) for name, parts in found.items()},
        buckets={name: _by_length(parts, squares[name]) for name, parts in found.items()},
        calls=dict(calls),
        report=bertfast.explain(fast),
        lengths=lengths,
    )


def _differences(
    actual: dict[str, list[Tensor]], expected: dict[str, list[Tensor]], tokens: list[int], first: int, lead: float
) -> Iterator[tuple[str, list[TextDifference]]]:
    if actual.keys() != expected.keys():
        raise ValueError(f"outputs {sorted(actual)} and {sorted(expected)}: expected the same")
    for name in expected:
        triples = zip(actual[name], expected[name], tokens, strict=True)
        its_lead = lead if has_classes(name) else None
        yield name, [text_difference(a, b, first + i, n, its_lead) for i, (a, b, n) in enumerate(triples)]


def _by_length(parts: list[TextDifference], square: float) -> dict[str, Difference]:
    """In the order of the lengths."""
    groups: dict[str, list[TextDifference]] = {}
    for part in sorted(parts, key=lambda part: part.tokens):
        groups.setdefault(bucket(part.tokens), []).append(part)
    return {name: combine(group, square) for name, group in groups.items()}


def _paths(report: Report) -> Iterator[str]:
    called = (each for each in (report, *report.others) if each.path in (FAST, STOCK, REFUSED))
    for each in called:
        yield each.path if each.reason is None else f"{each.path}: {each.reason}"
