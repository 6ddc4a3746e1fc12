"""bertfast, called as its users call it."""

from __future__ import annotations

import torch
from cpu.models import MINILM, build
from cpu.peers.setup import Forward, Setup

import bertfast
from bertfast.precision import missing


def why_not(precision: str) -> str | None:
    """Which instructions this CPU lacks for a reduced precision: bertfast would compute in float32, and say so."""
    return None if precision == "float32" else missing(precision)


def load(setup: Setup) -> Forward:
    """The same model, accelerated; a call that stock transformers would run is an error. See `why_not`."""
    torch.set_num_threads(setup.threads)
    # Its pooling is masked, and bertfast cannot know.
    pad_outputs = "zero" if setup.model == MINILM else "auto"
    model = bertfast.accelerate(
        build(setup.model), precision=setup.precision, pad_outputs=pad_outputs, on_fallback="raise"
    )
    return lambda ids, mask: model(ids, mask).float()
