"""One call of a launcher, run twice: by the emulation, and from nvcc's PTX by the interpreter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kernels.device.compiler import DeviceCode
from kernels.device.tools import demangle
from kernels.launches import Launchers
from kernels.params import make_params
from kernels.ptx import GlobalMemory, parse_ptx, run_launch
from kernels.ptx.code import Kernel
from kernels.ptx.kinds import Array
from kernels.ptx.memory import POISON


@dataclass
class DeviceRuns:
    """The launchers, and the device code that they launch."""

    launchers: Launchers
    code: Mapping[tuple[str, str], DeviceCode]  # by source and architecture
    _kernels: dict[tuple[str, str], dict[str, Kernel]] = field(default_factory=dict)

    def run(
        self,
        op: str,
        architecture: str,
        inputs: Mapping[str, Array | None],
        outputs: Mapping[str, Array],
        in_and_out: Mapping[str, Array] | None = None,
        **scalars: Any,
    ) -> dict[str, Array]:
        """Call ``launch_<op>``. The outputs hold what the interpreter made; returned is what the emulation made.

        Inputs may only be read, outputs start as NaN; what is both starts twice as it is.
        """
        present = {name: array for name, array in inputs.items() if array is not None}
        both = in_and_out or {}
        start = {name: array.copy() for name, array in both.items()}
        arrays = {**present, **outputs, **both}
        params = make_params(op, **inputs, **outputs, **both, **scalars)
        _poison(outputs)
        launches = self.launchers.launch(op, params, arrays)
        emulated = {name: array.copy() for name, array in {**outputs, **both}.items()}

        _poison(outputs)
        for name, array in both.items():
            array[...] = start[name]
        memory = GlobalMemory()
        for name, array in arrays.items():
            view = array.view()
            view.flags.writeable = name not in present
            memory.add(name, view)
        for launch, name in zip(launches, demangle([launch.kernel for launch in launches]), strict=True):
            run_launch(self._kernels_of(op, architecture)[name], launch.launch, memory)
        return emulated

    def _kernels_of(self, source: str, architecture: str) -> dict[str, Kernel]:
        key = source, architecture
        if key not in self._kernels:
            kernels = parse_ptx(self.code[key].ptx.read_text())
            self._kernels[key] = dict(zip(demangle(list(kernels)), kernels.values(), strict=True))
        return self._kernels[key]


def _poison(arrays: Mapping[str, Array]) -> None:
    for array in arrays.values():
        array.view("u1")[...] = POISON
