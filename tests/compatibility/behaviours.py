"""The table's rows as data: what a user does, how it is run, what must be equal, which path it takes."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import transformers

V5 = int(transformers.__version__.split(".", 1)[0]) >= 5

FAST = "fast"
FALLBACK = "fallback"
BOTH = "fast and fallback"
REFUSED = "refused"
# Traced by a compiler: no call of the model runs, so nothing is counted.
TRACED = "traced"
ABSENT = "not in this version"

#: Modules with rows, in the table's order.
MODULES = (
    "heads",
    "inputs",
    "outputs",
    "weights",
    "files",
    "surroundings",
    "hooks",
    "compilers",
    "training",
    "wrappers",
    "applications",
    "pipelines",
    "sentence_transformers",
    "adapters",
    "precisions",
)


class NotInThisVersion(Exception):
    """The installed transformers has no such thing."""


@dataclass(frozen=True)
class Behaviour:
    """One row. run: raises if bertfast and stock differ in what ``equal`` names; path: on the installed version."""

    group: str
    name: str
    equal: str
    path: str
    run: Callable[[Any], None]
    slow: bool

    @property
    def id(self) -> str:
        """For pytest."""
        return f"{self.group}: {self.name}".replace("`", "")


_rows: list[Behaviour] = []


def behaviour(
    group: str, name: str, equal: str, path: str = FAST, v4: str | None = None, slow: bool = False
) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Make a function a row. v4: the path on transformers 4.57, if it is another one there."""

    def register(run: Callable[[Any], None]) -> Callable[[Any], None]:
        _rows.append(Behaviour(group, name, equal, path if V5 or v4 is None else v4, run, slow))
        return run

    return register


def behaviours() -> list[Behaviour]:
    """All rows, in the table's order."""
    for name in MODULES:
        importlib.import_module(f"compatibility.rows.{name}")
    return list(_rows)


def path_of(calls: Counter[str], refusal: str | None) -> tuple[str, str]:
    """(path, the table's cell) for what bertfast's counters saw. refusal: what was raised instead of a result."""
    reasons = sorted(_short(key.removeprefix("stock: ")) for key in calls if key.startswith("stock: "))
    if refusal is not None:
        return REFUSED, f"refused: {refusal}"
    if calls["fast"] and reasons:
        return BOTH, f"fast; fallback: {', '.join(reasons)}"
    if reasons:
        return FALLBACK, f"fallback: {', '.join(reasons)}"
    return (FAST, "fast") if calls["fast"] else (TRACED, "stock, traced; not counted")


def _short(reason: str) -> str:
    """What is the same on every version: a class by its package, not by where inside of that it lives."""
    if reason == "cache":
        # The argument's name from transformers 5.24 on.
        return "past_key_values"
    return re.sub(r"is a (\w+)\.(?:\w+\.)*(\w+)$", r"is a \2 of \1", reason).removesuffix(" of compatibility")
