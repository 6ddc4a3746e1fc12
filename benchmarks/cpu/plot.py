"""The figure of the comparison: CPU times relative to bertfast, a panel for each precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bertfast.bench.candidates import OURS, PEERS
from bertfast.bench.styles import STYLES, legend_of
from bertfast.plotting import figure_file


def draw(stored: dict[str, Any], path: Path) -> None:
    """``stored`` as compare_cpu.py writes it."""
    results = stored["results"]
    # Older records have no number of threads by row: it was one for all.
    kinds = [(result["precision"], result.get("threads")) for result in results]
    titles = list(dict.fromkeys(kinds))
    one = len({threads for _, threads in titles}) == 1
    with figure_file(path) as pyplot:
        figure, panels = pyplot.subplots(len(titles), 1, figsize=(8, 2.3 * len(titles)), squeeze=False)
        for panel, title in zip(panels[:, 0], titles, strict=True):
            _panel(panel, [result for result, kind in zip(results, kinds, strict=True) if kind == title])
            panel.set_title(title[0] if one else f"{title[0]}, threads: {title[1]}", loc="left", fontweight="bold")
        figure.supylabel("CPU time by bertfast's: bars above the line are slower (log scale)")
        handles = legend_of(panels[:, 0])
        names = [STYLES[name][1] for name in PEERS if STYLES[name][1] in handles]
        figure.legend([handles[name] for name in names], names, loc="upper center", ncols=4, frameon=False)
        figure.tight_layout(rect=(0, 0, 1, 1 - 0.45 / (2.3 * len(titles))))


def _panel(panel: Any, results: list[dict[str, Any]]) -> None:
    rows = [result for result in results if OURS in result["timings"]]
    names = [name for name in PEERS if any(name in row["timings"] for row in rows)]
    width = 0.8 / max(len(names), 1)
    for position, name in enumerate(names):
        bars = [(i, relative_time(row, name)) for i, row in enumerate(rows) if name in row["timings"]]
        colour, label = STYLES[name]
        places = [i + (position - (len(names) - 1) / 2) * width for i, _ in bars]
        drawn = panel.bar(places, [time - 1 for _, time in bars], width, bottom=1, color=colour, label=label)
        panel.bar_label(drawn, [f"{time:.2g}" for _, time in bars], fontsize=5, padding=1)
    panel.set_yscale("log")
    panel.yaxis.set_major_formatter("{x:g}")
    panel.minorticks_off()
    panel.margins(y=0.15)
    panel.axhline(1, color="#d62728", linewidth=1)
    panel.set_xticks(range(len(rows)), [f"{row['row']}\n{row['real_tokens']}/{row['padded_slots']}" for row in rows])
    panel.spines[["top", "right"]].set_visible(False)


def relative_time(row: dict[str, Any], name: str) -> float:
    """CPU time of a candidate by bertfast's."""
    return float(row["timings"][name]["cpu_ms"] / row["timings"][OURS]["cpu_ms"])
