"""The readers of the kernels, each asked the same question: does it notice this mutant?

They are asked in one order, and the first to notice is recorded. Those of host code pass over a mistake that the
preprocessor keeps from them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from processes import FIXED_ADDRESSES, NO_FIXED_ADDRESSES, has_fixed_addresses

from kernels.device.tools import MissingTool
from kernels.host_build import ROOT, build_emulated, build_sanitized
from kernels.mutants.device import notice_interpreted, notice_resources
from kernels.mutants.mutant import Mutant
from kernels.mutants.programs import Programs


@dataclass(frozen=True)
class Catch:
    """The reader that noticed a mutant first, and what it said; no reader if none did."""

    reader: str | None
    complaint: str


@functools.cache
def _emulation() -> Programs:
    return Programs(build_emulated())


@functools.cache
def _address() -> Programs:
    return _sanitized("address,undefined", (("ASAN_OPTIONS", "detect_leaks=0"),))


@functools.cache
def _thread() -> Programs:
    suppressions = ROOT / "csrc" / "tests" / "racy_kernels.supp"
    return _sanitized("thread", (("TSAN_OPTIONS", f"suppressions={suppressions}:halt_on_error=1"),))


def _sanitized(name: str, environment: tuple[tuple[str, str], ...]) -> Programs:
    if not has_fixed_addresses():
        raise MissingTool(NO_FIXED_ADDRESSES)
    return Programs(build_sanitized(name), (f"-fsanitize={name}",), FIXED_ADDRESSES, environment)


def _complaint(programs: Callable[[], Programs], mutant: Mutant) -> str | None:
    if not _emulation().is_seen(mutant):
        return None
    outcome = programs().run(mutant)
    return outcome.output if outcome.failed else None


READERS: dict[str, Callable[[Mutant], str | None]] = {
    "emulation": functools.partial(_complaint, _emulation),
    "address and undefined behaviour sanitizers": functools.partial(_complaint, _address),
    "thread sanitizer": functools.partial(_complaint, _thread),
    "resources": notice_resources,
    "interpreter": notice_interpreted,
}


def first_to_notice(mutant: Mutant) -> Catch:
    """Ask the readers until one notices. Raises MissingTool if the answer may hang on a reader that is not here."""
    missing: MissingTool | None = None
    for name, notice in READERS.items():
        try:
            complaint = notice(mutant)
        except MissingTool as error:
            missing = missing or error
            continue
        if complaint is not None and missing is None:
            return Catch(name, complaint)
    if missing is not None:
        raise missing
    return Catch(None, "")
