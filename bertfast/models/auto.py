"""transformers' ways to get a model without naming its class: what they give is accelerated if it holds a BERT."""

from __future__ import annotations

import inspect
from typing import Any

import transformers
from torch import nn

from bertfast.models.accelerate import accelerate
from bertfast.models.encoders import holds_encoder
from bertfast.options import Options

_classes: dict[type, type] = {}


class _Accelerates:
    """``from_pretrained`` and ``from_config`` as transformers' own, accelerated."""

    _stock: Any

    @classmethod
    def from_pretrained(
        cls, *args: Any, precision: str | None = None, keep_original: bool = True, **kwargs: Any
    ) -> Any:
        """As transformers' own. precision, keep_original: as of `accelerate`, which raises if it cannot have them."""
        Options(precision=precision, keep_original=keep_original)
        loaded = cls._stock.from_pretrained(*args, **kwargs)
        # With output_loading_info, the model and what was found.
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if precision is None and keep_original:
            _accelerate_if_possible(model)
        else:
            accelerate(model, precision=precision, keep_original=keep_original)
        return loaded

    @classmethod
    def from_config(cls, *args: Any, **kwargs: Any) -> Any:
        """As transformers' own."""
        model = cls._stock.from_config(*args, **kwargs)
        _accelerate_if_possible(model)
        return model


def is_auto_model(name: str) -> bool:
    """Whether transformers has a class of this name that picks a model's class."""
    return name.startswith("AutoModel") and inspect.isclass(getattr(transformers, name, None))


def auto_model_class(name: str) -> type:
    """transformers' class ``name``, giving accelerated models."""
    stock = getattr(transformers, name)
    if stock not in _classes:
        body = {"__module__": __name__, "__qualname__": name, "__doc__": stock.__doc__, "_stock": stock}
        _classes[stock] = type(name, (_Accelerates, stock), body)
    return _classes[stock]


def _accelerate_if_possible(model: Any) -> None:
    if isinstance(model, nn.Module) and holds_encoder(model):
        accelerate(model)
