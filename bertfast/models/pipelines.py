"""transformers' ``pipeline``, around an accelerated model."""

from __future__ import annotations

import functools
from dataclasses import fields
from typing import Any

import transformers
from torch import nn

from bertfast.models.accelerate import accelerate, accelerate_what_is_stock
from bertfast.models.encoders import holds_encoder
from bertfast.options import Options


@functools.wraps(transformers.pipeline)
def pipeline(*args: Any, **kwargs: Any) -> Any:
    # Options of `accelerate` may stand among transformers' own. Without any, a model that has some keeps them.
    asked = {entry.name: kwargs.pop(entry.name) for entry in fields(Options) if entry.name in kwargs}
    options = Options(**asked)
    made = transformers.pipeline(*args, **kwargs)
    model = getattr(made, "model", None)
    if not (isinstance(model, nn.Module) and holds_encoder(model)) and options == Options():
        return made
    return accelerate(made, **asked) if asked else accelerate_what_is_stock(made)
