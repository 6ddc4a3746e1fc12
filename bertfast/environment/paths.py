"""What would run a model of BERT-base's sizes here: by device and dtype, and in which reduced precisions."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bertfast.backends import Backend, find_backend
from bertfast.environment.privacy import public
from bertfast.errors import PrecisionError, SettingError
from bertfast.precision import PRECISIONS

_HIDDEN_SIZE, _HEAD_SIZE = 768, 64
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Path:
    """How weights of a dtype are run on a device.

    fast: whether bertfast runs them, and if not, why_not. ops, attention, linear: who computes bertfast's ops, who
    attention, and who multiplies.
    """

    device: str
    dtype: str
    fast: bool
    why_not: str | None = None
    ops: str | None = None
    attention: str | None = None
    linear: str | None = None


@dataclass(frozen=True)
class Reduced:
    """What ``precision=asked`` gives for float32 weights on a device: what they are multiplied in and by whom (linear),
    why not as asked, and who would be faster and is not there (advice)."""

    device: str
    asked: str
    runs: str | None
    why_not: str | None = None
    linear: str | None = None
    advice: str | None = None


def paths(devices: list[str]) -> list[Path]:
    """Of each device, for every dtype."""
    return [_path(name, dtype) for name in devices for dtype in _DTYPES]


def reduced_precisions(devices: list[str]) -> list[Reduced]:
    """Of each device, for every precision that may be asked for."""
    return [_reduced(name, asked) for name in devices for asked in PRECISIONS if asked not in (None, "float32")]


def _path(name: str, dtype: torch.dtype) -> Path:
    backend = _backend(name)
    why_not = backend.unserved(dtype, _HIDDEN_SIZE, _HEAD_SIZE)
    if why_not is None:
        try:
            linear = backend.linear(dtype).name
            return Path(name, _short(dtype), True, None, backend.ops, backend.attention_by(dtype), linear)
        except SettingError as error:
            why_not = str(error)
    return Path(name, _short(dtype), False, public(why_not))


def _reduced(name: str, asked: str) -> Reduced:
    backend = _backend(name)
    try:
        choice = backend.resolve(asked, torch.float32)
        linear = backend.linear(torch.float32, choice.reduced).name
    except (PrecisionError, SettingError) as error:
        return Reduced(name, asked, None, public(str(error)))
    return Reduced(
        name, asked, choice.reduced or "float32", choice.lacks, linear, choice.advice and public(choice.advice)
    )


def _backend(name: str) -> Backend:
    backend = find_backend(torch.device(name))
    if backend is None:
        raise ValueError(f"{name}: bertfast has a backend for cpu and cuda only")
    return backend


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
