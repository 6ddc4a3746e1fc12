"""transformers' ``pipeline``, around an accelerated model."""

from __future__ import annotations

import functools
from typing import Any

import transformers

from bertfast.models.accelerate import accelerate_loaded
from bertfast.models.loading import load


@functools.wraps(transformers.pipeline)
def pipeline(*args: Any, **kwargs: Any) -> Any:
    return load(transformers.pipeline, args, kwargs, accelerate_loaded)
