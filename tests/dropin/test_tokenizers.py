"""Tokenizers with the batch methods of transformers 4, otherwise transformers' own."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
import torch
import transformers

import bertfast
from dropin.helpers import V5, needs_v4, needs_v5

NAMES = ("AutoTokenizer", "BertTokenizer", "BertTokenizerFast")
TEXTS = ["A short text.", "Another, somewhat longer text about padding", "", "Unbelievably tokenised"]
PAIRS = [("What is padding?", "Tokens that nobody reads."), ("Who?", "Nobody"), ("a", "")]
WORDS = [["Unbelievably", "short"], ["three", "more", "words"], ["one"]]

# Encoded by transformers 4.57.6 with BertTokenizerFast.batch_encode_plus and encode_plus.
BATCH_457 = [[101, 1037, 2460, 3793, 1012, 102], [101, 2178, 102, 3793, 102]]
TYPES_457 = [[0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1]]


@pytest.fixture(scope="module", params=NAMES)
def tokenizers(request, minilm) -> tuple[Any, Any]:
    """bertfast's tokenizer and stock's, by the same class name."""
    return tuple(getattr(module, request.param).from_pretrained(minilm) for module in (bertfast, transformers))


def assert_same_encoding(actual: Any, expected: Any) -> None:
    """Same keys, same values, same kind of values."""
    assert type(actual) is type(expected) is transformers.BatchEncoding
    assert list(actual) == list(expected)
    for name, value in expected.items():
        assert type(actual[name]) is type(value)
        equal = torch.equal(actual[name], value) if torch.is_tensor(value) else actual[name] == value
        assert equal, name


def test_calling_is_stocks_own(tokenizers):
    fast, stock = tokenizers
    for arguments in ((TEXTS,), ("one text",), ("first", "second"), ([a for a, _ in PAIRS], [b for _, b in PAIRS])):
        assert_same_encoding(fast(*arguments), stock(*arguments))
    assert fast.tokenize(TEXTS[1]) == stock.tokenize(TEXTS[1])
    assert fast.decode(fast(TEXTS[1])["input_ids"]) == stock.decode(stock(TEXTS[1])["input_ids"])


def test_values_of_transformers_4(tokenizers):
    fast, _ = tokenizers
    encoded = fast.batch_encode_plus(["A short text."])
    assert encoded["input_ids"] == BATCH_457[:1]
    assert encoded["token_type_ids"] == TYPES_457[:1]
    encoded = fast.batch_encode_plus([("another", "text")])
    assert encoded["input_ids"] == BATCH_457[1:]
    assert encoded["token_type_ids"] == TYPES_457[1:]
    # One text gives flat lists, unlike a batch of one.
    assert fast.encode_plus("A short text.")["input_ids"] == BATCH_457[0]
    assert fast.encode_plus("another", "text")["token_type_ids"] == TYPES_457[1]


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "tensors": {"padding": True, "return_tensors": "pt"},
    "max length": {"padding": "max_length", "truncation": True, "max_length": 8, "return_tensors": "pt"},
    "no special tokens": {"add_special_tokens": False},
    "no mask, no types": {"return_attention_mask": False, "return_token_type_ids": False},
    "offsets": {"return_offsets_mapping": True},
    "overflow": {"truncation": True, "max_length": 10, "stride": 1, "return_overflowing_tokens": True},
    "lengths": {"return_length": True, "return_special_tokens_mask": True},
    "multiple": {"padding": True, "pad_to_multiple_of": 8},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_batch_encode_plus_is_a_call(tokenizers, options):
    fast, stock = tokenizers
    if not getattr(stock, "is_fast", True) and {"return_offsets_mapping", "return_overflowing_tokens"} & options.keys():
        pytest.skip("4.57's slow tokenizer has neither")
    assert_same_encoding(fast.batch_encode_plus(TEXTS, **options), stock(TEXTS, **options))
    assert_same_encoding(fast.batch_encode_plus(tuple(TEXTS), **options), stock(TEXTS, **options))
    assert_same_encoding(fast.batch_encode_plus(batch_text_or_text_pairs=TEXTS, **options), stock(TEXTS, **options))
    first, second = ([pair[i] for pair in PAIRS] for i in (0, 1))
    expected = stock(first, second, **options)
    assert_same_encoding(fast.batch_encode_plus(PAIRS, **options), expected)
    assert_same_encoding(fast.batch_encode_plus([list(pair) for pair in PAIRS], **options), expected)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_encode_plus_is_a_call(tokenizers, options):
    fast, stock = tokenizers
    if not getattr(stock, "is_fast", True) and {"return_offsets_mapping", "return_overflowing_tokens"} & options.keys():
        pytest.skip("4.57's slow tokenizer has neither")
    assert_same_encoding(fast.encode_plus(TEXTS[1], **options), stock(TEXTS[1], **options))
    assert_same_encoding(fast.encode_plus(text=TEXTS[1], **options), stock(TEXTS[1], **options))
    assert_same_encoding(fast.encode_plus(*PAIRS[0], **options), stock(*PAIRS[0], **options))
    assert_same_encoding(fast.encode_plus(PAIRS[0][0], text_pair=PAIRS[0][1], **options), stock(*PAIRS[0], **options))


def test_texts_that_are_split_into_words(tokenizers):
    fast, stock = tokenizers
    options = {"is_split_into_words": True, "padding": True, "return_tensors": "pt"}
    # Two words of one text are not a pair of texts.
    assert_same_encoding(fast.batch_encode_plus(WORDS[:1], **options), stock(WORDS[:1], **options))
    assert_same_encoding(fast.batch_encode_plus(WORDS, **options), stock(WORDS, **options))
    assert_same_encoding(
        fast.encode_plus(WORDS[1], is_split_into_words=True), stock(WORDS[1], is_split_into_words=True)
    )


@needs_v5
def test_texts_where_words_were_promised_are_refused(tokenizers):
    fast, _ = tokenizers
    with pytest.raises(TypeError):
        fast.batch_encode_plus(["hello world", "x y"], is_split_into_words=True)


def test_pairs_that_are_split_into_words(tokenizers):
    fast, stock = tokenizers
    pairs = [(WORDS[0], WORDS[1]), (WORDS[1], WORDS[2])]
    expected = stock([a for a, _ in pairs], [b for _, b in pairs], is_split_into_words=True)
    assert_same_encoding(fast.batch_encode_plus(pairs, is_split_into_words=True), expected)


def test_positional_options_of_transformers_4(tokenizers):
    """4.57 takes ``add_special_tokens`` and ``padding`` by position too."""
    fast, stock = tokenizers
    assert_same_encoding(
        fast.batch_encode_plus(TEXTS, False, True), stock(TEXTS, add_special_tokens=False, padding=True)
    )
    assert_same_encoding(fast.encode_plus("one", "two", False), stock("one", "two", add_special_tokens=False))


def test_types_are_stocks_types(tokenizers):
    fast, stock = tokenizers
    assert isinstance(fast, type(stock))
    assert isinstance(fast, transformers.PreTrainedTokenizerBase)
    assert type(fast).__name__ == type(stock).__name__
    assert fast.is_fast == stock.is_fast
    assert fast.model_input_names == stock.model_input_names
    assert fast.get_vocab() == stock.get_vocab()


@pytest.mark.parametrize("name", NAMES[1:])
def test_isinstance_follows_stock(minilm, name):
    """Where one of stock's names is another's alias, so it is here."""
    fast = getattr(bertfast, name).from_pretrained(minilm)
    stock = getattr(transformers, name).from_pretrained(minilm)
    for other in NAMES[1:]:
        assert isinstance(fast, getattr(transformers, other)) == isinstance(stock, getattr(transformers, other))
        assert isinstance(fast, getattr(bertfast, other)) == isinstance(stock, getattr(transformers, other))


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))], ids=["deepcopy", "pickle"]
)
def test_copies_keep_type_and_methods(tokenizers, duplicate):
    fast, stock = tokenizers
    copied = duplicate(fast)
    assert type(copied) is type(fast)
    assert_same_encoding(copied.batch_encode_plus(TEXTS), stock(TEXTS))


def test_saved_files_are_stocks(tokenizers, tmp_path):
    fast, stock = tokenizers
    fast.save_pretrained(tmp_path / "fast")
    stock.save_pretrained(tmp_path / "stock")
    names = {file.name for file in (tmp_path / "stock").iterdir()}
    assert {file.name for file in (tmp_path / "fast").iterdir()} == names
    for name in names:
        assert (tmp_path / "fast" / name).read_bytes() == (tmp_path / "stock" / name).read_bytes(), name
    saved = json.loads((tmp_path / "fast" / "tokenizer_config.json").read_text())["tokenizer_class"]
    assert getattr(transformers, saved)

    for module in (transformers, bertfast):
        again = module.AutoTokenizer.from_pretrained(tmp_path / "fast")
        assert_same_encoding(again(TEXTS), stock(TEXTS))


def test_from_pretrained_passes_its_arguments(minilm):
    tokenizer = bertfast.AutoTokenizer.from_pretrained(minilm, model_max_length=16, padding_side="left")
    assert tokenizer.model_max_length == 16
    assert tokenizer.padding_side == "left"
    assert tokenizer.batch_encode_plus(TEXTS, padding=True)["input_ids"][2][0] == tokenizer.pad_token_id


def _users_tokenizer() -> type:
    """A class that transformers does not export, under a name that it does."""

    class Shouting(transformers.BertTokenizerFast):
        def tokenize(self, text, *args, **kwargs):
            return super().tokenize(text + "!", *args, **kwargs)

    return Shouting


@needs_v5
@pytest.mark.parametrize("name", ["ShoutingTokenizer", "BertTokenizer"])
def test_a_users_own_tokenizer_keeps_its_class(minilm, monkeypatch, name):
    kind = _users_tokenizer()
    kind.__name__ = name
    own = kind.from_pretrained(minilm)
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *args, **kwargs: own)
    tokenizer = bertfast.AutoTokenizer.from_pretrained(minilm)
    assert isinstance(tokenizer, kind)
    assert tokenizer.tokenize("hello") == ["hello", "!"]


@needs_v4
@pytest.mark.parametrize("name", ["BertTokenizer", "BertTokenizerFast", "RobertaTokenizerFast"])
def test_transformers_4_has_its_own_methods(minilm, name):
    assert getattr(bertfast, name) is getattr(transformers, name)


@needs_v4
def test_transformers_4_auto_tokenizer_gives_stocks_classes(minilm):
    tokenizer = bertfast.AutoTokenizer.from_pretrained(minilm)
    assert type(tokenizer) is transformers.BertTokenizerFast


@pytest.mark.parametrize("name", ["PreTrainedTokenizerFast", "DistilBertTokenizer", "RobertaTokenizer"])
def test_other_tokenizers_have_the_methods_too(name):
    kind = getattr(bertfast, name)
    assert issubclass(kind, getattr(transformers, name))
    assert callable(kind.batch_encode_plus)
    assert hasattr(getattr(transformers, name), "batch_encode_plus") == (not V5)


@needs_v5
def test_options_that_do_not_fit_are_refused(tokenizers):
    fast, _ = tokenizers
    with pytest.raises(TypeError, match="at most 16 options by position, got 17"):
        fast.encode_plus("a", None, *[None] * 17)
    with pytest.raises(TypeError, match="at most 17 options by position, got 18"):
        fast.batch_encode_plus(["a"], *[None] * 18)
    with pytest.raises(TypeError, match="given by position and by name: padding"):
        fast.batch_encode_plus(["a"], True, True, padding=True)
