"""ONNX Runtime: fused by its optimizer for transformers, and by what a session does by itself."""

from __future__ import annotations

from pathlib import Path

import torch
from cpu.peers.onnx_files import exported, fused, quantised
from cpu.peers.setup import Forward, Setup


def prepare(setup: Setup) -> None:
    """Write the file that ``load`` opens."""
    _file(setup, fused(setup.model, setup.folder))


def prepare_plain(setup: Setup) -> None:
    """Write the file that ``load_plain`` opens."""
    _file(setup, exported(setup.model, setup.folder))


def load(setup: Setup) -> Forward:
    """The graph with fused attention."""
    return _session(_file(setup, fused(setup.model, setup.folder)), setup.threads)


def load_plain(setup: Setup) -> Forward:
    """The exported graph: now and then faster than the fused one."""
    return _session(_file(setup, exported(setup.model, setup.folder)), setup.threads)


def _file(setup: Setup, source: Path) -> Path:
    return quantised(source) if setup.precision == "int8" else source


def _session(path: Path, threads: int) -> Forward:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def forward(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        (out,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        return torch.from_numpy(out)

    return forward
