"""One call of a launcher, run twice: by the emulation, and from nvcc's PTX by the interpreter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kernels.device.compiler import DeviceCode
from kernels.device.tools import demangle
from kernels.launches import Launchers
from kernels.params import make_params
from kernels.ptx import GlobalMemory, Module, run_launch
from kernels.ptx.code import Kernel
from kernels.ptx.kinds import Array
from kernels.ptx.memory import POISON


@dataclass
class DeviceRuns:
    """The launchers, and the device code that they launch."""

    launchers: Launchers
    code: Sequence[DeviceCode]
    # By architecture and name: where the kernel is, and its mangled name.
    _instances: dict[str, dict[str, tuple[Module, str]]] = field(default_factory=dict)

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
            run_launch(self._kernel(architecture, name), launch.launch, memory)
        return emulated

    def _kernel(self, architecture: str, name: str) -> Kernel:
        """An instance by its name in the source, from whichever file has it."""
        if architecture not in self._instances:
            modules = [Module(code.ptx.read_text()) for code in self.code if code.architecture == architecture]
            pairs = [(module, mangled) for module in modules for mangled in module.names]
            names = demangle([mangled for _, mangled in pairs])
            self._instances[architecture] = dict(zip(names, pairs, strict=True))
        module, mangled = self._instances[architecture][name]
        return module[mangled]


def _poison(arrays: Mapping[str, Array]) -> None:
    for array in arrays.values():
        array.view("u1")[...] = POISON
