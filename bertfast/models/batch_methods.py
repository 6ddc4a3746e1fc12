"""``encode_plus`` and ``batch_encode_plus`` as transformers 4.57 has them, for the tokenizers of version 5."""

from __future__ import annotations

from typing import Any

import numpy as np
from transformers import BatchEncoding

# The options that transformers 4 takes by position, after the texts. Version 5 ignores all that it does not know.
_OPTIONS = (
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
# By position in ``batch_encode_plus`` only.
_BATCH_OPTIONS = (*_OPTIONS, "split_special_tokens")


class BatchMethods:
    """The methods, to stand before a tokenizer class of transformers 5."""

    def encode_plus(self, text: Any, text_pair: Any = None, *options: Any, **kwargs: Any) -> Any:
        """Encode one text or one pair, of texts or, with ``is_split_into_words=True``, of lists of words.

        Options as of `batch_encode_plus`. Raises TypeError for several texts and for unknown options.
        """
        named = _named(self, _OPTIONS, options, kwargs)
        if not _is_compiled(self):
            return self(text, text_pair, **named)  # type: ignore[operator]
        words = bool(named.get("is_split_into_words"))
        # As in 4.57, an empty second text is none.
        item = _without_arrays((text, text_pair) if text_pair else text)
        if not _is_item(item, words):
            name, given = ("text_pair", text_pair) if text_pair and _is_text(text, words) else ("text", text)
            wanted = "a list of words, with is_split_into_words=True" if words else "a str"
            hint = "" if words else ", and is_split_into_words=True the words of one"
            raise TypeError(
                f"{name}: expected {wanted}, got {_kind(given)}; batch_encode_plus takes several texts{hint}"
            )
        encoded = self([item], **named)  # type: ignore[operator]
        if named.get("return_tensors") is not None or named.get("return_overflowing_tokens"):
            return encoded
        only = {name: rows[0] if isinstance(rows[0], list) else rows for name, rows in encoded.items()}
        return BatchEncoding(only, encoded.encodings)

    def batch_encode_plus(self, batch_text_or_text_pairs: Any, *options: Any, **kwargs: Any) -> Any:
        """Encode a list of texts or of pairs; with ``is_split_into_words=True``, of lists of words or of pairs of them.

        Options as of calling the tokenizer of transformers 4.57. Raises TypeError for a single text, for an item that
        is no text, and for unknown options; IndexError for an empty list.
        """
        batch = batch_text_or_text_pairs
        if not isinstance(batch, list | tuple):
            raise TypeError(
                f"batch_text_or_text_pairs has to be a list or a tuple (got {type(batch)}); encode_plus takes one text"
            )
        named = _named(self, _BATCH_OPTIONS, options, kwargs)
        if not _is_compiled(self):
            return self(batch, **named)  # type: ignore[operator]
        if not batch:
            raise IndexError("batch_text_or_text_pairs: expected at least one text, got an empty list")
        words = bool(named.get("is_split_into_words"))
        items = [_without_arrays(item) for item in batch]
        for index, item in enumerate(items):
            if not _is_item(item, words):
                one = "a list of words, with is_split_into_words=True," if words else "a str"
                raise TypeError(
                    f"batch_text_or_text_pairs[{index}]: expected {one} or a pair of such, got {_kind(item)}"
                )
        return self(items, **named)  # type: ignore[operator]


def _named(tokenizer: Any, names: tuple[str, ...], options: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Options by name. Raises TypeError for too many, for one given twice, and for one that 4.57 does not have."""
    if len(options) > len(names):
        raise TypeError(f"expected at most {len(names)} options by position, got {len(options)}")
    named = dict(zip(names, options, strict=False))
    if twice := named.keys() & kwargs.keys():
        raise TypeError(f"given by position and by name: {', '.join(sorted(twice))}")
    # Tokenizers in Python hand what they do not know to their ``tokenize``, in both versions.
    if _is_compiled(tokenizer) and (unknown := kwargs.keys() - set(_BATCH_OPTIONS)):
        raise TypeError(
            f"unexpected options: {', '.join(sorted(unknown))}; there are {', '.join(_BATCH_OPTIONS)}; "
            "padding='max_length' stands for pad_to_max_length, and targets are encoded by calling the tokenizer"
        )
    return {**named, **kwargs}


def _is_compiled(tokenizer: Any) -> bool:
    return bool(getattr(tokenizer, "is_fast", False))


def _without_arrays(item: Any) -> Any:
    """Arrays as lists: 4.57 takes arrays of words, version 5 refuses them."""
    if isinstance(item, np.ndarray):
        return item.tolist()
    if isinstance(item, list | tuple) and any([isinstance(part, np.ndarray) for part in item]):
        return type(item)(_without_arrays(part) for part in item)
    return item


def _is_item(item: Any, words: bool) -> bool:
    """Whether this is one text or one pair."""
    if _is_text(item, words):
        return True
    return isinstance(item, list | tuple) and len(item) == 2 and all([_is_text(text, words) for text in item])


def _is_text(text: Any, words: bool) -> bool:
    if words:
        return isinstance(text, list | tuple) and all([isinstance(word, str) for word in text])
    return isinstance(text, str)


def _kind(given: Any) -> str:
    name = type(given).__name__
    parts = sorted({type(part).__name__ for part in given}) if isinstance(given, list | tuple) else []
    return f"a{'n' if name[0] in 'aeiou' else ''} {name}" + (f" of {', '.join(parts)}" if parts else "")
