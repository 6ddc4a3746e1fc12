"""Tests that need a GPU. Without one they skip; they never fall back to stock transformers in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Pair
from fake_gpu import FakeGpu
from torch import nn

from bertfast import extension
from gpu.targets import Target, choose_target


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(scope="session")
def target() -> Target:
    """The GPU, or what stands for it."""
    found = choose_target()
    if isinstance(found, str):
        pytest.skip(found)
    if found.real:
        # Not a reason to skip: without the kernels, whatever runs on this GPU is not bertfast.
        reason = extension.why_not_on(torch.cuda.get_device_capability(found.device))
        assert reason is None, reason
    return found


@pytest.fixture(autouse=True)
def on_the_gpu_path(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the CPU stands for the GPU, models take the way of a GPU through the engine."""
    if not target.real:
        FakeGpu(rows=256).serve(monkeypatch)


@pytest.fixture
def make_pair(stock_and_fast: Callable[..., Pair], target: Target) -> Callable[..., Pair]:
    """``make_pair(class_name, config, dtype, **options)``: stock and bertfast with equal weights, on the GPU."""

    def make(class_name: str, config: Any, dtype: torch.dtype, **options: Any) -> Pair:
        if dtype == torch.bfloat16 and target.real and torch.cuda.get_device_capability(target.device) < (8, 0):
            pytest.skip("bfloat16 takes compute capability 8.0")
        pair = stock_and_fast(class_name, config, dtype, **options)
        return Pair(pair.stock.to(target.device), pair.fast.to(target.device))

    return make


@pytest.fixture
def to_target(target: Target) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Moves the tensors of a batch."""

    def move(batch: dict[str, Any]) -> dict[str, Any]:
        return {k: v.to(target.device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}

    return move


def encoder_of(model: nn.Module) -> nn.Module:
    """The ``BertModel`` of one of BERT's classes."""
    return getattr(model, "bert", model)
