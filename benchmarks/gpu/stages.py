"""The stages: what each runs, and how its end is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.gpu import measured, sanitize, tested
from benchmarks.gpu.build import build
from benchmarks.gpu.outcome import Outcome, Run


@dataclass(frozen=True)
class Stage:
    """share: of the time, beside the others' (the seconds that it gets of nine minutes)."""

    name: str
    about: str
    share: float
    run: Callable[[Run], Outcome]


STAGES = (
    Stage("build", "compile bertfast._C for this GPU", 110, build),
    Stage("parity", "every class against stock transformers and float64", 120, tested.parity),
    Stage("kernels-tests", "every op on the GPU against its CPU reference", 60, tested.kernels),
    Stage("sanitize", "every kernel under compute-sanitizer", 75, sanitize.sanitize),
    Stage("bench-kernels", "time every kernel beside PyTorch's ops", 45, measured.kernels),
    Stage("bench-encoder", "time whole encoders beside transformers and torch.compile", 130, measured.encoder),
)


def choose(names: str) -> list[Stage]:
    """Those of a comma-separated list, in the order of `STAGES`; all for an empty one. Raises ValueError."""
    wanted = [name for name in names.split(",") if name]
    known = [stage.name for stage in STAGES]
    for name in wanted:
        if name not in known:
            raise ValueError(f"--stages: expected some of {', '.join(known)}, got {name!r}")
    return [stage for stage in STAGES if not wanted or stage.name in wanted]
