"""Values of options that argparse reads, and refuses with the name of the option."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path


def at_least_one(text: str) -> int:
    """An integer above 0."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got {text}")
    return value


def positive(text: str) -> float:
    """A number above 0."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return value


def share(text: str) -> float:
    """A number from 0 to 1."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text}")
    return value


def file_path(text: str) -> Path:
    """Of a file to write. A Path no longer tells a folder's name, ``results/``, from a file's."""
    if os.path.basename(text) in ("", os.curdir, os.pardir):
        raise argparse.ArgumentTypeError(f"expected a name for a file, got {text!r}")
    return Path(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
