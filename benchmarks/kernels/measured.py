"""Measures a group: agreement first, then all implementations in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from benchmarks.gpu.kernels.bench import bound
from benchmarks.gpu.kernels.ceilings import Ceilings, measure_ceilings
from benchmarks.gpu.timers import CACHES, CudaTimer, Timed, samples, turns
from benchmarks.kernels.groups import Group
from benchmarks.kernels.host import HostTimed, HostTimer
from benchmarks.kernels.implementations import PYTORCH
from bertfast.precision import onednn_lacks

_MOST_INPUTS = 2048
_COPY_BYTES, _GEMM_SIZE, _ROUNDS = 1 << 29, 2048, 7


@dataclass(frozen=True)
class Measured:
    """By implementation: wall (on a GPU, its own) and CPU time of each round, microseconds, and error.

    num_inputs: that took turns; inputs_from: where one lies when its turn comes.
    """

    group: Group
    wall_us: Mapping[str, list[float]]
    cpu_us: Mapping[str, list[float]]
    errors: Mapping[str, float]
    num_inputs: int
    inputs_from: str

    def facts(self, name: str, ceilings: Ceilings) -> dict[str, Any]:
        """What pytest-benchmark's statistics of one implementation do not say."""
        work, seconds = self.group.work, statistics.median(self.wall_us[name]) / 1e6
        limit, least = bound(work, ceilings, self.group.dtype)
        found: dict[str, Any] = {
            "gb_per_s": (work.read_bytes + work.written_bytes) / seconds / 1e9,
            "gflop_per_s": (work.flops + work.tensor_flops) / seconds / 1e9,
            "ceiling": limit,
            "share_of_ceiling": least / seconds,
            "inputs": self.num_inputs,
            "inputs_from": self.inputs_from,
            "error": self.errors.get(name),
            "pytorch_by_this": self.ratio(name, self.wall_us),
        }
        if self.cpu_us:
            found["cpu_us"] = statistics.median(self.cpu_us[name])
            found["pytorch_by_this_cpu"] = self.ratio(name, self.cpu_us)
        return found

    def ratio(self, name: str, times: Mapping[str, list[float]]) -> float | None:
        """PyTorch's median time by this one's: above 1, this one is faster."""
        return statistics.median(times[PYTORCH]) / statistics.median(times[name]) if PYTORCH in times else None


class Bench:
    """Measures groups, each once; the last one is kept, for the tests of its implementations follow each other."""

    def __init__(self, timer: HostTimer | CudaTimer, min_rounds: int, max_seconds: float) -> None:
        self._timer, self._min_rounds, self._max_seconds = timer, min_rounds, max_seconds
        self._last: Measured | None = None
        self._ceilings: Ceilings | None = None

    @property
    def ceilings(self) -> Ceilings:
        """Measured when they are first asked for."""
        if self._ceilings is None:
            self._ceilings = _host_ceilings(self._timer) if _on_host(self._timer) else measure_ceilings(self._timer)
        return self._ceilings

    def measured(self, group: Group) -> Measured:
        """Raises AssertionError if the implementations do not agree: what is wrong is not timed."""
        if self._last is None or self._last.group.key != group.key:
            self._last = None
            self._last = self._measure(group)
            self._timer.tidy()
        return self._last

    def _measure(self, group: Group) -> Measured:
        first = group.make()
        errors = check(group, first)
        count = turns(first.reads, first.holds, self._timer, _MOST_INPUTS)
        inputs = [first, *(group.make() for _ in range(count - 1))]
        candidates: dict[str, Timed] = {}
        for position, name in enumerate(group.names):
            calls = [one.calls[name] for one in inputs]
            # One starts where another will be last: nobody finds in a cache what the one before has just read.
            start = position * count // len(group.names)
            candidates[name] = self._timer.prepare(calls[start:] + calls[:start])
        wall = samples(candidates, _Rounds(self._min_rounds, self._max_seconds))
        cpu = {name: timed.cpu_us for name, timed in candidates.items() if isinstance(timed, HostTimed)}
        return Measured(group, wall, cpu, errors, count, self._inputs_from(count * first.reads))

    def _inputs_from(self, read_between_turns: int) -> str:
        if isinstance(self._timer, HostTimer):
            return self._timer.inputs_from(read_between_turns)
        return "memory" if read_between_turns >= CACHES * self._timer.cache_bytes else "second-level cache"


class _Rounds:
    """Whether there is another round: at least ``fewest``, and more for so many seconds from the first one on."""

    def __init__(self, fewest: int, seconds: float) -> None:
        self._fewest, self._seconds, self._end = fewest, seconds, 0.0

    def __call__(self, done: int) -> bool:
        if done == 0:
            self._end = time.monotonic() + self._seconds
        return done < self._fewest or time.monotonic() < self._end


def check(group: Group, inputs: Any) -> Mapping[str, float]:
    """The errors by implementation. Raises AssertionError if one is larger than allowed, or NaN."""
    errors = group.errors(inputs)
    far = {name: error for name, error in errors.items() if not error <= group.allowed}
    assert not far, f"{group}: relative errors {far}, allowed {group.allowed:g}: not timed"
    return errors


def _on_host(timer: HostTimer | CudaTimer) -> bool:
    return isinstance(timer, HostTimer)


def _host_ceilings(timer: HostTimer | CudaTimer) -> Ceilings:
    found = measure_ceilings(timer, _COPY_BYTES, _GEMM_SIZE, _ROUNDS)
    if onednn_lacks("int8") is not None:
        return found
    return replace(found, gemm_flops={**found.gemm_flops, "int8": _int8_product(timer)})


def _int8_product(timer: HostTimer | CudaTimer) -> float:
    """Of oneDNN, with the weight laid out beforehand, as bertfast has it."""
    size = _GEMM_SIZE
    weight = torch.ops.onednn.qlinear_prepack(torch.randint(-127, 128, (size, size), dtype=torch.int8), None)
    codes = torch.randint(0, 256, (size, size), dtype=torch.uint8)
    scales, shifts = torch.ones(size), torch.zeros(size, dtype=torch.int32)
    given: tuple[Any, ...] = (codes, 1.0, 128, weight, scales, shifts, None, 1.0, 0, torch.float32, "none", [], "")
    timed = timer.prepare([lambda: torch.ops.onednn.qlinear_pointwise(*given)])
    return 2 * size**3 / (statistics.median(timed.run_us() for _ in range(_ROUNDS)) / 1e6)
