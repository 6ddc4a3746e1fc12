"""transformers with sdpa attention, as it is and compiled by torch."""

from __future__ import annotations

import shutil

import torch
from cpu.models import build
from cpu.peers.setup import Forward, Setup

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load(setup: Setup) -> Forward:
    """Stock transformers; in bfloat16 by the model's own dtype."""
    torch.set_num_threads(setup.threads)
    model = build(setup.model).to(DTYPES[setup.precision])
    return lambda ids, mask: model(ids, mask).float()


def load_compiled(setup: Setup) -> Forward:
    """One compiled program for all shapes."""
    return _compiled(setup, dynamic=True)


def load_compiled_static(setup: Setup) -> Forward:
    """A program compiled for the shape at hand: the fastest, for those who can afford one for each shape."""
    return _compiled(setup, dynamic=False)


def _compiled(setup: Setup, dynamic: bool) -> Forward:
    import torch._inductor.config

    # Without it the weights are not laid out for the matrix products.
    torch._inductor.config.freezing = True
    torch.set_num_threads(setup.threads)
    model = torch.compile(build(setup.model).to(DTYPES[setup.precision]), dynamic=dynamic)
    return lambda ids, mask: model(ids, mask).float()


def why_not_compiled(precision: str) -> str | None:
    """torch.compile needs a compiler of C++ on a CPU."""
    if shutil.which("g++") or shutil.which("clang++"):
        return None
    return "torch.compile needs g++ or clang++ on the PATH"
