"""Figures of a recorded run: how near each op is to the measured ceilings, its speed beside PyTorch, the roofline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.kernels.implementations import PYTORCH
from bertfast.bench.styles import STYLES, legend_of
from bertfast.plotting import figure_file

_GREY = STYLES["transformers"][0]
# Those that say most; all are in the record. Of layers in a low precision, `native` is what `bertfast` fuses.
_LOOKS = {
    "bertfast": {"color": STYLES["bertfast"][0], "marker": "o"},
    "native": {"color": STYLES["bertfast-released"][0], "marker": "D"},
    PYTORCH: {"color": _GREY, "marker": "s"},
}
_DTYPES = ("float32", "bfloat16", "float16", "int8")


@dataclass(frozen=True)
class Point:
    """An implementation of an op at a shape. flop_per_byte: 0 if the op computes nothing.

    share: of the ceiling that it meets first. pytorch_by_this: PyTorch's time by its own, None where PyTorch has none.
    """

    op: str
    device: str
    dtype: str
    implementation: str
    gflop_per_s: float
    flop_per_byte: float
    share: float
    pytorch_by_this: float | None


def points(record: Mapping[str, Any]) -> list[Point]:
    """record: what ``make bench-kernels`` wrote. Without `unpad_input`: its ids have no model's dtype."""
    found = [_point(one) for one in record["benchmarks"] if one["params"]["implementation"] in _LOOKS]
    return [point for point in found if point.dtype in _DTYPES]


def _point(one: Mapping[str, Any]) -> Point:
    facts, parameters = one["extra_info"], one["params"]
    return Point(
        one["group"].partition("[")[0],
        "cuda" if parameters["shape"].startswith("cuda-") else "cpu",
        parameters["dtype"],
        parameters["implementation"],
        facts["gflop_per_s"],
        facts["gflop_per_s"] / facts["gb_per_s"],
        facts["share_of_ceiling"],
        facts.get("pytorch_by_this_cpu") or facts["pytorch_by_this"],
    )


def _titles(found: Iterable[Point]) -> list[str]:
    """Of panels: a CPU's before a GPU's, in the order of `_DTYPES`."""
    order = sorted({(point.device, _DTYPES.index(point.dtype)) for point in found})
    return [_title(device, _DTYPES[number]) for device, number in order]


def _title(device: str, dtype: str) -> str:
    return dtype if device == "cpu" else f"{device}, {dtype}"


def draw_speed(record: Mapping[str, Any], path: Path) -> None:
    """The share of the ceiling above, PyTorch's time by this one's below; a dot for each shape."""
    found = points(record)
    titles, ops = _titles(found), list(dict.fromkeys(point.op for point in found))
    with figure_file(path) as pyplot:
        size = (2.3 * len(titles) + 1.8, 0.6 * len(ops) + 1.6)
        figure, grid = pyplot.subplots(2, len(titles), figsize=size, squeeze=False, sharex="row", sharey=True)
        for (upper, lower), title in zip(grid.T, titles, strict=True):
            there = [point for point in found if _title(point.device, point.dtype) == title]
            upper.set_title(title, loc="left", fontweight="bold")
            _dots(upper, ops, there, lambda point: 100 * point.share)
            _dots(lower, ops, there, lambda point: None if point.implementation == PYTORCH else point.pytorch_by_this)
            for ax, same in ((upper, 100), (lower, 1)):
                ax.axvline(same, color=_GREY, lw=0.5)
            upper.set_xlim(left=0)
            lower.set_xscale("log", base=2)
            lower.xaxis.set_major_formatter("{x:g}")
            upper.set_xlabel("% of the ceiling")
            lower.set_xlabel("times as fast as PyTorch")
        grid[0, 0].set_yticks(range(len(ops)), ops)
        grid[0, 0].invert_yaxis()
        _finish(figure, grid.flat)


