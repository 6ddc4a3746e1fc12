"""What a file says beside pytest-benchmark's statistics: the command, the environment, the ceilings."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.gpu.environment import commit, nvidia_smi
from benchmarks.kernels.host import HostTimer
from benchmarks.kernels.measured import Bench
from bertfast.environment.describe import describe
from bertfast.environment.privacy import public


def describe_run(arguments: Sequence[str], threads: int, benches: Mapping[str, Bench]) -> dict[str, Any]:
    """``load_average`` and the GPU's clocks are those of the end of the run."""
    timer = HostTimer()
    return {
        "command": public(" ".join(("python -m pytest", *map(str, arguments)))),
        "commit": commit(),
        "environment": {
            **describe(),
            "threads": threads,
            "core_cache_bytes": timer.core_cache_bytes,
            "last_level_cache_bytes": timer.cache_bytes,
            "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
            "nvidia_smi": nvidia_smi(),
        },
        "ceilings": {device: asdict(bench.ceilings) for device, bench in benches.items()},
    }


# What pytest-benchmark's comparison does not print.
_UNUSED = ("data", "ld15iqr", "hd15iqr", "total", "iqr_outliers", "stddev_outliers")


def shorten(output_json: dict[str, Any]) -> None:
    """Statistics are kept, single times are not: a file that is committed has to be small."""
    # Where the checkout's folder or branch has another name, figures are the same.
    output_json.pop("commit_info", None)
    for one in output_json["benchmarks"]:
        one["stats"] = {name: _rounded(value) for name, value in one["stats"].items() if name not in _UNUSED}
        one["extra_info"] = {name: _rounded(value) for name, value in one["extra_info"].items()}
        one.pop("options", None)
        one.pop("param", None)


def _rounded(value: Any) -> Any:
    """To five digits, more than any clock here has."""
    return float(f"{value:.5g}") if isinstance(value, float) else value


def write_in_lines(path: Path) -> None:
    """Write pytest-benchmark's file anew with a line for each benchmark: small, and a difference can be read."""
    content = json.loads(path.read_text())
    benchmarks = content.pop("benchmarks")
    head = json.dumps(content, indent=1).removesuffix("\n}")
    lines = ",\n".join("  " + json.dumps(one, separators=(",", ":")) for one in benchmarks)
    path.write_text(f'{head},\n "benchmarks": [\n{lines}\n ]\n}}\n')
