"""GPU architectures: from ``TORCH_CUDA_ARCH_LIST``, as torch writes it, to nvcc's options."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from native_build.variables import BadVariable

_VARIABLE = "TORCH_CUDA_ARCH_LIST"
# T4; A100; RTX 30; L4 and RTX 40; H100 and H200; B200; RTX 50.
_DEFAULT = ("75", "80", "86", "89", "90", "100", "120")
# Of the kernels: csrc/kernels/limits.h.
OLDEST = 75
# The first architectures that have features of their own (9.0a), and of their family (10.0f).
_OLDEST_WITH_SUFFIX = {"": 0, "a": 90, "f": 100}
_ENTRY = re.compile(r"(?P<major>\d+)\.(?P<minor>\d)(?P<suffix>[af]?)(?P<ptx>\+PTX)?")


@dataclass(frozen=True)
class Architecture:
    """``name``: ``"90"`` or ``"90a"``. ``with_ptx``: also as PTX, which later GPUs compile for themselves."""

    name: str
    with_ptx: bool = False

    @property
    def option(self) -> str:
        """nvcc's."""
        ptx = f",compute_{self.name}" if self.with_ptx else ""
        return f"-gencode=arch=compute_{self.name},code=[sm_{self.name}{ptx}]"

    @property
    def codes(self) -> list[str]:
        """What of it the binary will hold."""
        return [f"sm_{self.name}", *([f"compute_{self.name}"] if self.with_ptx else [])]


def choose_architectures(environment: Mapping[str, str], known: Collection[str]) -> list[Architecture]:
    """Those of ``TORCH_CUDA_ARCH_LIST``, or the default ones. ``known``: to nvcc, by number, such as ``"90"``."""
    text = environment.get(_VARIABLE, "")
    if not text.strip():
        chosen = [Architecture(name) for name in _DEFAULT if name in known]
        if not chosen:
            raise BadVariable(_VARIABLE, text, f"a list of what nvcc knows: {_dotted(known)}")
        return [*chosen[:-1], Architecture(chosen[-1].name, with_ptx=True)]
    parsed: dict[str, Architecture] = {}
    for entry in re.split(r"[;\s]+", text.strip("; \t\n")):
        architecture = _parse(entry, text, known)
        # The same one with and without PTX is one.
        with_ptx = architecture.with_ptx or (architecture.name in parsed and parsed[architecture.name].with_ptx)
        parsed[architecture.name] = Architecture(architecture.name, with_ptx)
    return list(parsed.values())


def _parse(entry: str, text: str, known: Collection[str]) -> Architecture:
    match = _ENTRY.fullmatch(entry)
    if match is None:
        raise BadVariable(_VARIABLE, text, f'numbers such as "8.0;9.0a;12.0+PTX", without names; not {entry!r}')
    number = match["major"] + match["minor"]
    if int(number) < OLDEST:
        raise BadVariable(_VARIABLE, text, f"{_dotted([str(OLDEST)])} or later, which the kernels need; not {entry!r}")
    if number not in known:
        raise BadVariable(_VARIABLE, text, f"what this nvcc knows: {_dotted(known)}; not {entry!r}")
    if int(number) < _OLDEST_WITH_SUFFIX[match["suffix"]]:
        raise BadVariable(_VARIABLE, text, f"no {match['suffix']!r} behind {match['major']}.{match['minor']}")
    return Architecture(number + match["suffix"], with_ptx=match["ptx"] is not None)


def _dotted(numbers: Collection[str]) -> str:
    return ", ".join(f"{number[:-1]}.{number[-1]}" for number in sorted(numbers, key=int))
