"""transformers with sdpa attention, as it is and compiled by torch."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import torch
from torch import Tensor

from bertfast.bench.models import build
from bertfast.bench.setup import Forward, Setup


def why_not(setup: Setup, variant: str) -> str | None:
    """torch.compile needs a compiler of C++ on a CPU."""
    if not variant or setup.device != "cpu" or shutil.which("g++") or shutil.which("clang++"):
        return None
    return "torch.compile needs g++ or clang++ on the PATH"


def prepare(setup: Setup, variant: str) -> None:
    """No files are needed."""


def load(setup: Setup, variant: str) -> Forward:
    """Stock transformers, in reduced precision by the model's own dtype.

    variant: "dynamic" for one compiled program for all shapes; "static" for a program compiled for each shape it meets,
    the fastest, for those who can afford that.
    """
    torch.set_num_threads(setup.threads)
    model = build(setup.model).to(setup.device, getattr(torch, setup.precision))
    called = _compiled(model, variant) if variant else model

    def forward(ids: Tensor, mask: Tensor) -> Tensor:
        out: Tensor = called(ids.to(setup.device), mask.to(setup.device))
        return out.float().cpu()

    return forward


def _compiled(model: torch.nn.Module, variant: str) -> Callable[..., Tensor]:
    import torch._inductor.config

    # Without it the weights are not laid out for the matrix products.
    torch._inductor.config.freezing = True
    compiled: Callable[..., Tensor] = torch.compile(model, dynamic=variant == "dynamic")
    return compiled
