"""What an instance of a kernel needs of a multiprocessor, as ``ptxas -v`` reports it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

from kernels.device.compiler import ROOT, DeviceCode
from kernels.device.tools import demangle

# The build's own code stands beside the package, not in it.
sys.path.insert(0, str(ROOT))

from native_build.cuda.resources import parse_report


@dataclass(frozen=True)
class Resources:
    """Of one instance on one architecture. Dynamic shared memory is the launcher's choice, and not in here."""

    registers: int  # a thread
    static_smem_bytes: int  # a block
    stack_bytes: int  # a thread, in local memory
    spill_bytes: int  # stored and loaded, a thread


# By the name of the instance, then by architecture.
ResourceTable = dict[str, dict[str, Resources]]


def read_resources(codes: Iterable[DeviceCode]) -> ResourceTable:
    """The resources of all instances in the given device code."""
    table: ResourceTable = {}
    for code in codes:
        found = parse_report(code.report)
        for name, kernel in zip(demangle([kernel.symbol for kernel in found]), found, strict=True):
            if code.architecture in table.setdefault(name, {}):
                raise ValueError(f"{name}: two instances of one name for sm_{code.architecture}")
            table[name][code.architecture] = Resources(
                kernel.registers, kernel.static_smem_bytes, kernel.stack_bytes, kernel.spill_bytes
            )
    return dict(sorted(table.items()))
