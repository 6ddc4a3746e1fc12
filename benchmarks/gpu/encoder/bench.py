"""Times whole encoders beside stock transformers, torch.compile and flash-attention, all in one interleaved run.

    python -m benchmarks.gpu.encoder.bench --json FILE [--seconds 150] [--dry-run]

Two times of each: the latency of one call, from the call to the end of its work on the GPU, and the time of a call in
a row of them, which gives sequences/s. The goals' workloads come first, with the compilers as far as their compile
time fits; then all others without compilers; then, if there is time, with them. What was left out is listed.
"""

from __future__ import annotations

import gc
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

import bertfast
from benchmarks.gpu.arguments import parse
from benchmarks.gpu.budget import Deadline
from benchmarks.gpu.encoder.candidates import CANDIDATES, OURS, Candidate, Forward
from benchmarks.gpu.encoder.rows import Row, make_row
from benchmarks.gpu.encoder.table import print_rows
from benchmarks.gpu.encoder.workloads import Workload, workloads
from benchmarks.gpu.environment import describe, nvidia_smi
from benchmarks.gpu.timers import Timer, is_alive, make_timer
from bertfast.environment.record import write_json

# Beyond it a result is wrong, not rounded; tests say how right one is.
_FAR = 0.1
# What the workloads without compilers are left of the time, while the goals are measured.
_KEPT_SHARE = 0.35


class _ContextEnded(Exception):
    """Nothing more can be run on the GPU in this process; what ended it has been noted."""


@dataclass
class Session:
    """What is known so far."""

    timer: Timer
    deadline: Deadline
    rounds: int
    dry: bool
    rows: dict[str, Row] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    compile_s: dict[str, float] = field(default_factory=dict)


def measure(session: Session, workload: Workload, with_compilers: bool, kept_s: float) -> None:
    """Add or replace the workload's row. kept_s: seconds that a compiler may not touch."""
    # Once for all compilers: what one of them has compiled has to stay until it is timed.
    torch._dynamo.reset()
    forwards: dict[str, Forward] = {}
    outputs: dict[str, torch.Tensor] = {}
    for candidate in CANDIDATES:
        reason = _reason_against(session, candidate, workload, with_compilers, kept_s)
        if reason is not None:
            if with_compilers or not candidate.compile_s:
                session.left_out.append(f"{workload}, {candidate.name}: {reason}")
            continue
        try:
            forwards[candidate.name], outputs[candidate.name] = _make(session, candidate, workload)
        except torch.OutOfMemoryError:
            session.left_out.append(f"{workload}, {candidate.name}: more memory than this GPU has")
            session.timer.tidy()
        except Exception as error:
            _note(session, workload, candidate.name, f"{type(error).__name__}: {str(error)[:300]}")
            if not is_alive(session.timer):
                raise _ContextEnded from error
    errors = _check(session, workload, forwards, outputs)
    if forwards:
        session.rows[str(workload)] = make_row(session.timer, workload, forwards, errors, session.rounds, session.dry)
        print_rows([session.rows[str(workload)]], header=False)


def _measure_or_note(session: Session, workload: Workload, with_compilers: bool, kept_s: float) -> None:
    """An error costs this workload's row, and no other's while CUDA's context lives."""
    try:
        measure(session, workload, with_compilers, kept_s)
    except _ContextEnded:
        raise
    except torch.OutOfMemoryError:
        session.left_out.append(f"{workload}, all: more memory than this GPU has")
    except Exception as error:
        session.errors.append(f"{workload}: {type(error).__name__}: {str(error)[:300]}")
        print(f"FAILED {session.errors[-1]}", flush=True)
        if not is_alive(session.timer):
            raise _ContextEnded from error


def _note(session: Session, workload: Workload, name: str, what: str) -> None:
    """Only what bertfast does wrong fails the stage; another that fails is left out, aloud."""
    (session.errors if name == OURS else session.left_out).append(f"{workload}, {name}: {what}")
    print(f"FAILED {workload}, {name}: {what}", flush=True)


