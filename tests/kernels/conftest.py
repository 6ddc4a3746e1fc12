"""Fixtures of the tests that read device code. What they need is looked for first; where it is missing they skip."""

from __future__ import annotations

import pytest

from kernels.device.compiler import DeviceCode, compile_device_code
from kernels.device.tools import MissingTool


@pytest.fixture(scope="session")
def device_code() -> list[DeviceCode]:
    """All kernels, compiled for all architectures."""
    try:
        return compile_device_code()
    except MissingTool as missing:
        pytest.skip(str(missing))
