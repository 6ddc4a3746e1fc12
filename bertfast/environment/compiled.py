"""The compiled parts of bertfast: whether they are loaded, why not, and what they were built for."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

from bertfast import extension
from bertfast.environment.privacy import public


@dataclass(frozen=True)
class Compiled:
    """reason: why it is not loaded, and what to do. build: what it was built with, by name."""

    module: str
    purpose: str
    loaded: bool
    reason: str | None = None
    build: dict[str, Any] = field(default_factory=dict)


def compiled_modules() -> list[Compiled]:
    """Each of them. Loads them if nobody has."""
    with warnings.catch_warnings():
        # Of a broken installation: the reason is in what is returned.
        warnings.simplefilter("ignore", RuntimeWarning)
        return [_compiled("bertfast._C", "CUDA kernels", extension)]


def _compiled(name: str, purpose: str, loader: Any) -> Compiled:
    reason = loader.why_not()
    if reason is not None:
        return Compiled(name, purpose, False, public(reason))
    build = {key: public(value) if isinstance(value, str) else value for key, value in loader.build_info().items()}
    return Compiled(name, purpose, True, None, build)