def _reason_against(
    session: Session, candidate: Candidate, workload: Workload, with_compilers: bool, kept_s: float
) -> str | None:
    reason = candidate.unserved(workload, session.dry)
    if reason is None and candidate.compile_s:
        expected = session.compile_s.get(candidate.name, candidate.compile_s)
        # The width and the layers of the model it was measured on may have been half of this one's.
        if not with_compilers or 1.5 * expected > session.deadline.left() - kept_s:
            reason = f"no time to compile ({expected:.0f} s expected)"
    return reason


def _make(session: Session, candidate: Candidate, workload: Workload) -> tuple[Forward, torch.Tensor]:
    """The forward, warm, and its result. CUDA graphs may be recorded in a second and a third call."""
    start = time.monotonic()
    forward = candidate.make(workload, session.timer.device)
    for _ in range(4):
        output = forward().float().clone()
    session.timer.synchronize()
    if candidate.compile_s:
        session.compile_s[candidate.name] = time.monotonic() - start
    return forward, output


def _check(
    session: Session, workload: Workload, forwards: dict[str, Forward], outputs: dict[str, torch.Tensor]
) -> dict[str, float]:
    """Relative errors against stock. Whoever is wrong is not timed."""
    if "sdpa" not in outputs:
        return dict.fromkeys(forwards, float("nan"))
    mask = torch.arange(workload.length) < torch.tensor(workload.lengths).unsqueeze(1)
    wanted = outputs["sdpa"].cpu()[mask]
    errors = {}
    for name in list(forwards):
        errors[name] = float((outputs[name].cpu()[mask] - wanted).norm() / wanted.norm())
        if not errors[name] <= _FAR:
            _note(session, workload, name, f"relative error {errors[name]:.1e}: not timed")
            del forwards[name]
    return errors


def run(session: Session, save: Any) -> None:
    """All workloads, the most important first."""
    every = list(workloads(session.dry))
    goals = [workload for workload in every if workload.goal is not None]
    others = [workload for workload in every if workload.goal is None]
    kept_s = _KEPT_SHARE * session.deadline.seconds
    passes = [(goals, True, kept_s), (others, False, 0.0), (others, True, 0.0)]
    if session.dry:
        passes = passes[:2]
    for chosen, with_compilers, kept in passes:
        for workload in chosen:
            if session.deadline.passed():
                again = str(workload) in session.rows
                session.left_out.append(f"{workload}, {'compilers' if again else 'all'}: no time")
                continue
            _measure_or_note(session, workload, with_compilers, kept)
            gc.collect()
            session.timer.tidy()
            save()


def main() -> int:
    """Measure, print, write JSON after every row. 1 if a result is wrong or nothing was measured."""
    arguments = parse(__doc__, seconds=150.0)
    session = Session(make_timer(arguments.dry_run), Deadline(arguments.seconds), arguments.rounds, arguments.dry_run)
    facts = {
        "environment": describe(),
        "dry_run": arguments.dry_run,
        "pad_outputs": "zero",
        "head": "QuestionAnswering",
    }

    def save() -> None:
        results = [asdict(row) for row in session.rows.values()]
        told = {"results": results, "errors": session.errors, "left_out": session.left_out}
        write_json(arguments.json, {**facts, **told, "compile_s": session.compile_s, "nvidia_smi_last": nvidia_smi()})

    try:
        run(session, save)
    except KeyboardInterrupt:
        session.left_out.append("all after the time was up")
    except _ContextEnded:
        session.left_out.append("all after an error that ended CUDA's context")
    save()
    print_rows(list(session.rows.values()))
    if session.left_out:
        print(f"left out: {len(session.left_out)}, among them {'; '.join(session.left_out[:6])} (all in the JSON file)")
    print(f"bertfast: fast calls {bertfast.STATS['fast']}, stock calls {bertfast.STATS['stock']}")
    return 1 if session.errors or not session.rows else 0


if __name__ == "__main__":
    sys.exit(main())
