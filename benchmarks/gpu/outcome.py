"""How a stage ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


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


def skipped(reason: str) -> Outcome:
    return Outcome(Status.SKIPPED, reason)
