"""The driver: what is there, the stages one after the other, and a table last."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.budget import Deadline, allot
from benchmarks.gpu.environment import slug
from benchmarks.gpu.outcome import Outcome, Run, Status, failed
from benchmarks.gpu.paths import BUILD, RESULTS
from benchmarks.gpu.processes import python, run
from benchmarks.gpu.stages import STAGES, Stage, choose
from bertfast.environment.record import write_json
from bertfast.tables import table

_BUDGET_SECONDS = 540.0
_DRY = "DRY RUN on a CPU: it exercises the code. No figure in it means anything."


@dataclass(frozen=True)
class Ended:
    """A stage and how it ended."""

    stage: Stage
    outcome: Outcome
    seconds: float


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description="Build, test and time bertfast on an NVIDIA GPU. Nothing is installed, nothing downloaded.",
        epilog="Stages: " + "; ".join(f"{stage.name}, {stage.about}" for stage in STAGES) + ". See docs/gpu.md.",
    )
    parser.add_argument("--stages", default="", help="comma-separated; default: all")
    parser.add_argument("--budget", type=float, default=_BUDGET_SECONDS, help="seconds for all stages together")
    parser.add_argument("--out", type=Path, help="folder for JSON; default: benchmarks/results/<the GPU's name>")
    parser.add_argument("--dry-run", action="store_true", help="exercise the code on a CPU, with tiny shapes")
    parsed = parser.parse_args(arguments)
    try:
        parsed.stages = choose(parsed.stages)
    except ValueError as error:
        parser.error(str(error))
    if parsed.budget <= 0:
        parser.error(f"--budget: expected seconds above 0, got {parsed.budget:g}")
    return parsed


def main(arguments: list[str] | None = None) -> int:
    """0 if every stage passed or was skipped with a reason, 1 if one failed, 2 without a usable GPU."""
    parsed = parse(arguments)
    deadline = Deadline(parsed.budget)
    environment = find_environment()
    missing = environment["missing_packages" if parsed.dry_run else "missing"]
    if missing is not None:
        print(_needs(parsed.dry_run, missing))
        return 2
    out = (parsed.out or (BUILD / "dry-run" if parsed.dry_run else RESULTS / slug(environment["gpu"]))).absolute()
    logs = BUILD / "logs"
    _print_environment(environment, parsed.dry_run)
    ended: list[Ended] = []
    for i, stage in enumerate(parsed.stages):
        limit_s = allot(deadline.left(), [later.share for later in parsed.stages[i:]])
        ended.append(run_stage(stage, Run(limit_s, out, logs, environment, parsed.dry_run)))
        # After each: what a reader has if the machine goes away.
        write_json(out / "summary.json", summary(environment, ended, parsed))
    print("\n" + final_table(ended))
    print(f"JSON: {out}; logs: {logs}" + (f"\n{_DRY}" if parsed.dry_run else ""))
    bad = [end.stage.name for end in ended if end.outcome.status is Status.FAILED]
    if bad:
        print(f"FAILED: {', '.join(bad)}")
    return 1 if bad else 0


def _needs(dry: bool, missing: str) -> str:
    needed = "torch, transformers and numpy" if dry else "an NVIDIA GPU and a CUDA build of torch, with transformers"
    lines = [f"make gpu needs {needed}; what is missing:", f"  {missing}"]
    lines.append("  make gpu PYTHON=.venv/bin/python    takes another Python, such as the one that `make venv` makes")
    if not dry:
        lines.append('  make gpu GPU_ARGS="--dry-run"       exercises its code on the CPU')
    return "\n".join(lines)


def find_environment() -> dict[str, Any]:
    """`environment.describe`, asked in a process of its own."""
    done = run(python("-m", "benchmarks.gpu.environment"), 120.0, BUILD / "logs" / "environment.log", show=False)
    lines = done.output.strip().splitlines()
    if not done.succeeded or not lines:
        # Only if this repository is broken, or the driver hangs.
        reason = f"the environment cannot be described: {done.why}: {done.output.strip()[-500:]}"
        return {"missing": reason, "missing_packages": reason, "nvcc": None}
    return dict(json.loads(lines[-1]))


def run_stage(stage: Stage, given: Run) -> Ended:
    """A defect of a stage's own code is its failure, and no other's."""
    print(f"\n==> {stage.name}: {stage.about} (at most {given.limit_s:.0f} s)", flush=True)
    start = time.monotonic()
    try:
        outcome = stage.run(given)
    except Exception as error:
        outcome = failed(f"{type(error).__name__}: {error}")
    seconds = time.monotonic() - start
    print(f"<== {stage.name}: {outcome.status.value} after {seconds:.0f} s: {outcome.summary}", flush=True)
    return Ended(stage, outcome, seconds)


def _print_environment(environment: dict[str, Any], dry: bool) -> None:
    if dry:
        print(_DRY)
    print(", ".join(f"{name} {value}" for name, value in environment.items() if value is not None), flush=True)


def summary(environment: dict[str, Any], ended: list[Ended], parsed: argparse.Namespace) -> dict[str, Any]:
    """What summary.json holds."""
    return {
        "environment": environment,
        "dry_run": parsed.dry_run,
        "budget_seconds": parsed.budget,
        "stages": [
            {
                "stage": end.stage.name,
                "status": end.outcome.status.value,
                "seconds": round(end.seconds, 1),
                "summary": end.outcome.summary,
                **end.outcome.facts,
            }
            for end in ended
        ],
    }


def final_table(ended: list[Ended]) -> str:
    """A line for each stage."""
    cells = [(end.stage.name, end.outcome.status.value, f"{end.seconds:.0f} s") for end in ended]
    total = ("all", "", f"{sum(end.seconds for end in ended):.0f} s")
    rows = table(("stage", "ended", "time"), [*cells, total]).splitlines()
    summaries = ["", *(end.outcome.summary for end in ended), ""]
    return "\n".join(f"{row}  {summary}".rstrip() for row, summary in zip(rows, summaries, strict=True))
