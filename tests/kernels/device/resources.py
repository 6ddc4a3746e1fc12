"""What an instance of a kernel needs of a multiprocessor, as ``ptxas -v`` reports it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from kernels.device.compiler import DeviceCode
from kernels.device.tools import demangle


@dataclass(frozen=True)
class Resources:
    """Of one instance on one architecture. Dynamic shared memory is the launcher's choice, and not in here."""

    registers: int  # a thread
    static_smem_bytes: int  # a block
    stack_bytes: int  # a thread, in local memory
    spill_bytes: int  # stored and loaded, a thread


_ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)


def parse_report(report: str) -> dict[str, Resources]:
    """Resources of each instance, by its mangled name. Raises ValueError where the report holds one unread."""
    found = {}
    for entry in _ENTRY.finditer(report):
        smem = re.search(r"(\d+) bytes smem", entry["rest"])
        found[entry["name"]] = Resources(
            registers=int(entry["registers"]),
            static_smem_bytes=int(smem[1]) if smem else 0,
            stack_bytes=int(entry["stack"]),
            spill_bytes=int(entry["stores"]) + int(entry["loads"]),
        )
    if len(found) != report.count("Compiling entry function"):
        raise ValueError(f"ptxas reports in a form that is not understood:\n{report}")
    return found


# By the name of the instance, then by architecture.
ResourceTable = dict[str, dict[str, Resources]]


def read_resources(codes: Iterable[DeviceCode]) -> ResourceTable:
    """The resources of all instances in the given device code."""
    table: ResourceTable = {}
    for code in codes:
        resources = parse_report(code.report)
        for name, needs in zip(demangle(list(resources)), resources.values(), strict=True):
            if code.architecture in table.setdefault(name, {}):
                raise ValueError(f"{name}: two instances of one name for sm_{code.architecture}")
            table[name][code.architecture] = needs
    return dict(sorted(table.items()))
