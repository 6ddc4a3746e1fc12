"""One row in one precision: all candidates in turn, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from cpu.accuracy import Accuracy, Outputs, accuracy
from cpu.candidates import CANDIDATES, OURS, REFERENCE
from cpu.peers.setup import Setup
from cpu.rows import Row, batch
from timing import Timing, Worker, interleaved

_FAILED = "its process ended with the error above"


@dataclass(frozen=True)
class Result:
    """ratio: the best peer's CPU time by bertfast's. left_out: why a candidate is missing."""

    precision: str
    row: str
    real_tokens: int
    padded_slots: int
    timings: dict[str, Timing]
    accuracy: dict[str, Accuracy]
    left_out: dict[str, str]
    best_peer: str | None
    ratio: float | None
    ratio_wall: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def make_call(name: str, setup: Setup, row: Row) -> Callable[[], torch.Tensor]:
    """The call that is timed."""
    forward = CANDIDATES[name].load(setup)
    inputs = batch(row)

    def call() -> torch.Tensor:
        with torch.inference_mode():
            return forward(inputs["input_ids"], inputs["attention_mask"])

    return call


def reference(setup: Setup, row: Row) -> Outputs:
    """What stock transformers gives in float32."""
    worker = Worker(make_call, REFERENCE, setup, row)
    result: Outputs = worker.result
    worker.close()
    return result


def measure(
    names: list[str], setup: Setup, row: Row, rounds: int, expected: Outputs, left_out: dict[str, str]
) -> Result:
    """Time these candidates. One whose process ends is left out; its error is on stderr."""
    workers = {name: Worker(make_call, name, setup, row) for name in names}
    failed = {name: _FAILED for name, worker in workers.items() if not worker.is_ready()}
    for name in failed:
        workers.pop(name).close()
    timings = interleaved(workers, rounds)[0]
    for worker in workers.values():
        worker.close()
    best, ratio, ratio_wall = against_best_peer(timings)
    return Result(
        setup.precision,
        row.name,
        row.real_tokens,
        row.padded_slots,
        timings,
        {name: accuracy(worker.result, expected) for name, worker in workers.items()},
        {**left_out, **failed},
        best,
        ratio,
        ratio_wall,
    )


def against_best_peer(timings: dict[str, Timing]) -> tuple[str | None, float | None, float | None]:
    """The peer that needs least CPU time, and its CPU and wall time by bertfast's."""
    peers = [name for name in timings if name != OURS]
    best = min(peers, key=lambda name: timings[name].cpu_ms, default=None)
    if best is None or OURS not in timings:
        return best, None, None
    least_wall = min(timings[name].wall_ms for name in peers)
    return best, timings[best].cpu_ms / timings[OURS].cpu_ms, least_wall / timings[OURS].wall_ms
