"""OpenVINO on the exported model. Its int8 would need a model that another tool has quantised."""

from __future__ import annotations

import torch
from torch import Tensor

from bertfast.bench.peers.onnx_files import exported
from bertfast.bench.setup import Forward, Setup

_HINTS = {"float32": "f32", "bfloat16": "bf16"}


def why_not(setup: Setup, variant: str) -> str | None:
    """Nothing is known that it lacks."""
    return None


def prepare(setup: Setup, variant: str) -> None:
    """Write the file that ``load`` opens."""
    exported(setup.model, setup.folder)


def load(setup: Setup, variant: str) -> Forward:
    """Compiled for latency, in the precision that is hinted."""
    import openvino

    core = openvino.Core()
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": setup.threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": _HINTS[setup.precision],
    }
    compiled = core.compile_model(core.read_model(exported(setup.model, setup.folder)), "CPU", options)
    request = compiled.create_infer_request()

    def forward(ids: Tensor, mask: Tensor) -> Tensor:
        out = request.infer({"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[0]
        return torch.from_numpy(out.copy())

    return forward
