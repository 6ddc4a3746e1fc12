"""Stages ``bench-kernels`` and ``bench-encoder``: each in a process of its own, which writes its JSON row by row."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.gpu.outcome import Outcome, Run, failed, passed
from benchmarks.gpu.processes import python, run

# Of the stage's time: what is left is for starting, and for ending the row that is being measured.
_MEASURING_SHARE = 0.85


def kernels(stage: Run) -> Outcome:
    """``kernels.json``."""
    return _measure(stage, "kernels.bench", "kernels")


def encoder(stage: Run) -> Outcome:
    """``encoder.json``."""
    return _measure(stage, "encoder.bench", "encoder")


def _measure(stage: Run, module: str, name: str) -> Outcome:
    file = stage.out / f"{name}.json"
    # An old file would be taken for this run's.
    file.unlink(missing_ok=True)
    seconds = f"{_MEASURING_SHARE * stage.limit_s:.0f}"
    command = python("-m", f"benchmarks.gpu.{module}", "--json", file, "--seconds", seconds)
    done = run([*command, *(["--dry-run"] if stage.dry else [])], stage.limit_s, stage.logs / f"{name}.log")
    if not file.exists():
        return failed(f"nothing measured; {done.why}")
    return _judge(json.loads(file.read_text()), done.code, done.why, str(file))


def _judge(written: dict[str, Any], code: int | None, why: str, file: str) -> Outcome:
    """code: None if it was ended because its time was up, and then what was measured until then counts."""
    rows, errors, left_out = (len(written[key]) for key in ("results", "errors", "left_out"))
    summary = f"{rows} rows, {left_out} left out" + ("; its time was up" if code is None else "")
    facts = {"rows": rows, "left_out": left_out, "errors": written["errors"], "file": file}
    if errors or not rows or code not in (0, None):
        first = f": {written['errors'][0][:200]}" if errors else f"; {why}"
        return failed(f"{summary}, {errors} errors{first}", **facts)
    return passed(summary, **facts)
