"""What a stage is given, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Run:
    """What a stage is given. limit_s: seconds it may take. out: where JSON goes. logs: where output goes.

    environment: of `environment.describe`. dry: on a CPU, with tiny shapes, to exercise the code.
    """

    limit_s: float
    out: Path
    logs: Path
    environment: dict[str, Any]
    dry: bool = False


class Status(Enum):
    """``PASSED`` is only said of what ran to its end."""

    PASSED = "passed"
    FAILED = "FAILED"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Outcome:
    """status; summary: one line for the table; facts: for the JSON file."""

    status: Status
    summary: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def passed(summary: str, **facts: Any) -> Outcome:
    return Outcome(Status.PASSED, summary, facts)


def failed(summary: str, **facts: Any) -> Outcome:
    return Outcome(Status.FAILED, summary, facts)


def skipped(reason: str, **facts: Any) -> Outcome:
    return Outcome(Status.SKIPPED, reason, facts)
