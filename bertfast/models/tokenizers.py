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
from bertfast.reporting import logger

# The order of the options that transformers 4 takes by position, after the texts.
_POSITIONAL = (
    "add_special_tokens",
    "padding",
    "truncation",
    "max_length",
    "stride",
    "is_split_into_words",
    "pad_to_multiple_of",
    "padding_side",
    "return_tensors",
    "return_token_type_ids",
    "return_attention_mask",
    "return_overflowing_tokens",
    "return_special_tokens_mask",
    "return_offsets_mapping",
    "return_length",
    "verbose",
)


class _BatchMethods:
    """``encode_plus`` and ``batch_encode_plus`` as transformers 4 has them."""

    def encode_plus(self, text: Any, text_pair: Any = None, *options: Any, **kwargs: Any) -> Any:
        """Encode one text or one pair; options as of calling the tokenizer. Raises TypeError for a list of texts."""
        named = _named(options, kwargs)
        if getattr(self, "is_fast", False) and not named.get("is_split_into_words"):
            # Calling the tokenizer would take a list for a batch.
            if text_pair is None and _is_pair(text):
                text, text_pair = text
            for name, given in (("text", text), ("text_pair", text_pair)):
                if not isinstance(given, str) and not (given is None and name == "text_pair"):
                    raise TypeError(
                        f"{name}: expected a str, got a {type(given).__name__}; batch_encode_plus takes several texts, "
                        "and is_split_into_words=True the words of one"
                    )
        return self(text, text_pair, **named)  # type: ignore[operator]

    def batch_encode_plus(self, batch_text_or_text_pairs: Any, *options: Any, **kwargs: Any) -> Any:
        """Encode a list of texts, or of pairs of texts; options as of calling the tokenizer.

        Raises TypeError for a single text.
        """
        if not isinstance(batch_text_or_text_pairs, list | tuple):
            raise TypeError(
                f"batch_text_or_text_pairs has to be a list or a tuple (got {type(batch_text_or_text_pairs)}); "
                "encode_plus takes one text"
            )
        batch, named = list(batch_text_or_text_pairs), _named(options, kwargs)
        if named.get("is_split_into_words") and any(isinstance(item, str) for item in batch):
            # Calling the tokenizer would take all of them for the words of one text.
            raise TypeError(
                "batch_text_or_text_pairs: expected lists of words, with is_split_into_words=True, got a str among them"
            )
        if batch and not named.get("is_split_into_words") and all(_is_pair(item) for item in batch):
            first, second = (list(side) for side in zip(*batch, strict=True))
            return self(first, second, **named)  # type: ignore[operator]
        return self(batch, **named)  # type: ignore[operator]


def _named(options: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Options by name. Raises TypeError for too many, or for one given twice."""
    if len(options) > len(_POSITIONAL):
        raise TypeError(f"expected at most {len(_POSITIONAL)} options by position, got {len(options)}")
    named = dict(zip(_POSITIONAL, options, strict=False))
    if twice := named.keys() & kwargs.keys():
        raise TypeError(f"given by position and by name: {', '.join(sorted(twice))}")
    return {**named, **kwargs}


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple | list) and len(item) == 2 and all(isinstance(text, str) for text in item)


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


_classes: dict[type, type] = {}


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
    # Version 5 has one class under several names (BertTokenizerFast is BertTokenizer), so classes are the keys.
    if hasattr(stock, "batch_encode_plus"):
        return stock
    if stock not in _classes:
        body = {"__module__": __name__, "__qualname__": stock.__qualname__, "__doc__": stock.__doc__}
        _classes[stock] = type(stock.__name__, (_BatchMethods, stock), body)
    return _classes[stock]


def __getattr__(name: str) -> type:
    if name.startswith("_") or not is_tokenizer(name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return tokenizer_class(name)
