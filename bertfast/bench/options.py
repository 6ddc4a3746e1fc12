"""Types for argparse, which a command and scripts share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence


def names_of(allowed: Sequence[str]) -> Callable[[str], list[str]]:
    """Comma-separated names, each once, in the order of ``allowed``; empty means all."""

    def parse(text: str) -> list[str]:
        given = [name.strip() for name in text.split(",") if name.strip()]
        if unknown := [name for name in given if name not in allowed]:
            raise argparse.ArgumentTypeError(f"expected names of {', '.join(allowed)}, got {', '.join(unknown)}")
        return [name for name in allowed if name in given] if given else list(allowed)

    return parse


def at_least(least: int) -> Callable[[str], int]:
    """An integer from ``least`` on."""

    def parse(text: str) -> int:
        value = int(text) if text.strip().lstrip("-").isdigit() else None
        if value is None or value < least:
            raise argparse.ArgumentTypeError(f"expected an integer of at least {least}, got {text}")
        return value

    return parse


def counts(text: str) -> list[int]:
    """Comma-separated integers from 1 on, each once, in their order."""
    return list(dict.fromkeys(at_least(1)(part) for part in text.split(",")))


def shares(text: str) -> list[float]:
    """Comma-separated numbers above 0 and up to 1, each once, in their order."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < share <= 1 for share in found):
        raise argparse.ArgumentTypeError(f"expected numbers above 0 and up to 1, got {text}")
    return list(dict.fromkeys(found))
