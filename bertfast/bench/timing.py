"""Interleaved timing: candidates take turns, round after round, so that a machine's drift hits all alike.

Each candidate lives in a process of its own, as it does for its users: one candidate's freed memory would
otherwise spare another the page faults that it really has.
"""

from __future__ import annotations

import functools
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch

from bertfast.environment.privacy import public


@dataclass(frozen=True)
class Timing:
    """CPU and wall time of one call, and the process's memory in MiB: the most it held, and what it holds now.

    In milliseconds: median and quartiles of the CPU time, all threads added; median, 90th and 99th percentile of the
    wall time. Between the slowest calls, percentiles are interpolated: of few calls, the 99th is about the slowest.
    """

    cpu_ms: float
    cpu_ms_q1: float
    cpu_ms_q3: float
    wall_ms: float
    wall_ms_p90: float
    wall_ms_p99: float
    peak_rss_mib: float
    rss_mib: float


@dataclass(frozen=True)
class Run:
    """One call: its CPU and wall time, and the memory of the process, the most so far and now."""

    cpu_ms: float
    wall_ms: float
    peak_rss_mib: float
    rss_mib: float


class CandidateError(Exception):
    """A candidate could not be made ready; says why."""


@dataclass(frozen=True)
class _Failed:
    reason: str


class Worker:
    """A candidate in its own process. ``make(*arguments)`` is called there; what it returns is what is timed.

    It is called without arguments ``warmup`` times, before any call is timed.
    """

    def __init__(self, make: Callable[..., Callable[..., Any]], *arguments: Any, warmup: int = 2) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, arguments, warmup), daemon=True)
        self._process.start()
        theirs.close()

    @functools.cached_property
    def _first(self) -> Any:
        try:
            return self._connection.recv()
        except EOFError:
            return _Failed(self._ended())

    @property
    def result(self) -> Any:
        """What the first call returned. Waits until the process is ready; raises CandidateError if that failed."""
        if isinstance(self._first, _Failed):
            raise CandidateError(self._first.reason)
        return self._first

    def failure(self) -> str | None:
        """Why it could not be made ready; None if it is. Waits."""
        return self._first.reason if isinstance(self._first, _Failed) else None

    def _ended(self) -> str:
        self._process.join()
        return f"its process ended with exit code {self._process.exitcode}"

    def run(self, *arguments: Any) -> Run:
        """Time one call, once it is ready. Raises CandidateError if it cannot be, or if the process ends."""
        if (reason := self.failure()) is not None:
            raise CandidateError(reason)
        self._connection.send(arguments)
        try:
            found: Run = self._connection.recv()
        except EOFError as error:
            raise CandidateError(self._ended()) from error
        return found

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join()


def reason_of(error: Exception) -> str:
    """One line, without folders: it is printed in reports."""
    return public(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def _serve(
    connection: Connection, make: Callable[..., Callable[..., Any]], arguments: tuple[Any, ...], warmup: int
) -> None:
    try:
        call = make(*arguments)
        result = call()
        for _ in range(warmup - 1):
            call()
    except Exception as error:
        connection.send(_Failed(reason_of(error)))
        return
    # As numpy: a tensor would travel through shared memory that ends with this process.
    connection.send(result.detach().numpy() if isinstance(result, torch.Tensor) else result)
    while True:
        try:
            given = connection.recv()
        except EOFError:
            return
        wall, cpu = time.perf_counter(), time.process_time()
        call(*given)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        connection.send(Run(cpu * 1e3, wall * 1e3, *memory_mib()))


def memory_mib() -> tuple[float, float]:
    """The most that this process held in memory so far, and what it holds now.

    Not getrusage's where Linux has better: that one counts what was there before exec, and knows only the most.
    """
    try:
        with open("/proc/self/status") as lines:
            fields = dict(line.split(":", 1) for line in lines)
        return int(fields["VmHWM"].split()[0]) / 1024, int(fields["VmRSS"].split()[0]) / 1024
    except (OSError, KeyError):
        import resource  # not on Windows

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return most, most


def nothing() -> None:
    """What happens after a call where nobody counts them."""


def interleaved(
    workers: Mapping[str, Worker],
    rounds: int,
    calls: Sequence[tuple[Any, ...]] = ((),),
    after_each: Callable[[], None] = nothing,
) -> dict[str, list[Run]]:
    """Let the workers run in turn, once all are ready: each one's runs, round after round.

    calls: the arguments of each call in a round.
    """
    for name, worker in workers.items():
        if (reason := worker.failure()) is not None:
            raise CandidateError(f"{name}: {reason}")
    runs: dict[str, list[Run]] = {name: [] for name in workers}
    for _ in range(rounds):
        for arguments in calls:
            for name, worker in workers.items():
                runs[name].append(worker.run(*arguments))
                after_each()
    return runs


def timing_of(runs: Sequence[Run]) -> Timing:
    """Of at least two runs."""
    q1, median, q3 = statistics.quantiles([run.cpu_ms for run in runs], n=4, method="inclusive")
    wall = statistics.quantiles([run.wall_ms for run in runs], n=100, method="inclusive")
    return Timing(median, q1, q3, wall[49], wall[89], wall[98], runs[-1].peak_rss_mib, runs[-1].rss_mib)


def as_json(timings: Mapping[str, Timing]) -> dict[str, dict[str, float]]:
    """Timings for a JSON file."""
    return {name: asdict(timing) for name, timing in timings.items()}
