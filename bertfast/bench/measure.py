"""One workload in one precision: all candidates in turn, each in a process of its own."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers.utils import logging as transformers_logging

from bertfast.bench.accuracy import Accuracy, Outputs, accuracy
from bertfast.bench.candidates import CANDIDATES, OURS, REFERENCE
from bertfast.bench.models import config_of
from bertfast.bench.setup import Setup
from bertfast.bench.timing import Run, Timing, Worker, interleaved, nothing, timing_of
from bertfast.bench.workloads import Workload


@dataclass(frozen=True)
class Plan:
    """How often: calls before any is timed, and rounds of timed calls."""

    rounds: int
    warmup: int = 2


@dataclass(frozen=True)
class Result:
    """ratio: the best peer's CPU time by bertfast's. left_out: why a candidate is missing. longest: tokens of the
    longest text. is_texts: texts of a user, no batch of a grid. tokens_per_s: real tokens, of all batches by their
    median wall times.
    """

    precision: str
    threads: int
    row: str
    batch_size: int
    longest: int
    real_tokens: int
    padded_slots: int
    batches: int
    is_texts: bool
    timings: dict[str, Timing]
    tokens_per_s: dict[str, float]
    accuracy: dict[str, Accuracy]
    left_out: dict[str, str]
    best_peer: str | None
    ratio: float | None
    ratio_wall: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def make_call(name: str, setup: Setup, workload: Workload) -> Callable[..., Tensor]:
    """The call that is timed: of one batch by its index; without one, of all, which gives all outputs."""
    # This process is a spawned one, and has no settings of the one that prints the results.
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    forward = CANDIDATES[name].load(setup)
    batches = [(torch.from_numpy(batch.ids), torch.from_numpy(batch.mask)) for batch in workload.batches]

    def call(index: int | None = None) -> Tensor:
        with torch.inference_mode():
            if index is not None:
                return forward(*batches[index])
            return torch.cat([forward(*batch) for batch in batches])

    return call


def reference(setup: Setup, workload: Workload) -> Outputs:
    """What stock transformers gives in float32."""
    worker = Worker(make_call, REFERENCE, replace(setup, precision="float32"), workload, warmup=1)
    try:
        result: Outputs = worker.result
    finally:
        worker.close()
    return result


def measure(
    names: Sequence[str],
    setup: Setup,
    workload: Workload,
    plan: Plan,
    expected: Outputs,
    left_out: Mapping[str, str],
    after_each: Callable[[], None] = nothing,
) -> Result:
    """Time these candidates. One that cannot be made ready is left out. after_each: called after every timed call."""
    workers = {name: Worker(make_call, name, setup, workload, warmup=plan.warmup) for name in names}
    failed = {name: reason for name, worker in workers.items() if (reason := worker.failure()) is not None}
    for name in failed:
        workers.pop(name).close()
    runs = interleaved(workers, plan.rounds, [(i,) for i in range(len(workload.batches))], after_each)
    for worker in workers.values():
        worker.close()
    timings = {name: timing_of(taken) for name, taken in runs.items()}
    hidden_size = config_of(setup.model).hidden_size
    best, ratio, ratio_wall = against_best_peer(timings)
    return Result(
        setup.precision,
        setup.threads,
        workload.name,
        workload.batch_size,
        workload.longest,
        workload.real_tokens,
        workload.padded_slots,
        len(workload.batches),
        workload.is_texts,
        timings,
        {name: tokens_per_s(taken, workload) for name, taken in runs.items()},
        {name: accuracy(worker.result, expected, hidden_size) for name, worker in workers.items()},
        {**left_out, **failed},
        best,
        ratio,
        ratio_wall,
    )


def tokens_per_s(runs: Sequence[Run], workload: Workload) -> float:
    """Real tokens by the sum of each batch's median wall time."""
    count = len(workload.batches)
    seconds = sum(statistics.median(run.wall_ms for run in runs[i::count]) for i in range(count)) / 1e3
    return workload.real_tokens / seconds


def against_best_peer(timings: Mapping[str, Timing]) -> tuple[str | None, float | None, float | None]:
    """The peer that needs least CPU time, and its CPU and wall time by bertfast's."""
    peers = [name for name in timings if not CANDIDATES[name].is_ours]
    best = min(peers, key=lambda name: timings[name].cpu_ms, default=None)
    if best is None or OURS not in timings:
        return best, None, None
    least_wall = min(timings[name].wall_ms for name in peers)
    return best, timings[best].cpu_ms / timings[OURS].cpu_ms, least_wall / timings[OURS].wall_ms
