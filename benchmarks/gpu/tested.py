"""Stages ``parity`` and ``kernels-tests``: the tests in tests/gpu, which ``python -m pytest tests/gpu`` runs, too."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from benchmarks.gpu.outcome import Outcome, Run, failed, passed
from benchmarks.gpu.paths import TESTS
from benchmarks.gpu.processes import python, run

_KERNELS = ("test_ops.py", "test_emulated_bits.py")
# Of the stage's time; the rest is for what comes before the soak.
_SOAK_SHARE = 0.25


def parity(stage: Run) -> Outcome:
    """Models: all files of tests/gpu but those of `kernels`."""
    files = [path for path in TESTS.glob("test_*.py") if path.name not in _KERNELS]
    # Last what is shortened most easily, should the time be up.
    files.sort(key=lambda path: (path.name == "test_soak.py", path.name))
    return _run_pytest(stage, "parity", files)


def kernels(stage: Run) -> Outcome:
    """Ops."""
    return _run_pytest(stage, "kernels-tests", [TESTS / name for name in _KERNELS])


def _run_pytest(stage: Run, name: str, files: list[Path]) -> Outcome:
    if importlib.util.find_spec("pytest") is None:
        return failed("pytest is not installed for this Python")
    settings = {"BERTFAST_GPU_TESTS": "cpu" if stage.dry else "cuda"}
    # 2 seconds in a dry run: a few shapes are enough to exercise the code.
    settings["BERTFAST_SOAK_SECONDS"] = "2" if stage.dry else f"{_SOAK_SHARE * stage.limit_s:.0f}"
    # No plugin of the machine's own changes what is run.
    command = python("-m", "pytest", "-q", "--durations=5", "-p", "no:cacheprovider", *files)
    done = run(command, stage.limit_s, stage.logs / f"{name}.log", show=True, **settings)
    counts = count(done.output)
    summary = ", ".join(f"{number} {what}" for what, number in counts.items()) or "no tests ran"
    if done.succeeded and counts.get("passed", 0) > 0:
        return passed(summary, **counts)
    return failed(f"{summary}; {done.why}; see {stage.logs / f'{name}.log'}", **counts)


def count(output: str) -> dict[str, int]:
    """The numbers in pytest's last line, by their words: passed, failed, skipped, error."""
    lines = [line for line in output.splitlines() if re.search(r"\bin \d+(\.\d+)?s", line)]
    found = re.findall(r"(\d+) (passed|failed|skipped|errors?|xfailed|xpassed)\b", lines[-1] if lines else "")
    return {what: int(number) for number, what in found}
