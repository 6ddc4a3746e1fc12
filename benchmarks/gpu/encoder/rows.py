"""A row of the encoder's benchmark: the times of one workload by candidate, and whether they meet a goal."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmarks.gpu.encoder.candidates import OURS, Forward
from benchmarks.gpu.encoder.workloads import Workload
from benchmarks.gpu.timers import Spread, Timer, interleave

_RUN_US = 20_000.0


@dataclass(frozen=True)
class Result:
    """Of one candidate. error: relative to stock transformers' result."""

    latency: Spread
    in_a_row: Spread
    sequences_per_s: float
    tflops: float
    error: float


@dataclass(frozen=True)
class Row:
    """One workload: results by candidate. ratio: of the best other's latency to ours; None without another."""

    workload: str
    model: str
    dtype: str
    batch: int
    length: int
    tokens: int
    ragged: bool
    results: dict[str, Result]
    ratio: float | None
    goal: dict[str, Any] | None = None
    met: bool | None = None


@dataclass(frozen=True)
class _Calls:
    """waits: for each call, or only for the last one."""

    call: Forward
    timer: Timer
    repeats: int
    waits: bool

    def run_us(self) -> float:
        start = time.perf_counter_ns()
        for i in range(self.repeats):
            self.call()
            if self.waits or i == self.repeats - 1:
                self.timer.synchronize()
        return (time.perf_counter_ns() - start) / 1e3 / self.repeats


def make_row(
    timer: Timer,
    workload: Workload,
    forwards: dict[str, Forward],
    errors: dict[str, float],
    rounds: int,
    dry: bool,
) -> Row:
    """Times these forwards in turn. errors: of each, against stock."""
    repeats = {name: _repeats(_Calls(call, timer, 1, waits=True), dry) for name, call in forwards.items()}
    latency, in_a_row = (
        interleave({name: _Calls(call, timer, repeats[name], waits) for name, call in forwards.items()}, rounds)
        for waits in (True, False)
    )
    results = {
        name: Result(
            latency[name],
            in_a_row[name],
            workload.batch / in_a_row[name].median_us * 1e6,
            workload.flops / in_a_row[name].median_us / 1e6,
            errors[name],
        )
        for name in forwards
    }
    others = [r.latency.median_us for name, r in results.items() if name != OURS]
    ratio = min(others) / results[OURS].latency.median_us if others and OURS in results else None
    row = Row(
        str(workload),
        workload.model.name,
        str(workload.dtype).removeprefix("torch."),
        workload.batch,
        workload.length,
        sum(workload.lengths),
        workload.is_ragged,
        results,
        ratio,
    )
    if workload.goal is None:
        return row
    met = None if dry else meets(workload, results.get(OURS), ratio)
    return replace(row, goal=asdict(workload.goal), met=met)


def _repeats(once: _Calls, dry: bool) -> int:
    return 1 if dry else max(1, min(50, round(_RUN_US / once.run_us())))


def meets(workload: Workload, ours: Result | None, ratio: float | None) -> bool | None:
    """None if it was not measured. The goals in ms and sequences/s are those for an H200."""
    goal = workload.goal
    if goal is None or ours is None or ratio is None:
        return None
    fast = goal.latency_ms is None or ours.latency.median_us <= goal.latency_ms * 1e3
    many = goal.sequences_per_s is None or ours.sequences_per_s >= goal.sequences_per_s
    return fast and many and ratio >= goal.ratio
