"""The emulated kernels as ``torch.ops.bertfast_emulated.*``, built when first asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from bertfast import ops
from bertfast.ops._library import FAKES
from kernels.host_build import build_emulated

# Each has a kernel: those of csrc/bindings/schema.cpp, with the schemas and fakes of bertfast/ops.
KERNEL_OPS = tuple(ops.__all__)


@cache
def load() -> Any:
    """``torch.ops.bertfast_emulated``, with the fakes of ``torch.ops.bertfast``. Raises MissingTool."""
    build = build_emulated("bertfast_emulated_ops")
    torch.ops.load_library(build / "csrc" / "bindings" / "libbertfast_emulated_ops.so")
    for name in KERNEL_OPS:
        torch.library.register_fake(f"bertfast_emulated::{name}", FAKES[name])
    return torch.ops.bertfast_emulated


class EmulatedCalls:
    """How often each emulated op was called."""

    def __init__(self, emulated: Any) -> None:
        self.counts = dict.fromkeys(KERNEL_OPS, 0)
        self._emulated = emulated

    def op(self, name: str) -> Callable[..., Any]:
        kernel = getattr(self._emulated, name).default

        def call(*arguments: Any, **keywords: Any) -> Any:
            self.counts[name] += 1
            return kernel(*arguments, **keywords)

        return call
