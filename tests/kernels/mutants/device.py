"""The readers of device code: nvcc compiles one file with the mistake in it, for one architecture."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable

from kernels.device.compiler import KERNEL_DIRECTORY, DeviceCode
from kernels.device.resources import read_resources
from kernels.device.table import differences, load_table
from kernels.device.tools import nvcc, run
from kernels.device_runs import DeviceRuns
from kernels.elements import ELEMENTS
from kernels.host_build import ROOT
from kernels.launches import Launchers, build_launchers
from kernels.mutants.mutant import Mutant
from kernels.test_ptx_bias_gelu import test_bias_gelu as check_bias_gelu
from kernels.test_ptx_layer_norms import test_embedding_layer_norm as check_embedding
from kernels.test_ptx_layer_norms import test_residual_layer_norm as check_residual
from kernels.test_ptx_padding import test_unpad_input as check_unpad_input

_ARCHITECTURE = "80"
_SCRATCH = ROOT / "build" / "mutants" / "device"


def _check_bias_gelu(runs: DeviceRuns) -> None:
    for element in ELEMENTS:
        check_bias_gelu(runs, _ARCHITECTURE, element, 0, 3, 1024, 0)


def _check_residual(runs: DeviceRuns) -> None:
    for element in ELEMENTS:
        check_residual(runs, _ARCHITECTURE, element, (), 3, 768, 0)


def _check_embedding(runs: DeviceRuns) -> None:
    for element in ELEMENTS:
        check_embedding(runs, _ARCHITECTURE, element, 1, False, 768, 0)


def _check_unpad_input(runs: DeviceRuns) -> None:
    check_unpad_input(runs, _ARCHITECTURE, "int64", 1, 4, 40)


# Each a small part of what tests/kernels/test_ptx_*.py check of the op.
_CHECKS: dict[str, Callable[[DeviceRuns], None]] = {
    "bias_gelu": _check_bias_gelu,
    "embedding_layer_norm": _check_embedding,
    "residual_layer_norm": _check_residual,
    "unpad_input": _check_unpad_input,
}


@functools.cache
def _launchers() -> Launchers:
    return build_launchers()


def _compile(mutant: Mutant) -> DeviceCode:
    text = "".join(path.read_text() for path in sorted(KERNEL_DIRECTORY.iterdir())) + mutant.source()
    directory = _SCRATCH / mutant.slug / hashlib.sha256(text.encode()).hexdigest()[:16]
    source = mutant.write(directory)
    stem = directory / mutant.op
    code = DeviceCode(mutant.op, _ARCHITECTURE, stem.with_suffix(".ptx"), stem.with_suffix(".cubin"), "")
    report = directory / "ptxas.txt"
    if not report.exists():
        options = ("-std=c++17", "-O3", "-I", directory, "-I", KERNEL_DIRECTORY.parent)
        run(nvcc(), *options, "-ptx", f"-arch=compute_{_ARCHITECTURE}", "-o", code.ptx, source)
        report.write_text(run(nvcc(), "-cubin", f"-arch=sm_{_ARCHITECTURE}", "-Xptxas=-v", "-o", code.cubin, code.ptx))
    return DeviceCode(code.source, code.architecture, code.ptx, code.cubin, report.read_text())


def notice_resources(mutant: Mutant) -> str | None:
    """What the committed table of resources has against it."""
    found = read_resources([_compile(mutant)])
    committed = {name: needs for name, needs in load_table().items() if name in found}
    return "\n".join(differences(found, committed)) or None


def notice_interpreted(mutant: Mutant) -> str | None:
    """What the interpreter of PTX, or the comparison of its results, has against it."""
    if mutant.op not in _CHECKS:
        return None
    runs = DeviceRuns(_launchers(), [_compile(mutant)])
    try:
        _CHECKS[mutant.op](runs)
    except Exception as error:  # a check that fails, or an access that the interpreter refuses
        return f"{type(error).__name__}: {error}"
    return None
