"""Who takes part: every candidate's precisions, what it needs, and why it may have to stay out."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from bertfast.environment.packages import installed

if TYPE_CHECKING:
    from bertfast.bench.setup import Forward, Setup

#: On a CPU, and on a GPU.
PRECISIONS = ("float32", "bfloat16", "int8")
GPU_PRECISIONS = ("float32", "float16", "bfloat16")
OURS = "bertfast"
REFERENCE = "transformers"


class Peer(Protocol):
    """A module of `peers`. load runs in the process that is timed; prepare, which writes files for it, before that."""

    def why_not(self, setup: Setup, variant: str) -> str | None: ...

    def prepare(self, setup: Setup, variant: str) -> None: ...

    def load(self, setup: Setup, variant: str) -> Forward: ...


@dataclass(frozen=True)
class Candidate:
    """precisions: by kind of device. packages: what it needs. is_ours: bertfast itself, which is nobody's peer."""

    module: str
    precisions: Mapping[str, tuple[str, ...]]
    packages: tuple[str, ...] = ()
    variant: str = ""
    is_ours: bool = False

    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [package for package in self.packages if importlib.util.find_spec(package) is None]

    def why_not(self, setup: Setup) -> str | None:
        """Why it cannot run here in this precision, or None."""
        kind = setup.device.partition(":")[0]
        if kind not in self.precisions:
            return f"it is not run on {kind}"
        if setup.precision not in self.precisions[kind]:
            return f"it has no {setup.precision}" + (f" on {kind}" if kind != "cpu" else "")
        if self.missing():
            return how_to_install(self)
        return self._peer().why_not(setup, self.variant)

    def prepare(self, setup: Setup) -> None:
        self._peer().prepare(setup, self.variant)

    def load(self, setup: Setup) -> Forward:
        return self._peer().load(setup, self.variant)

    def _peer(self) -> Peer:
        return cast("Peer", importlib.import_module(f"bertfast.bench.peers.{self.module}"))


def how_to_install(candidate: Candidate) -> str:
    """What is missing, and the commands that bring it."""
    missing = candidate.missing()
    return (
        f"{', '.join(missing)} not installed: pip install {' '.join(missing)}, or all peers: pip install "
        "'.[compare]' in bertfast's clone"
    )


_TORCH = {"cpu": ("float32", "bfloat16"), "cuda": GPU_PRECISIONS}
_ONNX = ("onnx", "onnxruntime")
_ONNX_PRECISIONS = {"cpu": ("float32", "int8"), "cuda": ("float32",)}

CANDIDATES: dict[str, Candidate] = {
    OURS: Candidate("ours", {"cpu": PRECISIONS, "cuda": GPU_PRECISIONS}, is_ours=True),
    "bertfast-released": Candidate("ours", {"cpu": ("bfloat16", "int8")}, variant="released", is_ours=True),
    REFERENCE: Candidate("stock", _TORCH),
    "compiled": Candidate("stock", _TORCH, variant="dynamic"),
    "compiled-static": Candidate("stock", _TORCH, variant="static"),
    "onnxruntime": Candidate("onnxruntime", _ONNX_PRECISIONS, _ONNX),
    "onnxruntime-plain": Candidate("onnxruntime", _ONNX_PRECISIONS, _ONNX, variant="plain"),
    "openvino": Candidate("openvino", {"cpu": ("float32", "bfloat16")}, ("onnx", "openvino")),
    "ctranslate2": Candidate("ctranslate2", {"cpu": PRECISIONS, "cuda": GPU_PRECISIONS}, ("ctranslate2",)),
}
#: As people call torch.compile.
ALIASES = {"compile": "compiled", "compile-static": "compiled-static"}
PEERS = tuple(name for name, candidate in CANDIDATES.items() if not candidate.is_ours)


def chosen(names: Iterable[str], setup: Setup) -> tuple[list[str], dict[str, str]]:
    """Those of these names that can run so; of the others, why not."""
    reasons = {name: CANDIDATES[name].why_not(setup) for name in names}
    left_out = {name: reason for name, reason in reasons.items() if reason is not None}
    return [name for name in reasons if name not in left_out], left_out


def versions() -> dict[str, str]:
    """Of every package that a candidate needs and finds."""
    packages = dict.fromkeys(package for candidate in CANDIDATES.values() for package in candidate.packages)
    found = {name: installed(name) for name in packages}
    return {name: version for name, version in found.items() if version is not None}
