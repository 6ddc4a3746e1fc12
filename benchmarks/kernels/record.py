"""What a file says beside pytest-benchmark's statistics: the command, the environment, the ceilings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.cpu.features import cpu_features
from benchmarks.gpu.environment import describe
from benchmarks.kernels.host import HostTimer, load_average
from benchmarks.kernels.measured import Bench


def describe_run(arguments: Sequence[str], threads: int, benches: Mapping[str, Bench]) -> dict[str, Any]:
    """``load_average`` is that of the end of the run."""
    timer = HostTimer()
    return {
        "command": " ".join(("python -m pytest", *map(str, arguments))),
        "environment": {
            **describe(),
            "cpu_features": " ".join(cpu_features()),
            "core_cache_bytes": timer.core_cache_bytes,
            "last_level_cache_bytes": timer.cache_bytes,
            "threads": threads,
            "num_cpus": os.cpu_count(),
            "load_average": load_average(),
        },
        "ceilings": {device: asdict(bench.ceilings) for device, bench in benches.items()},
    }


def without_samples(output_json: dict[str, Any]) -> None:
    """Statistics are kept, single times are not: a file that is committed has to be small."""
    for one in output_json["benchmarks"]:
        one["stats"].pop("data", None)
        one.pop("options", None)
