"""docs/compatibility.md: one column for each tested version of transformers, filled by a run on that version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import transformers

from compatibility.behaviours import Behaviour

PATH = Path(__file__).parents[2] / "docs" / "compatibility.md"
#: Version line -> the version whose run fills the column.
COLUMNS = {"5": "5.24.0", "4": "4.57.6"}
COLUMN = transformers.__version__.split(".", 1)[0]

_INTRODUCTION = """\
# Compatibility

What people do with BERT models, and which path bertfast takes. Generated: `make compatibility` runs every row on stock
transformers and on bertfast, compares what the second column names, and writes down what bertfast's own counters saw.
`make test` runs the rows again and fails where a cell is no longer true.

- **fast**: packed, without its padding.
- **fallback**: stock transformers runs, and gives its result; bertfast counts it and says why. The reason follows.
- **fast; fallback**: both happen in one row, as when a model is trained and then evaluated.
- **refused**: an error instead of a result. *as stock*: transformers raises too, and the same `except` catches both.
- **stock, traced**: a compiler takes transformers' own code; nothing is counted.
- **not in this version**: this transformers has no such thing.

"Within the bound" of bfloat16 or int8 is that of `tests/tolerances.py`, against stock in float32. A row that a machine
cannot run, for want of a package or of instructions, is skipped there, and keeps its cell.
"""


def render(behaviours: Sequence[Behaviour], cells: Mapping[tuple[str, str], Mapping[str, str]]) -> str:
    """The file. cells: (group, name) -> column -> what was recorded."""
    lines = [_INTRODUCTION]
    for group in dict.fromkeys(row.group for row in behaviours):
        lines += [f"## {group}", "", f"| | equal to stock | {' | '.join(COLUMNS.values())} |", "|---" * 4 + "|"]
        for row in (row for row in behaviours if row.group == group):
            found = cells.get((group, row.name), {})
            lines.append(f"| {row.name} | {row.equal} | {' | '.join(found.get(c, '?') for c in COLUMNS)} |")
        lines.append("")
    return "\n".join(lines)


def read() -> dict[tuple[str, str], dict[str, str]]:
    """The committed cells, as `render` takes them."""
    cells: dict[tuple[str, str], dict[str, str]] = {}
    group = ""
    for line in PATH.read_text().splitlines() if PATH.exists() else ():
        if line.startswith("## "):
            group = line.removeprefix("## ")
        elif line.startswith("| ") and not line.startswith("| |"):
            name, _, *found = (part.strip() for part in line.strip("|").split(" | "))
            cells[group, name] = dict(zip(COLUMNS, found, strict=True))
    return cells


def update(behaviours: Sequence[Behaviour], recorded: Mapping[tuple[str, str], str]) -> None:
    """Put what a run recorded into this version's column; the other one, and rows that did not run, keep theirs."""
    cells = read()
    for row, cell in recorded.items():
        cells.setdefault(row, {})[COLUMN] = cell
    PATH.write_text(render(behaviours, cells))
