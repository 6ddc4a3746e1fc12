"""What the environment asks of the build. A value that means nothing is refused by the name of its variable."""

from __future__ import annotations

import os
from collections.abc import Mapping

MODES = ("auto", "0", "1")


class BadVariable(ValueError):
    """A variable of the environment with a value that the build cannot follow."""

    def __init__(self, name: str, value: str, expected: str) -> None:
        super().__init__(f"{name}={value!r}: expected {expected}")


def mode(name: str, environment: Mapping[str, str]) -> str:
    """``BERTFAST_CUDA`` or ``BERTFAST_CPU``: build the extension never, always, or (the default) where it can be."""
    found = environment.get(name, "") or "auto"
    if found not in MODES:
        raise BadVariable(name, found, "auto, 0 or 1")
    return found


def max_jobs(environment: Mapping[str, str]) -> int:
    """``MAX_JOBS``: how many compilers run at a time; by default one for each CPU that this process may use."""
    text = environment.get("MAX_JOBS", "")
    if not text:
        affinity = getattr(os, "sched_getaffinity", None)
        return len(affinity(0)) if affinity else os.cpu_count() or 1
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise BadVariable("MAX_JOBS", text, "a whole number above 0")
    return int(text)
