"""The command line, as a process and as a call."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bertfast.cli.main import main

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def process() -> Callable[..., Done]:
    """``process("env", "--json")``: ``python -m bertfast env --json``."""

    def run(*arguments: str | Path, **environment: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "bertfast", *map(str, arguments)],
            cwd=_ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The same in this process."""

    def run(*arguments: str | Path) -> Done:
        capsys.readouterr()  # what the test has printed until now
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return run


def assert_one_line(done: Done) -> None:
    """Bad input: exit code 2, one line that names the command, no traceback, nothing on stdout."""
    assert done.code == 2, done
    assert done.out == ""
    assert done.err.startswith("bertfast"), done.err
    assert len(done.err.splitlines()) == 1, done.err
