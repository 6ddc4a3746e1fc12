"""Engines on a stand-in for a GPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fake_gpu import FakeGpu


@pytest.fixture
def make_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeGpu]:
    """``make_gpu(rows=0)``: models that are prepared from now on, until the test ends, run on it."""

    def make(**settings: int) -> FakeGpu:
        return FakeGpu(**settings).serve(monkeypatch)

    return make
