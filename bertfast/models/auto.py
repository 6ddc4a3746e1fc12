"""transformers' ways to get a model without naming its class: what they give is accelerated if it holds a BERT."""

from __future__ import annotations

import inspect
from typing import Any

import transformers

from bertfast.models.accelerate import accelerate_loaded
from bertfast.models.loading import load
from bertfast.models.stand_ins import StandIns


class _Accelerates:
    """``from_pretrained`` and ``from_config`` as transformers' own, accelerated."""

    _stock: Any

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As transformers' own; takes the options of `accelerate` too, and raises what that raises."""
        return load(cls._stock.from_pretrained, args, kwargs, accelerate_loaded)

    @classmethod
    def from_config(cls, *args: Any, **kwargs: Any) -> Any:
        """As transformers' own; options as for `from_pretrained`."""
        return load(cls._stock.from_config, args, kwargs, accelerate_loaded)


_stand_ins = StandIns(__name__, _Accelerates, body=lambda stock: {"_stock": stock})


def is_auto_model(name: str) -> bool:
    """Whether transformers has a class of this name that picks a model's class."""
    return name.startswith("AutoModel") and inspect.isclass(getattr(transformers, name, None))


def auto_model_class(name: str) -> type:
    """transformers' class ``name``, giving accelerated models."""
    return _stand_ins.stand_in(getattr(transformers, name))
