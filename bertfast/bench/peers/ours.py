"""bertfast, called as its users call it."""

from __future__ import annotations

import torch
from torch import Tensor

import bertfast
from bertfast.bench.models import Embedder, build
from bertfast.bench.setup import Forward, Setup
from bertfast.linear import missing


def why_not(setup: Setup, variant: str) -> str | None:
    """Which instructions this CPU lacks for a reduced precision: bertfast would compute in float32, and say so."""
    return None if setup.device != "cpu" or setup.precision == "float32" else missing(setup.precision)


def prepare(setup: Setup, variant: str) -> None:
    """No files are needed."""


def load(setup: Setup, variant: str) -> Forward:
    """The same model, accelerated; a call that stock transformers would run is an error. See `why_not`.

    variant: "released" frees the weights that were copied.
    """
    torch.set_num_threads(setup.threads)
    model = build(setup.model)
    # The mean pooling is masked, and bertfast cannot know.
    pad_outputs = "zero" if isinstance(model, Embedder) else "auto"
    on_gpu = setup.device != "cpu"
    if on_gpu:  # where the model's dtype is its precision
        model.to(setup.device, getattr(torch, setup.precision))
    bertfast.accelerate(
        model,
        precision=None if on_gpu else setup.precision,
        pad_outputs=pad_outputs,
        on_fallback="raise",
        keep_original=variant != "released",
    )

    def forward(ids: Tensor, mask: Tensor) -> Tensor:
        out: Tensor = model(ids.to(setup.device), mask.to(setup.device))
        return out.float().cpu()

    return forward
