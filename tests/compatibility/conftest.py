"""What a row is given to run on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compatibility import table
from compatibility.behaviours import behaviours
from compatibility.bench import Bench


@pytest.fixture
def bench(
    stock_and_fast: Callable[..., Any],
    make_config: Callable[..., Any],
    make_batch: Callable[..., Any],
    minilm: Path,
    tmp_path: Path,
) -> Bench:
    """A fresh `Bench`."""
    return Bench(stock_and_fast, make_config, make_batch, minilm, tmp_path)


@pytest.fixture(scope="session")
def recorded() -> Iterator[dict[tuple[str, str], str]]:
    """(group, name) -> cell, of the rows that ran; written to the table at the end if `renew.py` asked for it."""
    cells: dict[tuple[str, str], str] = {}
    yield cells
    if os.environ.get("BERTFAST_RENEW_COMPATIBILITY"):
        table.update(behaviours(), cells)
