"""The roofline: what GPUs could compute, by operations for each byte, and where the kernels are on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bertfast.plotting import figure_file
from bertfast.roofline.bounds import bound
from bertfast.roofline.machines import Gpu
from bertfast.roofline.work import Case

_INTENSITIES = (0.1, 1000.0)


def draw(cases: Sequence[Case], gpus: Sequence[Gpu], path: Path) -> list[str]:
    """Write the figure, in the format of the path's suffix. Returns the kernels that compute nothing and are left out.

    Raises as `figure_file` does.
    """
    drawn = [case for case in cases if case.work.all_flops]
    with figure_file(path, bbox_inches="tight", dpi=150) as pyplot:
        width = 3.0 * len(gpus) + 2.4
        figure, grid = pyplot.subplots(1, len(gpus), figsize=(width, 3.2), squeeze=False, sharey=True)
        for axes, gpu in zip(grid[0], gpus, strict=True):
            _panel(axes, drawn, gpu)
        grid[0][0].set_ylabel("TFLOP/s, computed from data sheets")
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        figure.tight_layout()
    return [case.name for case in cases if case not in drawn]


def _panel(axes: Any, cases: Sequence[Case], gpu: Gpu) -> None:
    for peak, style in ((gpu.tensor_flops, "-"), (gpu.float_flops, "--")):
        ridge = peak / gpu.bytes_per_s
        xs = (_INTENSITIES[0], ridge, max(ridge, _INTENSITIES[1]))
        axes.plot(xs, [min(peak, x * gpu.bytes_per_s) / 1e12 for x in xs], style, color="#7f7f7f", linewidth=1)
    for index, case in enumerate(cases):
        flops = case.work.all_flops
        best = flops / (bound(case.work, gpu).time_us * 1e-6)
        x, y = flops / case.work.num_bytes, best / 1e12
        axes.plot([x], [y], "osD^vP*X"[index % 8], label=f"{case.name}, {case.shape}", markersize=5)
    axes.set(xscale="log", yscale="log", xlabel="FLOP for each byte", title=gpu.name, xlim=_INTENSITIES)
