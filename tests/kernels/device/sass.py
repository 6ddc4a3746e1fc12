"""The machine code of a cubin: how often each instruction occurs in each instance of a kernel."""

from __future__ import annotations

import re
from collections import Counter

from kernels.device.compiler import DeviceCode
from kernels.device.tools import demangle, nvdisasm, run

_FUNCTION = re.compile(r"\.text\.(\w+):")
# "/*02e0*/ @!P2 LDG.E.U16 R166, ...": the address, perhaps a predicate, the instruction with its modifiers.
_INSTRUCTION = re.compile(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)")


class Instructions(Counter[str]):
    """Instructions of one instance, with their modifiers: ``{"LDG.E.128": 3, ...}``."""

    def number_of(self, name: str, *modifiers: str) -> int:
        """How many have this name and all of these modifiers, whatever else they have."""
        return sum(
            count
            for instruction, count in self.items()
            if instruction.split(".")[0] == name and set(modifiers) <= set(instruction.split(".")[1:])
        )


def parse_disassembly(text: str) -> dict[str, Instructions]:
    """The instructions of each function, by its mangled name."""
    functions: dict[str, Instructions] = {}
    current: Instructions | None = None
    for line in text.splitlines():
        if function := _FUNCTION.match(line):
            current = functions.setdefault(function[1], Instructions())
        elif (instruction := _INSTRUCTION.match(line)) and current is not None:
            current[instruction[1]] += 1
    return functions


def disassemble(code: DeviceCode) -> dict[str, Instructions]:
    """The instructions of each instance in a cubin, by the instance's name."""
    # Without the analysis of the data flow, which takes a third of the time and changes no instruction.
    functions = parse_disassembly(run(nvdisasm(), "-c", "-ndf", code.cubin))
    return dict(zip(demangle(list(functions)), functions.values(), strict=True))
