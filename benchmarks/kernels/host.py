"""Time on a CPU: wall and CPU time of calls whose inputs take turns."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.gpu.timers import CACHES, Call, Timed

_CACHE_FILES = Path("/sys/devices/system/cpu/cpu0/cache")
# Where the system does not tell them.
_OTHERWISE = {2: 1 << 20, 3: 32 << 20}
# Inputs may fill half of it, and of what is free.
_MOST_MEMORY = 4 << 30


class HostTimed:
    """Calls in turn, some in each run: a run is long beside what the clocks take. cpu_us: of each run, a call's."""

    _RUN_US = 400.0
    _WARM_US = 20_000.0
    _WARM_CALLS = 3

    def __init__(self, calls: Sequence[Call]) -> None:
        self._calls, self._per_run = itertools.cycle(calls), 1
        self._per_run = max(1, math.ceil(self._RUN_US / self._warm_up()))
        self.cpu_us: list[float] = []

    def _warm_up(self) -> float:
        """The fastest call. oneDNN compiles for a shape in the first one, and malloc learns what is asked of it."""
        count, total_us, fastest_us = 0, 0.0, math.inf
        while count < self._WARM_CALLS or total_us < self._WARM_US:
            taken_us = self._run()[0]
            count, total_us, fastest_us = count + 1, total_us + taken_us, min(fastest_us, taken_us)
        return fastest_us

    def run_us(self) -> float:
        wall_us, cpu_us = self._run()
        self.cpu_us.append(cpu_us)
        return wall_us

    def _run(self) -> tuple[float, float]:
        calls = list(itertools.islice(self._calls, self._per_run))
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        for call in calls:
            call()
        wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
        return wall / 1e3 / len(calls), cpu / 1e3 / len(calls)


class HostTimer:
    """See `benchmarks.gpu.timers.Timer`."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.core_cache_bytes = cache_bytes(2)
        self.cache_bytes = max(cache_bytes(3), self.core_cache_bytes)

    def free_bytes(self) -> int:
        """Read from /proc; half of the most where there is none."""
        try:
            lines = Path("/proc/meminfo").read_text().splitlines()
        except OSError:
            return _MOST_MEMORY // 2
        (available,) = (int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
        return min(available, _MOST_MEMORY)

    def prepare(self, calls: Sequence[Call]) -> Timed:
        return HostTimed(calls)

    def synchronize(self) -> None:
        pass

    def tidy(self) -> None:
        pass

    def inputs_from(self, read_between_turns: int) -> str:
        """Where an input lies when its turn comes again."""
        if read_between_turns >= CACHES * self.cache_bytes:
            return "memory"
        return "last-level cache" if read_between_turns >= CACHES * self.core_cache_bytes else "core's cache"


def cache_bytes(level: int) -> int:
    """Of the first CPU's cache of this level, as the system tells it: a virtual machine may see all of its host's."""
    for folder in sorted(_CACHE_FILES.glob("index*")):
        try:
            found, size = int((folder / "level").read_text()), (folder / "size").read_text().strip()
        except (OSError, ValueError):
            continue
        if found == level and size.endswith("K"):
            return int(size[:-1]) * 1024
    return _OTHERWISE[level]
