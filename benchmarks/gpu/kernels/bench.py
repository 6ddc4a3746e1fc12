"""Times every kernel beside PyTorch's op on the same values, against ceilings measured in the same run.

    python -m benchmarks.gpu.kernels.bench --json FILE [--seconds 60] [--dry-run]

The most important shapes come first; what there is no time for is listed. Inputs rotate, so that none is in the
second-level cache when its turn comes, as far as memory allows (``cold``). A result that is far from PyTorch's is an
error and not timed.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from benchmarks.gpu.arguments import parse
from benchmarks.gpu.budget import Deadline
from benchmarks.gpu.encoder.workloads import ragged_lengths
from benchmarks.gpu.environment import describe, nvidia_smi
from benchmarks.gpu.kernels.agreement import relative_error
from benchmarks.gpu.kernels.cases import Calls, KernelCase, make_cases
from benchmarks.gpu.kernels.ceilings import Ceilings, measure_ceilings
from benchmarks.gpu.kernels.table import Row, print_rows
from benchmarks.gpu.timers import CACHES, Timer, interleave, is_alive, make_timer, turns
from bertfast.environment.record import write_json
from bertfast.roofline.work import Shape, Work

MODELS = {"base": (768, 12, 3072), "large": (1024, 16, 4096)}
_SIZES = ((32, 128), (8, 512), (1, 128), (128, 128))
_DTYPES = (torch.bfloat16, torch.float16, torch.float32)
# A wrong kernel is wrong by more than this; tests say how right one is.
_FAR = 0.05
_MAX_ROTATION = 256


@dataclass
class Found:
    """What was measured, what went wrong, and what there was no time for."""

    rows: list[Row] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {"results": [asdict(row) for row in self.rows], "errors": self.errors, "left_out": self.left_out}


def all_cases(dry: bool) -> Iterator[KernelCase]:
    """The most important first: bfloat16 before the others, base before large."""
    if dry:
        shape = Shape(batch=3, length=8, element_bytes=4, hidden=24, heads=2, inner=40)
        yield from make_cases("tiny", shape, (8,) * 3, torch.float32)
        yield from make_cases("tiny", shape, (8, 3, 5), torch.float32)
        return
    for dtype, (name, sizes), (batch, length) in itertools.product(_DTYPES, MODELS.items(), _SIZES):
        yield from make_cases(name, Shape(batch, length, dtype.itemsize, *sizes), (length,) * batch, dtype)
    for dtype, (name, sizes) in itertools.product(_DTYPES, MODELS.items()):
        yield from make_cases(name, Shape(32, 384, dtype.itemsize, *sizes), ragged_lengths(32, 384), dtype)


def measure(case: KernelCase, timer: Timer, ceilings: Ceilings, rounds: int) -> Row:
    """Raises ValueError if the results differ by more than rounding can explain."""
    first = case.make(timer.device)
    error = None if first.theirs is None else relative_error(case, first.ours(), first.theirs())
    if error is not None and not error <= _FAR:
        raise ValueError(f"{_label(case)}: relative error {error:.1e} against PyTorch: not timed")
    copies = rotation(first, timer)
    inputs = [first, *(case.make(timer.device) for _ in range(copies - 1))]
    candidates = {"ours": timer.prepare([calls.ours for calls in inputs])}
    theirs = [calls.theirs for calls in inputs if calls.theirs is not None]
    if theirs:
        candidates["theirs"] = timer.prepare(theirs)
    spreads = interleave(candidates, rounds)
    seconds, work = spreads["ours"].median_us / 1e6, case.work
    limit, best = bound(work, ceilings, _dtype_name(case))
    moved = work.read_bytes + work.written_bytes
    return Row(
        case.op,
        case.model,
        _dtype_name(case),
        case.shape.batch,
        case.shape.length,
        sum(case.lengths),
        case.is_ragged,
        spreads["ours"],
        spreads.get("theirs"),
        error,
        moved / seconds / 1e9,
        (work.flops + work.tensor_flops) / seconds / 1e12,
        limit,
        best / seconds,
        copies * _fewest_reads(first) >= CACHES * timer.cache_bytes,
    )


def rotation(calls: Calls, timer: Timer) -> int:
    """How many inputs take turns: see `turns`."""
    return turns(_fewest_reads(calls), calls.holds, timer, _MAX_ROTATION)


def _fewest_reads(calls: Calls) -> int:
    return calls.reads if calls.theirs is None else min(calls.reads, calls.their_reads)


def bound(work: Work, ceilings: Ceilings, dtype: str) -> tuple[str, float]:
    """Which ceiling binds, and the seconds that the work takes there."""
    seconds = {
        "copy": (work.read_bytes + work.written_bytes) / ceilings.copy_bytes_per_s,
        "float32": work.flops / ceilings.gemm_flops["float32"],
        "gemm": work.tensor_flops / ceilings.gemm_flops.get(dtype, ceilings.gemm_flops["float32"]),
    }
    limit = max(seconds, key=lambda name: seconds[name])
    return limit, seconds[limit]


def _dtype_name(case: KernelCase) -> str:
    return str(case.dtype).removeprefix("torch.")


def _label(case: KernelCase) -> str:
    ragged = " ragged" if case.is_ragged else ""
    return f"{case.op} {case.model} B{case.shape.batch} S{case.shape.length}{ragged} {_dtype_name(case)}"


def main() -> int:
    """Measure, print, write JSON after every row. 1 if a result is wrong or a kernel fails."""
    arguments = parse(__doc__, seconds=60.0)
    deadline, timer = Deadline(arguments.seconds), make_timer(arguments.dry_run)
    torch.manual_seed(0)
    sizes = {"copy_bytes": 1 << 16, "gemm_size": 32} if arguments.dry_run else {}
    ceilings = measure_ceilings(timer, **sizes)
    print(describe_ceilings(ceilings), flush=True)
    facts = {"environment": describe(), "dry_run": arguments.dry_run, "ceilings": asdict(ceilings)}
    found = Found()

    def save(**more: Any) -> None:
        write_json(arguments.json, {**facts, **more, **found.as_json()})

    try:
        measure_all(all_cases(arguments.dry_run), timer, ceilings, arguments.rounds, deadline, found, save)
    except KeyboardInterrupt:
        found.left_out.append("all after the time was up")
    save(nvidia_smi_last=nvidia_smi())
    print_rows(found.rows)
    if found.left_out:
        print(f"left out: {len(found.left_out)} (all in the JSON file), the first {found.left_out[0]}")
    return 1 if found.errors or not found.rows else 0


def measure_all(
    cases: Iterable[KernelCase],
    timer: Timer,
    ceilings: Ceilings,
    rounds: int,
    deadline: Deadline,
    found: Found,
    save: Callable[[], None],
) -> None:
    """Fills ``found``, and saves it after every row."""
    for case in cases:
        if deadline.passed():
            found.left_out.append(_label(case))
            continue
        try:
            found.rows.append(measure(case, timer, ceilings, rounds))
        except torch.OutOfMemoryError:
            found.left_out.append(f"{_label(case)}: more memory than this GPU has")
        except Exception as error:
            found.errors.append(f"{_label(case)}: {type(error).__name__}: {error}")
            print(f"FAILED {found.errors[-1]}", flush=True)
            if not is_alive(timer):
                found.left_out.append("all after an error that ended CUDA's context")
                return
        timer.tidy()
        save()


def describe_ceilings(ceilings: Ceilings) -> str:
    """One line."""
    rates = ", ".join(f"{name} {rate / 1e12:.1f} TFLOP/s" for name, rate in ceilings.gemm_flops.items())
    return f"copy {ceilings.copy_bytes_per_s / 1e9:.0f} GB/s; matrix products: {rates}"


if __name__ == "__main__":
    sys.exit(main())
