"""Figures of a stored comparison, as SVG: the same record gives the same bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from bertfast.bench.styles import STYLES, legend_of
from bertfast.plotting import figure_file

Row: TypeAlias = Mapping[str, Any]
# Where an error of zero is drawn: below that of any float32.
_NO_ERROR = 1e-8
_MARKERS = {"float32": "o", "bfloat16": "s", "float16": "^", "int8": "D"}


@dataclass(frozen=True)
class Panel:
    """One pair of axes: a title, and what draws the rows on it."""

    title: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Kind:
    """A figure. panels: of all rows; without any, ``needs`` says what they lack."""

    name: str
    panels: Callable[[Sequence[Row]], list[Panel]]
    draw: Callable[[Any, Panel], None]
    labels: tuple[str, str]
    needs: str


def draw_all(stored: Mapping[str, Any], folder: Path) -> tuple[list[Path], list[str]]:
    """Write all figures that this record has rows for: their paths, and why others are missing."""
    written, missing = [], []
    folder.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        panels = kind.panels([row for row in stored["results"] if row["timings"]])
        if not panels:
            missing.append(f"{kind.name}: {kind.needs}")
            continue
        path = folder / f"{kind.name}.svg"
        _write(kind, panels, path)
        written.append(path)
    return written, missing


def _write(kind: Kind, panels: list[Panel], path: Path) -> None:
    columns = min(len(panels), 3)
    lines = math.ceil(len(panels) / columns)
    with figure_file(path) as pyplot:
        figure, grid = pyplot.subplots(lines, columns, figsize=(3.2 * columns + 0.6, 2.6 * lines + 0.6), squeeze=False)
        axes = list(grid.flat)
        for ax, panel in zip(axes, panels, strict=False):
            kind.draw(ax, panel)
            ax.set_title(panel.title, loc="left", fontweight="bold")
            ax.spines[["top", "right"]].set_visible(False)
        for ax in axes[len(panels) :]:
            ax.remove()
        figure.supxlabel(kind.labels[0])
        figure.supylabel(kind.labels[1])
        handles = legend_of(axes[: len(panels)])
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3, frameon=False)
        figure.tight_layout(rect=(0, 0, 1, 1 - 0.2 * math.ceil(len(handles) / 3) / figure.get_figheight()))


def _groups(rows: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    found: dict[Any, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def _where(row: Row) -> str:
    return f"{row['precision']}, threads: {row['threads']}"


def _fill(row: Row) -> float:
    return float(row["real_tokens"] / row["padded_slots"])


def _names(rows: Iterable[Row]) -> list[str]:
    """Candidates of these rows, in the order of legends."""
    present = {name for row in rows for name in row["timings"]}
    return [name for name in STYLES if name in present]


def _latency_panels(rows: Sequence[Row]) -> list[Panel]:
    full = [row for row in rows if row["real_tokens"] == row["padded_slots"] and not row["is_texts"]]
    groups = _groups(full, lambda row: f"batch {row['batch_size']}, {_where(row)}")
    return [Panel(title, group) for title, group in groups.items() if len(group) > 1]


def _draw_latency(ax: Any, panel: Panel) -> None:
    """The median as a line, up to the 90th percentile shaded."""
    for name in _names(panel.rows):
        colour, label = STYLES[name]
        rows = sorted((row for row in panel.rows if name in row["timings"]), key=lambda row: row["longest"])
        x = [row["longest"] for row in rows]
        timings = [row["timings"][name] for row in rows]
        ax.plot(x, [t["wall_ms"] for t in timings], color=colour, label=label, marker="o", markersize=3)
        low, high = [t["wall_ms"] for t in timings], [t["wall_ms_p90"] for t in timings]
        ax.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    lengths = sorted({row["longest"] for row in panel.rows})
    ax.set_xscale("log", base=2)
    ax.set_xticks(lengths, [str(length) for length in lengths])
    _plain_log(ax)


def _fill_panels(rows: Sequence[Row]) -> list[Panel]:
    def key(row: Row) -> str:
        of = "texts" if row["is_texts"] else f"{row['batch_size']}x{row['longest']}"
        return f"{of}, {_where(row)}"

    groups = _groups(rows, key)
    return [Panel(title, group) for title, group in groups.items() if len({_fill(row) for row in group}) > 1]


def _draw_fill(ax: Any, panel: Panel) -> None:
    for name in _names(panel.rows):
        colour, label = STYLES[name]
        rows = sorted((row for row in panel.rows if name in row["timings"]), key=_fill)
        ax.plot(
            [100 * _fill(row) for row in rows],
            [row["tokens_per_s"][name] for row in rows],
            color=colour,
            label=label,
            marker="o",
            markersize=3,
        )
    ax.set_ylim(bottom=0)


def _error_panels(rows: Sequence[Row]) -> list[Panel]:
    groups = _groups(rows, lambda row: f"{row['row']}, threads: {row['threads']}")
    return [Panel(title, group) for title, group in groups.items()]


def _draw_error(ax: Any, panel: Panel) -> None:
    for row in panel.rows:
        marker = _MARKERS[row["precision"]]
        for name in _names([row]):
            colour, label = STYLES[name]
            error = max(row["accuracy"][name]["pooled_error"], _NO_ERROR)
            speed = row["tokens_per_s"][name]
            text = f"{label}, {row['precision']}"
            ax.plot([error], [speed], color=colour, marker=marker, linestyle="none", markersize=5, label=text)
    ax.set_xscale("log")
    _plain_log(ax)


def _plain_log(ax: Any) -> None:
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter("{x:g}")


KINDS = (
    Kind(
        "latency",
        _latency_panels,
        _draw_latency,
        ("length in tokens, full batches", "wall time of a batch in ms (log), p50 to p90"),
        "needs two lengths of the same batch size, all full: --length 32,128",
    ),
    Kind(
        "throughput",
        _fill_panels,
        _draw_fill,
        ("real tokens among a batch's positions, %", "real tokens per second"),
        "needs batches that are filled differently: --fill 1,0.5, or --texts with several --batch",
    ),
    Kind(
        "error",
        _error_panels,
        _draw_error,
        (f"relative error against float32 transformers (log; none is drawn at {_NO_ERROR:g})", "real tokens/s (log)"),
        "needs results",
    ),
)
