"""bertfast, called as its users call it."""

from __future__ import annotations

import inspect

import torch
from cpu.models import build
from cpu.peers.setup import Forward, Setup

import bertfast


def load(setup: Setup) -> Forward:
    """The same model, accelerated; whatever the fast path cannot do is an error here."""
    torch.set_num_threads(setup.threads)
    options = {} if setup.precision == "float32" else {"precision": setup.precision}
    model = bertfast.accelerate(build(setup.model), on_fallback="raise", **options)
    return lambda ids, mask: model(ids, mask).float()


def why_not(precision: str) -> str | None:
    if precision == "float32" or "precision" in inspect.signature(bertfast.accelerate).parameters:
        return None
    return "this bertfast computes in the model's own precision only"
