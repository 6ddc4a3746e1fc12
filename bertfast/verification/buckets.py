"""Texts by their length in tokens."""

from __future__ import annotations

from bisect import bisect_left

_LARGEST = (16, 32, 64, 128, 256, 512)


def bucket(tokens: int) -> str:
    """``"17-32"``; ``"over 512"``."""
    index = bisect_left(_LARGEST, tokens)
    if index == len(_LARGEST):
        return f"over {_LARGEST[-1]}"
    return f"{_LARGEST[index - 1] + 1 if index else 1}-{_LARGEST[index]}"