def _dots(ax: Any, ops: Sequence[str], found: Iterable[Point], value: Callable[[Point], float | None]) -> None:
    """A line for each op, and in it one for each implementation."""
    there = [(point, at) for point in found if (at := value(point)) is not None]
    for position, (name, look) in enumerate(_LOOKS.items()):
        own = [(ops.index(point.op) + 0.25 * (position - 1), at) for point, at in there if point.implementation == name]
        if own:
            y, x = zip(*own, strict=True)
            ax.plot(x, y, linestyle="none", markersize=3.5, alpha=0.7, markeredgewidth=0, label=name, **look)
    ax.hlines([i + 0.5 for i in range(len(ops) - 1)], 0, 1, transform=ax.get_yaxis_transform(), color="#dddddd", lw=0.5)


def draw_roofline(record: Mapping[str, Any], path: Path) -> list[str]:
    """Operations for each byte against operations each second, below the ceilings. Returns ops that compute nothing."""
    every = points(record)
    found = [point for point in every if point.gflop_per_s]
    titles, ops = _titles(found), list(dict.fromkeys(point.op for point in found))
    size = (2.6 * len(titles) + 0.8, 3.6)
    with figure_file(path) as pyplot:
        figure, grid = pyplot.subplots(1, len(titles), figsize=size, squeeze=False, sharex=True, sharey=True)
        for ax, title in zip(grid[0], titles, strict=True):
            there = [point for point in found if _title(point.device, point.dtype) == title]
            _roof(ax, there, record["ceilings"][there[0].device])
            for number, op in enumerate(ops):
                _marks(ax, f"C{number}", [point for point in there if point.op == op])
            ax.set_title(title, loc="left", fontweight="bold")
            ax.set(xscale="log", yscale="log", xlabel="FLOP for each byte")
        grid[0, 0].set_ylabel("GFLOP/s; filled: bertfast, hollow: PyTorch")
        _finish(figure, grid.flat)
    return list(dict.fromkeys(point.op for point in every if point.op not in ops))


def _roof(ax: Any, found: Sequence[Point], ceilings: Mapping[str, Any]) -> None:
    """The copy's rate as a slope, matrix products' as levels: the dtype's, and float32's for what is no product."""
    bytes_per_s, products = ceilings["copy_bytes_per_s"], ceilings["gemm_flops"]
    left, right = min(point.flop_per_byte for point in found) / 2, 2 * max(point.flop_per_byte for point in found)
    levels = {name: products[name] for name in dict.fromkeys((found[0].dtype, "float32")) if name in products}
    for name, style, place in zip(levels, ("-", "--"), ("bottom", "top"), strict=False):
        ridge = levels[name] / bytes_per_s
        xs = (left, max(left, ridge), max(right, 2 * ridge))
        ax.plot(xs, [min(levels[name], x * bytes_per_s) / 1e9 for x in xs], style, color=_GREY, lw=1, zorder=1)
        ax.text(xs[-1], levels[name] / 1e9, f"{name} {levels[name] / 1e9:.0f}", ha="right", va=place, fontsize=6)
    ax.annotate(f"copy {bytes_per_s / 1e9:.1f} GB/s", (0.03, 0.95), xycoords="axes fraction", fontsize=6)


def _marks(ax: Any, colour: str, found: Sequence[Point]) -> None:
    """Filled: bertfast. Hollow: PyTorch. Of one op."""
    for name, look in (("bertfast", {"label": found[0].op if found else ""}), (PYTORCH, {"markerfacecolor": "none"})):
        own = [point for point in found if point.implementation == name]
        x, y = [point.flop_per_byte for point in own], [point.gflop_per_s for point in own]
        if own:
            ax.plot(x, y, "o", color=colour, markersize=4, **look)


def _finish(figure: Any, axes: Iterable[Any]) -> None:
    """The legend, above."""
    axes = list(axes)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    handles = legend_of(axes)
    columns = min(len(handles), 5)
    figure.legend(handles.values(), handles.keys(), loc="upper center", ncols=columns, frameon=False)
    lines = -(-len(handles) // columns)
    figure.tight_layout(rect=(0, 0, 1, 1 - (0.1 + 0.17 * lines) / figure.get_figheight()))
