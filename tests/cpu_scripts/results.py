"""Made-up results."""

from __future__ import annotations

from cpu.accuracy import Accuracy
from cpu.measure import Result, against_best_peer
from timing import Timing


def timing(cpu_ms: float, wall_ms: float | None = None) -> Timing:
    return Timing(cpu_ms, cpu_ms - 1, cpu_ms + 1, cpu_ms if wall_ms is None else wall_ms, 512.0)


def result(precision: str = "float32", row: str = "ragged", **cpu_ms: float) -> Result:
    """Of one row, with these candidates."""
    timings = {name: timing(value) for name, value in cpu_ms.items()}
    accuracy = dict.fromkeys(timings, Accuracy(1e-3, 2e-3, 0.9999))
    return Result(precision, row, 737, 1680, timings, accuracy, {}, *against_best_peer(timings))
