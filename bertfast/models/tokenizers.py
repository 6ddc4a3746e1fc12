"""transformers' tokenizers, with the batch methods that version 5 has dropped.

The classic tutorial script calls ``batch_encode_plus``. A class is made on demand for each tokenizer, under its own
name, so that saving writes the usual ``tokenizer_class`` and unpickling finds it here again.
"""

from __future__ import annotations

import inspect
from typing import Any

import transformers
from transformers import PreTrainedTokenizerBase


class _BatchMethods:
    """``encode_plus`` and ``batch_encode_plus`` as transformers 4 has them."""

    def encode_plus(self, text: Any, text_pair: Any = None, **kwargs: Any) -> Any:
        """Encode one text or one pair; arguments as of calling the tokenizer."""
        return self(text, text_pair, **kwargs)  # type: ignore[operator]

    def batch_encode_plus(self, batch_text_or_text_pairs: Any, **kwargs: Any) -> Any:
        """Encode a list of texts, or of pairs of texts; arguments as of calling the tokenizer."""
        batch = list(batch_text_or_text_pairs)
        if batch and not kwargs.get("is_split_into_words") and all(_is_pair(item) for item in batch):
            first, second = (list(side) for side in zip(*batch, strict=True))
            return self(first, second, **kwargs)  # type: ignore[operator]
        return self(batch, **kwargs)  # type: ignore[operator]


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple | list) and len(item) == 2 and all(isinstance(text, str) for text in item)


def _with_batch_methods(tokenizer: Any) -> Any:
    """Give a tokenizer the methods it lacks, in place."""
    if not hasattr(type(tokenizer), "batch_encode_plus"):
        tokenizer.__class__ = tokenizer_class(type(tokenizer).__name__)
    return tokenizer


class AutoTokenizer(transformers.AutoTokenizer):
    """transformers' ``AutoTokenizer``; the tokenizers it gives have ``batch_encode_plus``."""

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As transformers' own."""
        return _with_batch_methods(transformers.AutoTokenizer.from_pretrained(*args, **kwargs))


_classes: dict[str, type] = {}


def is_tokenizer(name: str) -> bool:
    """Whether transformers has a tokenizer class of this name."""
    if name in _classes or name == "AutoTokenizer":
        return True
    if "Tokenizer" not in name:
        return False
    found = getattr(transformers, name, None)
    return inspect.isclass(found) and issubclass(found, PreTrainedTokenizerBase)


def tokenizer_class(name: str) -> type:
    """transformers' tokenizer class ``name``, with ``batch_encode_plus`` if it has none."""
    if name == "AutoTokenizer":
        return AutoTokenizer
    if name not in _classes:
        stock = getattr(transformers, name)
        if hasattr(stock, "batch_encode_plus"):
            return stock  # type: ignore[no-any-return]
        _classes[name] = type(name, (_BatchMethods, stock), {"__module__": __name__, "__doc__": stock.__doc__})
    return _classes[name]


def __getattr__(name: str) -> type:
    if name.startswith("_") or not is_tokenizer(name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return tokenizer_class(name)
