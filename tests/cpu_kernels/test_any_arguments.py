"""The functions over the CPU kernels, given anything: see `fenced_arguments`, which a crash would end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from precisions import REDUCED

from bertfast.cpu_dense import serves


@pytest.mark.skipif(not all(map(serves, REDUCED)), reason="needs both precisions")
def test_any_arguments_give_a_result_or_a_refusal():
    script = Path(__file__).with_name("fenced_arguments.py")
    path = os.pathsep.join([*map(str, script.parents[1:3]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-W", "ignore", str(script)]
    found = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert found.returncode == 0, f"{found.returncode}: {found.stderr[-4000:]}"
