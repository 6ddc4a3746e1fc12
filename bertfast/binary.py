"""A compiled extension of bertfast: loaded once, when it is first asked for; or why it is not there.

Importing bertfast never fails because of one. Without it everything works on PyTorch; a warning tells of one that is
there and cannot be used.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

import torch

from bertfast._version import __version__

_PACKAGE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Binary:
    """Which one, in words.

    name: ``"bertfast._C"``; kernels: what it brings, ``"CUDA kernels"``; build: the command that builds it.
    """

    name: str
    kernels: str
    build: str

    @property
    def cure(self) -> str:
        return f"build it in bertfast's source directory (docs/building.md): {self.build}"


@dataclass(frozen=True)
class Loaded:
    """The module; or why there is none, and whether that is a defect of the installation."""

    module: ModuleType | None = None
    reason: str | None = None
    broken: bool = False


def load(
    binary: Binary,
    unfit: Callable[[], str | None] = lambda: None,
    prepare: Callable[[ModuleType], None] = lambda module: None,
) -> Loaded:
    """Import it, and warn if it is there and cannot be used.

    unfit: why it must not be loaded here though it is there, or None; asked before a line of it runs. prepare: what it
    needs before it is used; what this raises is why it is refused.
    """
    loaded = _find(binary, unfit, prepare)
    if loaded.broken:
        warnings.warn(f"bertfast runs without its {binary.kernels}: {loaded.reason}", RuntimeWarning, stacklevel=3)
    return loaded


def _find(binary: Binary, unfit: Callable[[], str | None], prepare: Callable[[ModuleType], None]) -> Loaded:
    # By the package's own path alone: what serves an editable installation would offer that of another checkout.
    folders = list(sys.modules[__package__].__path__)
    spec = PathFinder.find_spec(binary.name, folders)
    if spec is None:
        stem = binary.name.rpartition(".")[2]
        others = sorted(path.name for folder in folders for path in Path(folder).glob(f"{stem}.*.so"))
        if others:
            return Loaded(reason=f"{', '.join(others)} is for another version of Python; {binary.cure}", broken=True)
        return Loaded(reason=_why_missing(binary))
    why_unfit = unfit()
    if why_unfit is not None:
        return Loaded(reason=why_unfit, broken=True)
    where = spec.origin or ", ".join(spec.submodule_search_locations or [binary.name])
    try:
        module = importlib.import_module(binary.name)
    except Exception as error:  # of whatever kind, bertfast goes on without it
        reason = f"{where} does not load with torch {torch.__version__}: {error}. If it is old, {binary.cure}"
        return Loaded(reason=reason, broken=True)
    if not hasattr(module, "build_info"):
        return Loaded(reason=f"{where} is not the extension: remove it; {binary.cure}", broken=True)
    built = module.build_info()["bertfast"]
    if built != __version__:
        return Loaded(reason=f"{where} is of bertfast {built}, this is {__version__}; {binary.cure}", broken=True)
    try:
        prepare(module)
    except Exception as error:
        return Loaded(reason=f"{where} cannot be used: {error}", broken=True)
    return Loaded(module)


def _why_missing(binary: Binary) -> str:
    root = _PACKAGE.parent
    if not (root / "setup.py").exists():
        return f"bertfast was installed without its {binary.kernels}; {binary.cure}"
    return (
        f"bertfast is imported from its source directory, {root}, which holds no built {binary.kernels}. One that is "
        f"installed may have them: start Python in another directory; or {binary.cure}"
    )
