"""What ptxas reports of each kernel, and the C++ table of it that the extension carries."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class KernelResources:
    """Of one instance of a kernel on one architecture. Dynamic shared memory is the launcher's choice, not in here."""

    symbol: str
    architecture: str  # "sm_90"
    registers: int  # a thread
    static_smem_bytes: int  # a block
    stack_bytes: int  # a thread, in local memory
    spill_bytes: int  # stored and loaded, a thread


_ENTRY = re.compile(
    r"Compiling entry function '(?P<symbol>\w+)' for '(?P<architecture>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)


def parse_report(report: str) -> list[KernelResources]:
    """All kernels in what ``nvcc -Xptxas=-v`` printed. Raises ValueError where it holds one unread."""
    found = []
    for entry in _ENTRY.finditer(report):
        smem = re.search(r"(\d+) bytes smem", entry["rest"])
        found.append(
            KernelResources(
                symbol=entry["symbol"],
                architecture=entry["architecture"],
                registers=int(entry["registers"]),
                static_smem_bytes=int(smem[1]) if smem else 0,
                stack_bytes=int(entry["stack"]),
                spill_bytes=int(entry["stores"]) + int(entry["loads"]),
            )
        )
    if len(found) != report.count("Compiling entry function"):
        raise ValueError(f"ptxas reports in a form that is not understood:\n{report}")
    return found


def kernel_table_source(table: Iterable[KernelResources]) -> str:
    """The definition of what bindings/kernel_table.h declares.

    The function that stands for a kernel on the host has the kernel's own symbol: one can be had from the other.
    """
    rows = sorted(table, key=lambda row: (row.symbol, int(re.sub(r"\D", "", row.architecture))))
    keys = [(row.symbol, row.architecture) for row in rows]
    doubled = {key for key in keys if keys.count(key) > 1}
    if doubled:
        raise ValueError(f"two source files have a kernel of one name: {sorted(doubled)}")
    symbols = sorted({row.symbol for row in rows})
    return "\n".join(
        [
            '#include "bindings/kernel_table.h"',
            "",
            'extern "C" {',
            *(f"void {symbol}();" for symbol in symbols),
            "}",
            "",
            "namespace bertfast::bindings {",
            "",
            "const KernelResources kKernelTable[] = {",
            *(
                f'    {{"{row.symbol}", reinterpret_cast<const void*>(&{row.symbol}), "{row.architecture}", '
                f"{row.registers}, {row.static_smem_bytes}, {row.stack_bytes}, {row.spill_bytes}}},"
                for row in rows
            ),
            "};",
            f"const int kKernelTableSize = {len(rows)};",
            "",
            "}  // namespace bertfast::bindings",
            "",
        ]
    )
