"""docs/command-line.md states the limits that hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from bertfast.verification.limits import default_limits

_TEXT = (Path(__file__).resolve().parents[2] / "docs" / "command-line.md").read_text()


@pytest.mark.parametrize(
    "what",
    [("float32",), ("float16",), ("bfloat16",), ("float32", "bfloat16"), ("float32", "int8")],
    ids=" ".join,
)
def test_limits(what):
    limits = default_limits(*what)
    wanted = f"| {limits.relative_error:g} | {limits.cosine:g} | {limits.reason} |"
    (row,) = (line for line in _TEXT.splitlines() if line.endswith(wanted))
    assert all(name in row for name in what)
