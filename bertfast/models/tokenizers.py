"""transformers' tokenizers, with the batch methods that version 5 has dropped.

The classic tutorial script calls ``batch_encode_plus``. A class is made on demand for each tokenizer class, under its
own name, so that saving writes the usual ``tokenizer_class`` and unpickling finds it here again.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import transformers
from transformers import PreTrainedTokenizerBase

from bertfast import compat
from bertfast.models.batch_methods import BatchMethods
from bertfast.models.stand_ins import StandIns
from bertfast.reporting import logger


class AutoTokenizer(transformers.AutoTokenizer):
    """transformers' ``AutoTokenizer``; the tokenizers it gives have ``batch_encode_plus``."""

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As transformers' own."""
        tokenizer = transformers.AutoTokenizer.from_pretrained(*args, **kwargs)
        # A user's own class keeps its type: only transformers' classes can be found again by name.
        if _stock_class(type(tokenizer).__name__) is type(tokenizer):
            tokenizer.__class__ = _with_batch_methods(type(tokenizer))
        return tokenizer


# Version 5 has one class under several names: BertTokenizerFast is BertTokenizer.
_stand_ins = StandIns(__name__, BatchMethods)


def is_tokenizer(name: str) -> bool:
    """Whether transformers has a tokenizer class of this name."""
    return name == "AutoTokenizer" or _stock_class(name) is not None


def tokenizer_class(name: str) -> type:
    """transformers' tokenizer class ``name``, with ``batch_encode_plus`` if it has none."""
    stock = _stock_class(name)
    if stock is not None and not compat.TRANSFORMERS_5:
        _say_slow(name)
    return AutoTokenizer if stock is None else _with_batch_methods(stock)


@cache
def _say_slow(name: str) -> None:
    """Once: that a class tokenizes in Python, where there is a compiled one. transformers 5 has only those."""
    if not name.endswith("Fast") and _stock_class(f"{name}Fast") is not None:
        logger.warning(
            "bertfast: %s of transformers 4 tokenizes in Python, which can take longer than the model; "
            "%sFast gives the same tokens",
            name,
            name,
        )


def _stock_class(name: str) -> type | None:
    found = getattr(transformers, name, None) if "Tokenizer" in name else None
    return found if inspect.isclass(found) and issubclass(found, PreTrainedTokenizerBase) else None


def _with_batch_methods(stock: type) -> type:
    return stock if hasattr(stock, "batch_encode_plus") else _stand_ins.stand_in(stock)


def __getattr__(name: str) -> type:
    if name.startswith("_") or not is_tokenizer(name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return tokenizer_class(name)
