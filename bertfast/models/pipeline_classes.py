"""Those of transformers' pipelines that never look at padding: their encoder may leave it out.

transformers imports its pipelines, and much with them, when they are first asked for; bertfast knows them by name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import nn

from bertfast.models.bert import ACCELERATED, BertModel, reading
from bertfast.options import Reads

# Token classification skips what the special tokens' mask marks, which padding is; fill-mask reads the mask tokens.
_NEVER_LOOK = ("TokenClassificationPipeline", "FillMaskPipeline")
_READ_THE_OUTPUT = ("forward", "postprocess", "gather_pre_entities", "aggregate", "get_masked_index")
_HEADS = tuple(ACCELERATED.values())
_classes: dict[type, type] = {}


def accelerated_class(kind: type) -> type | None:
    """The class that stands in for one of transformers' pipelines; None for any other class."""
    if kind.__name__ not in _NEVER_LOOK or not kind.__module__.startswith("transformers.pipelines."):
        return None
    if kind not in _classes:
        body = {"__module__": __name__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
        # One base: an object may change its class only for one of the same layout.
        forward = _masks_padding(kind._forward)  # type: ignore[attr-defined]
        _classes[kind] = type(kind.__name__, (kind,), {**body, "_forward": forward})
    return _classes[kind]


def _masks_padding(stock: Callable[..., Any]) -> Callable[..., Any]:
    """A pipeline's ``_forward`` that tells the encoder what is read of it."""

    @functools.wraps(stock)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        encoder = _unwatched_encoder(self)
        if encoder is None:
            return stock(self, *args, **kwargs)
        with reading(encoder, Reads.TOKENS):
            return stock(self, *args, **kwargs)

    return forward


def stock_class(kind: type) -> type | None:
    """The class that ``kind`` stands in for; None if it stands in for none."""
    return next((stock for stock, fast in _classes.items() if fast is kind), None)


def _unwatched_encoder(pipeline: Any) -> nn.Module | None:
    """The encoder of the pipeline's model, if nobody but the pipeline sees what stands at padding."""
    model = pipeline.model
    encoder = getattr(model, "bert", None)
    if type(model) not in _HEADS or type(encoder) is not BertModel:
        return None
    if any(name in pipeline.__dict__ for name in _READ_THE_OUTPUT):
        return None
    # What is on the encoder itself, it knows.
    outside = [model, *(m for name, child in model.named_children() if name != "bert" for m in child.modules())]
    watched = any(m._forward_hooks or m._forward_pre_hooks or "forward" in m.__dict__ for m in outside)
    return None if watched else encoder


def __getattr__(name: str) -> type:
    # Where pickle looks for the class.
    if name not in _NEVER_LOOK:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import transformers

    made = accelerated_class(getattr(transformers, name))
    assert made is not None
    return made
