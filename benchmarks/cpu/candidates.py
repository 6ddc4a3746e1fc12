"""Who takes part: every candidate's precisions, what it needs, and why it may have to stay out."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

from cpu.peers import ctranslate, onnx_runtime, open_vino, ours, stock
from cpu.peers.setup import Forward, Setup

PRECISIONS = ("float32", "bfloat16", "int8")
OURS = "bertfast"
REFERENCE = "transformers"


def _nothing(setup: Setup) -> None:
    """No files are needed."""


def _always(precision: str) -> str | None:
    return None


@dataclass(frozen=True)
class Candidate:
    """load runs in the process that is timed; prepare, which writes files for it, before that."""

    load: Callable[[Setup], Forward]
    precisions: tuple[str, ...]
    packages: tuple[str, ...] = ()
    prepare: Callable[[Setup], None] = _nothing
    unable: Callable[[str], str | None] = _always

    def why_not(self, precision: str) -> str | None:
        """Why it cannot run here in this precision, or None."""
        if precision not in self.precisions:
            return f"it has no {precision}"
        if missing := [package for package in self.packages if importlib.util.find_spec(package) is None]:
            return f"{', '.join(missing)} not installed: pip install '.[compare]'"
        return self.unable(precision)


_ONNX = ("onnx", "onnxruntime")

CANDIDATES = {
    OURS: Candidate(ours.load, PRECISIONS, unable=ours.why_not),
    REFERENCE: Candidate(stock.load, ("float32", "bfloat16")),
    "compiled": Candidate(stock.load_compiled, ("float32", "bfloat16"), unable=stock.why_not_compiled),
    "compiled-static": Candidate(stock.load_compiled_static, ("float32", "bfloat16"), unable=stock.why_not_compiled),
    "onnxruntime": Candidate(onnx_runtime.load, ("float32", "int8"), _ONNX, onnx_runtime.prepare),
    "onnxruntime-plain": Candidate(onnx_runtime.load_plain, ("float32", "int8"), _ONNX, onnx_runtime.prepare_plain),
    "openvino": Candidate(open_vino.load, ("float32", "bfloat16"), ("onnx", "openvino"), open_vino.prepare),
    "ctranslate2": Candidate(ctranslate.load, PRECISIONS, ("ctranslate2",), ctranslate.prepare, ctranslate.why_not),
}


def chosen(names: list[str], precision: str) -> tuple[list[str], dict[str, str]]:
    """Those of these names that can run in this precision; of the others, why not."""
    reasons = {name: CANDIDATES[name].why_not(precision) for name in names}
    left_out = {name: reason for name, reason in reasons.items() if reason is not None}
    return [name for name in names if name not in left_out], left_out


def versions() -> dict[str, str]:
    """Of every package that a candidate needs and finds."""
    packages = dict.fromkeys(package for candidate in CANDIDATES.values() for package in candidate.packages)
    return {name: importlib.metadata.version(name) for name in packages if importlib.util.find_spec(name)}
