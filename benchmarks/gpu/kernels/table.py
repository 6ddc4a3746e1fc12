"""A row of the kernels' benchmark, and the table of them."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.gpu.timers import Spread
from bertfast.tables import table


@dataclass(frozen=True)
class Row:
    """One kernel at one shape. ours, theirs: times; theirs is None where PyTorch has nothing like it.

    gb_per_s, tflops: of ours. share: of the measured ceiling that binds at this shape, and ``limit`` is which.
    """

    op: str
    model: str
    dtype: str
    batch: int
    length: int
    tokens: int
    ragged: bool
    ours: Spread
    theirs: Spread | None
    error: float | None
    gb_per_s: float
    tflops: float
    limit: str
    share: float
    cold: bool


def print_rows(rows: list[Row]) -> None:
    """A line for each."""
    lines = []
    for row in rows:
        shape = f"{row.model} B{row.batch} S{row.length}{' ragged' if row.ragged else ''}"
        theirs = "-" if row.theirs is None else f"{row.theirs.median_us:.2f}"
        ratio = "-" if row.theirs is None else f"{row.theirs.median_us / row.ours.median_us:.2f}x"
        speed = f"{row.tflops:.1f} TFLOP/s" if row.limit != "copy" else f"{row.gb_per_s:.0f} GB/s"
        cells = (f"{row.ours.median_us:.2f}", theirs, ratio, speed, f"{row.share:.0%} {row.limit}")
        lines.append((row.op, shape, row.dtype, *cells, "" if row.cold else "in cache"))
    print(table(("kernel", "shape", "dtype", "us", "PyTorch us", "ratio", "speed", "share of", ""), lines), flush=True)
