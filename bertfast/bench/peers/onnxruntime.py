"""ONNX Runtime: fused by its optimizer for transformers, and by what a session does by itself (variant "plain")."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from bertfast.bench.peers.onnx_files import exported, fused, quantised
from bertfast.bench.setup import Forward, Setup

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def why_not(setup: Setup, variant: str) -> str | None:
    """Whether this build of ONNX Runtime has the device."""
    import onnxruntime

    provider = _PROVIDERS[setup.device.partition(":")[0]]
    if provider in onnxruntime.get_available_providers():
        return None
    return f"this ONNX Runtime has no {provider}: on a GPU it takes the package onnxruntime-gpu"


def prepare(setup: Setup, variant: str) -> None:
    """Write the file that ``load`` opens."""
    _file(setup, variant)


def load(setup: Setup, variant: str) -> Forward:
    """The graph with fused attention, or the exported one, which now and then is faster."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = setup.threads, 1
    kind, _, index = setup.device.partition(":")
    provider = (_PROVIDERS[kind], {"device_id": int(index or 0)} if kind == "cuda" else {})
    session = onnxruntime.InferenceSession(str(_file(setup, variant)), options, providers=[provider])

    def forward(ids: Tensor, mask: Tensor) -> Tensor:
        (out,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        return torch.from_numpy(out)

    return forward


def _file(setup: Setup, variant: str) -> Path:
    source = (exported if variant == "plain" else fused)(setup.model, setup.folder)
    return quantised(source) if setup.precision == "int8" else source
