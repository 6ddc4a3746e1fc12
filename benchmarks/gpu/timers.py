"""Time on a device. Candidates take turns, round after round, so that a clock that drifts is everybody's."""

from __future__ import annotations

import contextlib
import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

Call = Callable[[], Any]
# What is read between two turns of an input, in caches.
CACHES = 3


@dataclass(frozen=True)
class Spread:
    """Median and quartiles, in microseconds."""

    median_us: float
    q1_us: float
    q3_us: float
    rounds: int

    @classmethod
    def of(cls, times_us: Sequence[float]) -> Spread:
        several = len(times_us) > 1
        q1, median, q3 = statistics.quantiles(times_us, n=4, method="inclusive") if several else [*times_us] * 3
        return cls(median, q1, q3, len(times_us))


class Timed(Protocol):
    """Something to be timed over and over."""

    def run_us(self) -> float:
        """Microseconds of one call, on the average of those that this runs."""


class Timer(Protocol):
    """How a device is timed."""

    device: torch.device
    #: Of the device's largest cache.
    cache_bytes: int

    def free_bytes(self) -> int:
        """Memory that inputs may take."""

    def prepare(self, calls: Sequence[Call]) -> Timed:
        """Launches of all these calls, one after the other, without the host between them."""

    def synchronize(self) -> None: ...

    def tidy(self) -> None:
        """Give back the memory of what is no longer used, graphs' pools included."""


@dataclass(frozen=True)
class _Graph:
    graph: torch.cuda.CUDAGraph
    num_calls: int
    replays: int

    def run_us(self) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(self.replays):
            self.graph.replay()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e3 / (self.replays * self.num_calls)


class CudaTimer:
    """CUDA events around replays of a graph that holds the calls."""

    # Of one run: long beside the resolution of events, about half a microsecond.
    _RUN_US = 2000.0

    def __init__(self) -> None:
        self.device = torch.device("cuda", 0)
        self.cache_bytes = torch.cuda.get_device_properties(self.device).L2_cache_size

    def free_bytes(self) -> int:
        return int(torch.cuda.mem_get_info(self.device)[0])

    def prepare(self, calls: Sequence[Call]) -> Timed:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for call in calls[:2]:
                call()
        self.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            # Kept until the end: each call then writes memory of its own, which no cache holds.
            results = [call() for call in calls]
        del results
        once = _Graph(graph, len(calls), 1)
        once.run_us()
        taken_us = once.run_us() * len(calls)
        return _Graph(graph, len(calls), max(1, round(self._RUN_US / max(taken_us, 1.0))))

    def synchronize(self) -> None:
        torch.cuda.synchronize(self.device)

    def tidy(self) -> None:
        torch.cuda.empty_cache()


@dataclass(frozen=True)
class _Loop:
    calls: Sequence[Call]

    def run_us(self) -> float:
        start = time.perf_counter_ns()
        for call in self.calls:
            call()
        return (time.perf_counter_ns() - start) / 1e3 / len(self.calls)


class CpuTimer:
    """The host's clock, to exercise everything around it."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        # Small: a dry run need not rotate through many inputs.
        self.cache_bytes = 1 << 12

    def free_bytes(self) -> int:
        return 1 << 26

    def prepare(self, calls: Sequence[Call]) -> Timed:
        return _Loop(calls)

    def synchronize(self) -> None:
        pass

    def tidy(self) -> None:
        pass


def make_timer(dry: bool) -> Timer:
    return CpuTimer() if dry else CudaTimer()


def is_alive(timer: Timer) -> bool:
    """Whether anything can be run after an error; a kernel's bad access ends the whole context."""
    try:
        timer.synchronize()
    except RuntimeError:
        return False
    return True


def interleave(candidates: Mapping[str, Timed], rounds: int) -> dict[str, Spread]:
    """What `samples` gives, in short."""
    return {name: Spread.of(taken) for name, taken in samples(candidates, lambda done: done < rounds).items()}


def samples(candidates: Mapping[str, Timed], more: Callable[[int], bool]) -> dict[str, list[float]]:
    """Each one's times, taken in turn; the order turns around every other round. ``more``: of the rounds so far,
    whether there is another.
    """
    times: dict[str, list[float]] = {name: [] for name in candidates}
    names = list(candidates)
    round_ = 0
    with _no_collection():
        while more(round_):
            for name in names if round_ % 2 == 0 else reversed(names):
                times[name].append(candidates[name].run_us())
            round_ += 1
    return times


def turns(fewest_reads: int, holds: int, timer: Timer, most: int) -> int:
    """How many inputs take turns: until calls have read three caches full before one's turn comes again.

    Fewer, where these are more than ``most`` or would fill more than half of the free memory. fewest_reads: bytes of
    an input that the candidate which reads least of it reads; holds: bytes of an input.
    """
    wanted = math.ceil(CACHES * timer.cache_bytes / fewest_reads)
    return max(1, min(wanted, most, timer.free_bytes() // 2 // holds))


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
