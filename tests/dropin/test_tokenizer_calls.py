"""``encode_plus`` and ``batch_encode_plus`` answer as those of transformers 4.57.6, on each version."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import transformers

import bertfast
from dropin.helpers import needs_v5
from dropin.tokenizer_calls import CALLS


@pytest.fixture(scope="module")
def tokenizer(minilm) -> Any:
    return bertfast.BertTokenizerFast.from_pretrained(minilm)


def _is_plain(name: str, rows: Any) -> bool:
    """Whether the records leave it out."""
    unusual = {"token_type_ids": "1", "attention_mask": "0"}.get(name)
    return unusual is not None and unusual not in str(rows)


@pytest.mark.parametrize(
    ("method", "args", "kwargs", "expected"), [pytest.param(*call, id=f"{call[0]}{call[1:3]}") for call in CALLS]
)
def test_a_call_is_answered_as_by_transformers_4(tokenizer, method, args, kwargs, expected):
    if isinstance(expected, type):
        with pytest.raises(expected):
            getattr(tokenizer, method)(*args, **kwargs)
        return
    encoded = getattr(tokenizer, method)(*args, **kwargs)
    assert type(encoded) is transformers.BatchEncoding
    assert {name: rows for name, rows in encoded.items() if not _is_plain(name, rows)} == expected
    assert "attention_mask" in encoded


@pytest.mark.parametrize(
    ("method", "given", "options"),
    [
        ("encode_plus", np.array(["a", "b"]), {"is_split_into_words": True}),
        ("batch_encode_plus", [np.array(["a", "b"])], {"is_split_into_words": True}),
        ("batch_encode_plus", [np.array(["a", "b"])], {}),
        ("batch_encode_plus", [(np.array(["a", "b"]), ["c"])], {"is_split_into_words": True}),
    ],
)
def test_arrays_are_lists(tokenizer, method, given, options):
    as_lists = [item.tolist() if isinstance(item, np.ndarray) else tuple(map(list, item)) for item in given]
    as_lists = given.tolist() if isinstance(given, np.ndarray) else as_lists
    call = getattr(tokenizer, method)
    assert call(given, **options) == call(as_lists, **options)


def test_the_encodings_of_one_text_are_kept(tokenizer):
    encoded = tokenizer.encode_plus("two words", "and more")
    assert encoded.word_ids() == [None, 0, 1, None, 0, 1, None]
    assert encoded.sequence_ids() == [None, 0, 0, None, 1, 1, None]


def test_special_tokens_can_be_split(tokenizer):
    whole, split = (
        tokenizer.encode_plus("[MASK]", split_special_tokens=choice)["input_ids"] for choice in (False, True)
    )
    assert whole == [101, 103, 102]
    assert len(split) > 3
    assert tokenizer.batch_encode_plus(["[MASK]"], split_special_tokens=True)["input_ids"] == [split]


@needs_v5
@pytest.mark.parametrize(
    ("method", "args", "kwargs", "match"),
    [
        ("encode_plus", ("a",), {"pad_to_max_length": True}, "unexpected options: pad_to_max_length; .*'max_length'"),
        ("batch_encode_plus", (["a", 7],), {}, r"batch_text_or_text_pairs\[1\]: expected a str .*, got an int"),
        ("batch_encode_plus", ([[["a"], 7]],), {"is_split_into_words": True}, r"\[0\]: .*got a list of int, list"),
        ("encode_plus", ("a", ["b"]), {}, "text_pair: expected a str, got a list of str"),
        ("encode_plus", ([["a"]],), {"is_split_into_words": True}, "text: expected a list of words"),
    ],
)
def test_mistakes_are_named(tokenizer, method, args, kwargs, match):
    with pytest.raises(TypeError, match=match):
        getattr(tokenizer, method)(*args, **kwargs)
