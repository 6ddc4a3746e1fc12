"""The compiled parts of bertfast: whether they are loaded, why not, and what they were built for."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

from bertfast import cpu_extension, extension
from bertfast.environment.privacy import public
from bertfast.errors import SettingError


@dataclass(frozen=True)
class Compiled:
    """reason: why it is not loaded, and what to do. build: what it was built with, by name. uses: which instructions
    of this CPU.
    """

    module: str
    purpose: str
    loaded: bool
    reason: str | None = None
    build: dict[str, Any] = field(default_factory=dict)
    uses: tuple[str, ...] = ()


def compiled_modules() -> list[Compiled]:
    """Each of them. Loads them if nobody has."""
    with warnings.catch_warnings():
        # Of a broken installation: the reason is in what is returned.
        warnings.simplefilter("ignore", RuntimeWarning)
        return [
            _compiled("bertfast._C", "CUDA kernels", extension),
            _compiled("bertfast._cpu", "CPU kernels", cpu_extension),
        ]


def _compiled(name: str, purpose: str, loader: Any) -> Compiled:
    try:
        reason = loader.why_not()
    except SettingError as error:
        reason = str(error)
    if reason is not None:
        return Compiled(name, purpose, False, public(reason))
    build = {key: public(value) if isinstance(value, str) else value for key, value in loader.build_info().items()}
    return Compiled(name, purpose, True, None, build, _features(loader))


def _features(loader: Any) -> tuple[str, ...]:
    """The instructions that it uses here, where it tells."""
    if not hasattr(loader, "features"):
        return ()
    return tuple(name for name, used in loader.features().items() if used)
