"""Options that the scripts share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bertfast.bench.options import names_of


def add_common(parser: argparse.ArgumentParser, precisions: Sequence[str]) -> None:
    """Add the options that every comparison has: precisions, and where files go."""
    parser.add_argument("--precisions", type=names_of(precisions), default=list(precisions), help="default: all")
    parser.add_argument("--cache", type=Path, help="keep exported models there; default: a temporary folder")
    parser.add_argument("--json", type=Path, help="write the results there")
