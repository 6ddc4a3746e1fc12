"""Tables of text, as commands and benchmarks print them."""

from __future__ import annotations

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; numbers to the right, names to the left."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]

    def aligned(line: list[str]) -> str:
        first, *others = line
        return "  ".join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])])

    return "\n".join(map(aligned, lines))


def counted(count: int, noun: str) -> str:
    """``"1 call"``, ``"3 calls"``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
