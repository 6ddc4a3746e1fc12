"""Fixtures of the kernels' tests. What they need is looked for first; where it is missing they skip."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from kernels.device.compiler import DeviceCode, compile_device_code
from kernels.device.instances import Instance
from kernels.device.resources import ResourceTable, read_resources
from kernels.device.sass import disassemble
from kernels.device.tools import MissingTool
from kernels.device_runs import DeviceRuns
from kernels.emulated_ops import KERNEL_OPS, EmulatedCalls, load
from kernels.launches import build_launchers


@pytest.fixture(scope="session")
def device_code() -> list[DeviceCode]:
    """All kernels, compiled for all architectures."""
    try:
        return compile_device_code()
    except MissingTool as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def emulated_library() -> Any:
    """``torch.ops.bertfast_emulated``."""
    try:
        return load()
    except MissingTool as missing:
        pytest.skip(str(missing))


@pytest.fixture
def emulated(emulated_library: Any) -> Iterator[Any]:
    """The same; the schedule and the compute capability that a test sets end with it."""
    yield emulated_library
    emulated_library.set_schedule_seed(0)
    emulated_library.set_compute_capability(80)


@pytest.fixture(scope="session")
def resources(device_code: list[DeviceCode]) -> ResourceTable:
    """What ptxas says of each instance."""
    try:
        return read_resources(device_code)
    except MissingTool as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def instances(device_code: list[DeviceCode]) -> list[Instance]:
    """The machine code of each instance."""
    try:
        with ThreadPoolExecutor(2) as pool:
            disassembled = list(pool.map(disassemble, device_code))
    except MissingTool as missing:
        pytest.skip(str(missing))
    return [
        Instance(name, code.architecture, instructions)
        for code, functions in zip(device_code, disassembled, strict=True)
        for name, instructions in functions.items()
    ]


@pytest.fixture(scope="session")
def runs(device_code: list[DeviceCode]) -> DeviceRuns:
    """Launchers whose launches are emulated and interpreted."""
    try:
        launchers = build_launchers()
    except MissingTool as missing:
        pytest.skip(str(missing))
    return DeviceRuns(launchers, device_code)


@pytest.fixture
def calls(emulated: Any) -> Iterator[EmulatedCalls]:
    """`torch.ops.bertfast` computes by the emulated kernels until the test ends."""
    calls = EmulatedCalls(emulated)
    library = torch.library.Library("bertfast", "IMPL")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*other operators may also be overridden")
        for name in KERNEL_OPS:
            library.impl(name, calls.op(name), "CPU", allow_override=True)
    yield calls
    library._destroy()
