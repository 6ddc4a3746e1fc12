"""The emulated kernels as ``torch.ops.bertfast_emulated.*``, built when first asked for."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from bertfast.ops._library import FAKES
from kernels.host_build import build_emulated

# Those of csrc/bindings/schema.cpp, each with the schema and the fake of bertfast/ops/<op>.py.
KERNEL_OPS = (
    "bias_gelu",
    "embedding_layer_norm",
    "first_token_attention",
    "gather_first",
    "pad_input",
    "residual_layer_norm",
    "unpad_input",
    "varlen_attention",
)


@cache
def load() -> Any:
    """``torch.ops.bertfast_emulated``, with the fakes of ``torch.ops.bertfast``. Raises MissingTool."""
    build = build_emulated("bertfast_emulated_ops")
    torch.ops.load_library(build / "csrc" / "bindings" / "libbertfast_emulated_ops.so")
    for name in KERNEL_OPS:
        torch.library.register_fake(f"bertfast_emulated::{name}", FAKES[name])
    return torch.ops.bertfast_emulated
