"""Which differences are over the limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from bertfast.verification.comparison import Comparison
from bertfast.verification.differences import Difference
from bertfast.verification.limits import Limits
from bertfast.verification.outputs import POOLED

# Parts of the texts scatter around what all have together; what is wrong at one length is so by more.
BUCKET_RATIO = 2.0
#: In the place of a length bucket.
ALL = "all"


@dataclass(frozen=True)
class Excess:
    """One limit that does not hold. texts: `ALL`, or a length bucket. worst_text: where to look first."""

    output: str
    texts: str
    measure: str
    found: float
    limit: float
    worst_text: int


def over_limits(comparison: Comparison, limits: Limits) -> list[Excess]:
    """All of them; what is NaN is over every limit."""
    return [
        Excess(name, texts, measure, found, limit, difference.worst_text)
        for name, overall in comparison.overall.items()
        for texts, difference in {ALL: overall, **comparison.buckets[name]}.items()
        for measure, found, limit in _broken(name, difference, limits if texts == ALL else _of_a_bucket(limits))
    ]


def _of_a_bucket(limits: Limits) -> Limits:
    return replace(limits, relative_error=BUCKET_RATIO * limits.relative_error)


def _broken(name: str, found: Difference, limits: Limits) -> Iterator[tuple[str, float, float]]:
    if not found.relative_error <= limits.relative_error:
        yield "relative error", found.relative_error, limits.relative_error
    if limits.max_abs_error is not None and not found.max_abs_error <= limits.max_abs_error:
        yield "max abs error", found.max_abs_error, limits.max_abs_error
    if name == POOLED and found.cosine_least is not None and not found.cosine_least >= limits.cosine:
        yield "least cosine", found.cosine_least, limits.cosine
    if limits.agreement is not None:
        if found.agreement is not None and not found.agreement >= limits.agreement:
            yield "argmax agreement", found.agreement, limits.agreement
    elif found.decided_agreement is not None and found.decided_agreement < 1:
        yield "argmax agreement where stock is decided", found.decided_agreement, 1.0
