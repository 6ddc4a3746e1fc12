"""bertfast, called as its users call it."""

from __future__ import annotations

import torch
from cpu.models import MINILM, build
from cpu.peers.setup import Forward, Setup

import bertfast


def load(setup: Setup) -> Forward:
    """The same model, accelerated; whatever the fast path cannot do is an error here."""
    torch.set_num_threads(setup.threads)
    # Its pooling is masked, and bertfast cannot know.
    pad_outputs = "zero" if setup.model == MINILM else "auto"
    model = bertfast.accelerate(
        build(setup.model), precision=setup.precision, pad_outputs=pad_outputs, on_fallback="raise"
    )
    return lambda ids, mask: model(ids, mask).float()
