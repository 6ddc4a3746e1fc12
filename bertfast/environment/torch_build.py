"""What torch was built with and is set to."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class TorchBuild:
    """cuda: the version it was built with, None without; cpu_capability: the instructions that its own kernels use;
    onednn: its version, None without; float32_matmul: in what float32 matrices may be multiplied.
    """

    version: str
    cuda: str | None
    cudnn: int | None
    onednn: str | None
    cpu_capability: str
    threads: int
    interop_threads: int
    float32_matmul: str


def torch_build() -> TorchBuild:
    """Of this process."""
    onednn = re.search(r"(?:MKL-DNN|oneDNN) v([\d.]+)", torch.__config__.show())
    return TorchBuild(
        version=torch.__version__,
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version() if torch.version.cuda else None,
        onednn=onednn[1] if onednn and torch.backends.mkldnn.is_available() else None,
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        threads=torch.get_num_threads(),
        interop_threads=torch.get_num_interop_threads(),
        float32_matmul=torch.get_float32_matmul_precision(),
    )
