"""The committed table tests/kernels/mutants/caught.json: which reader notices each mutant first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

PATH = Path(__file__).with_name("caught.json")
RENEW = "python tests/kernels/mutants/renew.py"


def load_table() -> dict[str, str]:
    """The name of the reader, by the name of the mutant."""
    table: dict[str, str] = json.loads(PATH.read_text())
    return table


def save_table(table: Mapping[str, str]) -> None:
    """One line a mutant, in the order of the names."""
    PATH.write_text(json.dumps(table, indent=2, sort_keys=True) + "\n")
