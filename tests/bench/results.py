"""Made-up results."""

from __future__ import annotations

from bertfast.bench.accuracy import Accuracy
from bertfast.bench.measure import Result, against_best_peer
from bertfast.bench.timing import Timing


def timing(cpu_ms: float, wall_ms: float | None = None) -> Timing:
    wall = cpu_ms if wall_ms is None else wall_ms
    return Timing(cpu_ms, cpu_ms - 1, cpu_ms + 1, wall, 1.1 * wall, 1.2 * wall, 512.0, 400.0)


def result(precision: str = "float32", row: str = "ragged", threads: int = 1, **cpu_ms: float) -> Result:
    """Of one row, with these candidates."""
    timings = {name: timing(value) for name, value in cpu_ms.items()}
    accuracy = dict.fromkeys(timings, Accuracy(1e-3, 2e-3, 0.9999))
    speed = {name: 737e3 / found.wall_ms for name, found in timings.items()}
    best = against_best_peer(timings)
    return Result(precision, threads, row, 16, 105, 737, 1680, 1, False, timings, speed, accuracy, {}, *best)
