"""Which reduced precisions this machine can test."""

from __future__ import annotations

import pytest

from bertfast.precision import missing

REDUCED = ("bfloat16", "int8")


def needs(precision: str) -> None:
    """Skip a test, and say why, where this CPU is not fast in ``precision`` and bertfast does not use it."""
    reason = missing(precision)
    if reason is not None:
        pytest.skip(f"{precision}: {reason}")
