"""Arguments that a tokenizer of transformers 4.57 refuses, and its slow classes."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import bertfast
from bertfast.models import tokenizers as module
from dropin.helpers import log_of_bertfast, needs_v4, needs_v5

# As BertTokenizerFast of 4.57.6 encodes it.
_PAIR = [101, 5925, 102, 13366, 102]


@pytest.fixture(scope="module")
def tokenizer(minilm) -> Any:
    return bertfast.BertTokenizerFast.from_pretrained(minilm)


@pytest.mark.parametrize("batch", ["abc", {"a": 1}, None, 7, (text for text in "ab")], ids=repr)
def test_batch_encode_plus_takes_lists_and_tuples_only(tokenizer, batch):
    with pytest.raises(TypeError, match=r"batch_text_or_text_pairs has to be a list or a tuple \(got <class '\w+'>\)"):
        tokenizer.batch_encode_plus(batch)


@pytest.mark.parametrize(
    "arguments",
    [(["abc"],), (["a", "b", "c"],), ([],), ([1, 2],), (None,), ("a", ["b"]), (["a"], ["b"]), (7,)],
    ids=repr,
)
def test_encode_plus_takes_one_text_or_one_pair(tokenizer, arguments):
    with pytest.raises(TypeError):
        tokenizer.encode_plus(*arguments)


def test_two_texts_are_a_pair(tokenizer):
    for pair in (["abc", "def"], ("abc", "def")):
        assert tokenizer.encode_plus(pair)["input_ids"] == tokenizer.encode_plus(*pair)["input_ids"] == _PAIR


@needs_v5
def test_the_error_says_what_to_call(tokenizer):
    with pytest.raises(TypeError, match=r"expected a str, got a list of str; batch_encode_plus .*is_split_into_words"):
        tokenizer.encode_plus(["a", "b", "c"])
    with pytest.raises(TypeError, match="encode_plus takes one text"):
        tokenizer.batch_encode_plus("abc")


@needs_v4
def test_a_slow_tokenizer_is_mentioned_once(caplog):
    module._say_slow.cache_clear()
    with log_of_bertfast(caplog) as records:
        for _ in range(2):
            assert bertfast.BertTokenizer.__name__ == "BertTokenizer"
    [record] = records
    assert record.levelno == logging.WARNING
    assert "BertTokenizerFast gives the same tokens" in record.getMessage()


def test_a_compiled_tokenizer_is_not_mentioned(caplog):
    module._say_slow.cache_clear()
    with log_of_bertfast(caplog) as records:
        assert bertfast.BertTokenizerFast
        assert bertfast.AutoTokenizer
    assert not records
