"""Interleaved timing: candidates take turns, round after round, so that a machine's drift hits all alike.

Each candidate lives in a process of its own, as it does for its users: one candidate's freed memory would
otherwise spare another the page faults that it really has.
"""

from __future__ import annotations

import functools
import multiprocessing
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch
import transformers


@dataclass(frozen=True)
class Timing:
    """CPU and wall time of one call, median and quartiles in milliseconds, and the process's peak memory in MiB."""

    cpu_ms: float
    cpu_ms_q1: float
    cpu_ms_q3: float
    wall_ms: float
    peak_rss_mib: float


class Worker:
    """A candidate in its own process. ``make()`` is called there; what it returns is what is timed."""

    def __init__(self, make: Callable[..., Callable[[], Any]], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        self._process.start()
        theirs.close()

    @functools.cached_property
    def result(self) -> Any:
        """What the first call returned. Waits until the process is ready; EOFError if it ended before."""
        return self._connection.recv()

    def is_ready(self) -> bool:
        """Waits; false if the process ended before."""
        try:
            self.result  # noqa: B018
        except EOFError:
            return False
        return True

    def run(self) -> tuple[float, float, float]:
        """One call: CPU ms, wall ms, peak memory so far in MiB."""
        self._connection.send("run")
        return self._connection.recv()  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join()


def _serve(connection: Connection, make: Callable[..., Callable[[], Any]], arguments: tuple[Any, ...]) -> None:
    call = make(*arguments)
    result = call()
    call()
    # As numpy: a tensor would travel through shared memory that ends with this process.
    connection.send(result.detach().numpy() if isinstance(result, torch.Tensor) else result)
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        connection.send((cpu * 1e3, wall * 1e3, peak_rss_mib()))


def peak_rss_mib() -> float:
    """Of this process so far. Not getrusage's where Linux has better: that one counts what was there before exec."""
    try:
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def interleaved(workers: Mapping[str, Worker], rounds: int) -> tuple[dict[str, Timing], dict[str, list[float]]]:
    """Let the workers run in turn, once all are ready: each one's timing, and its CPU times by round."""
    assert all([worker.is_ready() for worker in workers.values()]), "a candidate's process ended early"
    runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            runs[name].append(worker.run())
    cpu = {name: [run[0] for run in taken] for name, taken in runs.items()}
    return {name: _summary(taken) for name, taken in runs.items()}, cpu


def _summary(runs: list[tuple[float, float, float]]) -> Timing:
    q1, median, q3 = statistics.quantiles([cpu for cpu, _, _ in runs], n=4, method="inclusive")
    return Timing(median, q1, q3, statistics.median(wall for _, wall, _ in runs), max(peak for _, _, peak in runs))


def environment() -> dict[str, object]:
    """What a reader must know to compare a figure."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "cpu": _cpu_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def _cpu_name() -> str:
    fields: dict[str, str] = {}
    try:
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                key, _, value = line.partition(":")
                fields.setdefault(key.strip(), value.strip())
    except OSError:
        return platform.processor()
    family = f"family {fields.get('cpu family', '?')}, model {fields.get('model', '?')}"
    return f"{fields.get('model name', platform.processor())} ({family})"


def as_json(timings: Mapping[str, Timing]) -> dict[str, dict[str, float]]:
    """Timings for a JSON file."""
    return {name: asdict(timing) for name, timing in timings.items()}
