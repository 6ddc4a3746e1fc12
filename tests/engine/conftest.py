"""The way of a GPU through the engine, taken on a CPU: only who computes the ops differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch

from bertfast import weights
from bertfast.devices import DevicePolicy
from bertfast.linear import PortableLinear
from engine.recorders import FakeRecorder


@dataclass
class GpuPath:
    """Models that are prepared from now on take it. recorders: of each of them, in order."""

    unwaited_slots: int = 0
    num_bytes: int = 1000
    recorders: list[FakeRecorder] = field(default_factory=list)

    def policy(self, device: torch.device, dtype: torch.dtype) -> DevicePolicy:
        return DevicePolicy(
            PortableLinear,
            packs_on_device=True,
            unwaited_slots=self.unwaited_slots,
            make_recorder=self._make_recorder,
        )

    def _make_recorder(self, device: torch.device) -> FakeRecorder:
        self.recorders.append(FakeRecorder(self.num_bytes))
        return self.recorders[-1]


@pytest.fixture
def take_gpu_path(monkeypatch: pytest.MonkeyPatch) -> Callable[..., GpuPath]:
    """``take_gpu_path(unwaited_slots=0)``: until the test ends."""

    def take(**settings: int) -> GpuPath:
        path = GpuPath(**settings)
        monkeypatch.setattr(weights, "device_policy", path.policy)
        return path

    return take


@pytest.fixture(params=[0, 10_000], ids=["waits", "never waits"])
def gpu_path(request: pytest.FixtureRequest, take_gpu_path: Callable[..., GpuPath]) -> GpuPath:
    """A path that waits for the number of tokens, and one that computes all positions instead."""
    return take_gpu_path(unwaited_slots=request.param)
