"""The table of encoders."""

from __future__ import annotations

from benchmarks.gpu.encoder.candidates import CANDIDATES, OURS
from benchmarks.gpu.encoder.rows import Row
from bertfast.tables import table

_NAMES = [candidate.name for candidate in CANDIDATES]


def print_rows(rows: list[Row], header: bool = True) -> None:
    """Latencies in ms (median), sequences/s of bertfast, and how many times the best other's latency is ours."""
    names = ("workload", *(f"{name} ms" for name in _NAMES), "ours seq/s", "TFLOP/s", "ratio", "error", "goal")
    text = table(names, [_cells(row) for row in rows])
    print(text if header else text.splitlines()[-1], flush=True)


def _cells(row: Row) -> list[str]:
    latencies = [f"{row.results[name].latency.median_us / 1e3:.3f}" if name in row.results else "-" for name in _NAMES]
    ours = row.results.get(OURS)
    goal = {None: "", True: "met", False: "missed"}[row.met] if row.goal is None or row.met is not None else "?"
    return [
        row.workload,
        *latencies,
        "-" if ours is None else f"{ours.sequences_per_s:.0f}",
        "-" if ours is None else f"{ours.tflops:.1f}",
        "-" if row.ratio is None else f"{row.ratio:.2f}x",
        "-" if ours is None else f"{ours.error:.1e}",
        goal,
    ]
