"""Writes the tables of docs/kernels.md, from tests/kernels/device/resources.json and the launchers themselves.

``python benchmarks/kernels/roofline.py`` renews the file; with ``--check`` it only says whether that is needed. No
GPU and no nvcc: the launchers are built for the host, to be asked what they launch. Every number is computed.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from kernels.device.table import load_table
from kernels.device.tools import demangle
from kernels.launches import Launchers, build_launchers
from kernels.params import make_params
from launch_params import launch_params

from bertfast.roofline.bounds import bound
from bertfast.roofline.cases import cases
from bertfast.roofline.machines import GPUS, MULTIPROCESSORS
from bertfast.roofline.occupancy import occupancy
from bertfast.roofline.work import Case

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "kernels.md"


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(header)]
    lines += [["---"] * len(lines[0]), *map(list, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _amount(value: float, unit: str) -> str:
    for prefix, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}" if value else "0"


def work_table(launchers: Launchers) -> str:
    header = ("kernel", "shape", "reads", "writes", "bytes", "operations", "FLOPs", "special")
    rows = []
    for case in cases():
        work = case.work
        numbers = (
            _amount(work.num_bytes, "B"),
            case.operations,
            _amount(work.all_flops, "FLOP"),
            _amount(work.special_ops, "op"),
        )
        rows.append((case.name, str(case.shape), case.reads, case.writes, *numbers))
    return _table(header, rows)


def resource_table(launchers: Launchers) -> str:
    """A line for each kernel that is launched: registers, and what share of a multiprocessor's warps are there."""
    resources = load_table()
    header = ["kernel", "threads", "shared memory", *(f"sm_{name}" for name in MULTIPROCESSORS)]
    rows: dict[str, list[str]] = {}
    for case in cases():
        for architecture, multiprocessor in MULTIPROCESSORS.items():
            launches = launchers.shapes(case.op, _params(case, architecture))
            for launch, name in zip(launches, demangle([launch.kernel for launch in launches]), strict=True):
                needs = resources[name][architecture]
                threads, smem_bytes = launch.launch.block[0], launch.launch.smem_bytes + needs.static_smem_bytes
                there = occupancy(multiprocessor, threads, needs.registers, smem_bytes)
                label = case.name if len(launches) == 1 else f"{case.name}: {name.partition('<')[0]}"
                row = rows.setdefault(label, [label, str(threads), f"{smem_bytes:,} B"])
                row.append(f"{needs.registers} r, {there.blocks} b, {there.share:.0%}")
    return _table(header, rows.values())


def _params(case: Case, architecture: str) -> ctypes.Structure:
    capability = int(architecture.rstrip("a"))
    params: ctypes.Structure = make_params(case.op, **launch_params(case.op, case.shape, capability))
    return params


def roofline_table(launchers: Launchers) -> str:
    rows = []
    for case in cases():
        bounds = [bound(case.work, gpu) for gpu in GPUS]
        rows.append((case.name, str(case.shape), *(f"{b.time_us:.3g} µs, {b.limit}" for b in bounds)))
    return _table(("kernel", "shape", *(gpu.name for gpu in GPUS)), rows)


def gpu_table(launchers: Launchers) -> str:
    header = ("GPU", "architecture", "multiprocessors", "memory", "float32", "tensor cores", "special", "source")
    rows = []
    for gpu in GPUS:
        peaks = (
            f"{gpu.bytes_per_s / 1e9:,.0f} GB/s",
            f"{gpu.float_flops / 1e12:.3g} TFLOP/s",
            f"{gpu.tensor_flops / 1e12:.3g} TFLOP/s",
            f"{gpu.special_ops / 1e12:.2g} Top/s",
        )
        rows.append((gpu.name, f"sm_{gpu.architecture}", str(gpu.multiprocessors), *peaks, gpu.source))
    return _table(header, rows)


TABLES: dict[str, Callable[[Launchers], str]] = {
    "work": work_table,
    "resources": resource_table,
    "roofline": roofline_table,
    "gpus": gpu_table,
}


def render(text: str, launchers: Launchers) -> str:
    """The document with every table between its markers made anew."""
    for name, make in TABLES.items():
        begin, end = f"<!-- {name}: begin, written by benchmarks/kernels/roofline.py -->", f"<!-- {name}: end -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"{DOCUMENT.name}: expected the markers of the table {name!r} once")
        start, stop = text.index(begin), text.index(end) + len(end)
        text = f"{text[:start]}{begin}\n{make(launchers)}\n{end}{text[stop:]}"
    return text


def main() -> int:
    text = DOCUMENT.read_text()
    current = render(text, build_launchers())
    if current == text:
        return 0
    if "--check" in sys.argv:
        print(f"{DOCUMENT.name} is not current; renew it: python benchmarks/kernels/roofline.py")
        return 1
    DOCUMENT.write_text(current)
    return 0


if __name__ == "__main__":
    sys.exit(main())
