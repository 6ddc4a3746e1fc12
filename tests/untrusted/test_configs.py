"""A config may hold anything: what is made of it is right, or refused, before memory is taken for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from fuzzing import assert_same_outcome, fuzzer, outcome
from hypothesis import given
from hypothesis import strategies as st
from tolerances import TOLERANCES

import bertfast
from bertfast.families.bert_config import _BOUNDS, check_values

_USUAL: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 8,
    "type_vocab_size": 2,
    "pad_token_id": 0,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "chunk_size_feed_forward": 0,
    "is_decoder": False,
    "use_cache": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",
    "output_hidden_states": False,
    "output_attentions": False,
    "attn_implementation": "sdpa",
}
_JUNK = st.sampled_from([None, True, "2", "", 2.0, 1.5, float("nan"), float("inf"), [], [2], {}, {"a": 1}])
_SIZES = st.sampled_from([-(2**62), -7, -1, 0, 1, 2, 3, 4, 15, 16, 17, 2**40, 2**62, 2**80])
_RATES = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, float("nan"), "x"])
_UNUSUAL: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(_BOUNDS, _SIZES),
    "pad_token_id": st.sampled_from([None, -98, -97, -1, 1, 96, 97, 2**62]),
    "hidden_act": st.sampled_from(["gelu_new", "gelu_python", "gelu_10", "relu", "relu6", "silu", "tanh", "nothing"]),
    "layer_norm_eps": st.sampled_from([0.0, 1e-30, 1e-5, 1.0, 1e9]),
    "hidden_dropout_prob": _RATES,
    "attention_probs_dropout_prob": _RATES,
    "chunk_size_feed_forward": st.sampled_from([-1, 1, 2, 5, 2**62]),
    "is_decoder": st.booleans(),
    "add_cross_attention": st.booleans(),
    "position_embedding_type": st.sampled_from(["relative_key", "relative_key_query", "nothing"]),
    "output_hidden_states": st.booleans(),
    "output_attentions": st.booleans(),
    "attn_implementation": st.sampled_from(["eager", "flash_attention_2", "nothing"]),
}


@st.composite
def _configs(draw: st.DrawFn) -> dict[str, Any]:
    """The usual one with some entries changed, each to a plausible value or to junk."""
    names = draw(st.lists(st.sampled_from(sorted(_UNUSUAL)), min_size=1, max_size=3, unique=True))
    changes = {name: draw(st.one_of(_UNUSUAL[name], _UNUSUAL[name], _JUNK)) for name in names}
    return {**_USUAL, **changes}


def _run(library: Any, entries: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    model = library.BertModel(transformers.BertConfig(**entries)).eval()
    ids = torch.tensor([[5, 1, 9, 0], [2, 3, 4, 8], [7, 0, 0, 0]])
    return model(input_ids=ids.clamp(max=model.config.vocab_size - 1), attention_mask=ids.clamp(max=1))


@pytest.mark.fuzz
@fuzzer(150)
@given(entries=_configs())
def test_any_config_is_computed_rightly_or_refused(entries):
    actual = outcome(_run, bertfast, entries)
    if isinstance(actual, bertfast.ConfigError):
        # Stock may take hours to make of it what it asks for.
        with pytest.raises(bertfast.ConfigError):
            check_values(transformers.BertConfig(**entries))
        return
    assert_same_outcome(actual, outcome(_run, transformers, entries), 2 * TOLERANCES[torch.float32].model)


CLASSES = ["BertModel", "BertForSequenceClassification", "BertForMaskedLM", "BertForPreTraining"]
WRONG = [
    *(
        (name, value)
        for name in _BOUNDS
        for value in (2**40, 2**62, 2**80, *(() if name == "num_hidden_layers" else (-1,)))
    ),
    ("hidden_size", 0),
    ("num_attention_heads", 0),
]


def _no_module(self, *args, **kwargs):
    raise AssertionError("a module was made")


@pytest.mark.parametrize("class_name", CLASSES)
@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_size_that_no_model_has_is_refused_before_anything_is_made(class_name, name, value, monkeypatch):
    config = transformers.BertConfig(**{**_USUAL, name: value})
    monkeypatch.setattr(torch.nn.Module, "__init__", _no_module)
    with pytest.raises(bertfast.ConfigError, match=rf"^{name}: expected \d+ to \d+, got {value}; "):
        getattr(bertfast, class_name)(config)


def test_sizes_that_are_too_large_together():
    config = transformers.BertConfig(**{**_USUAL, "vocab_size": 2**28, "hidden_size": 2**17})
    with pytest.raises(bertfast.ConfigError, match=r"^config: \d+ parameters, expected at most \d+; got vocab_size="):
        bertfast.BertModel(config)


@pytest.mark.parametrize(
    ("name", "value"), [("num_attention_heads", 3), ("hidden_act", "nothing"), ("vocab_size", -1), ("hidden_size", 0)]
)
def test_a_bad_config_file_is_refused_before_weights_are_read(name, value, tmp_path, monkeypatch):
    transformers.BertModel(transformers.BertConfig(**_USUAL)).save_pretrained(tmp_path)
    config = transformers.BertConfig(**{**_USUAL, name: value})
    (tmp_path / "config.json").write_text(config.to_json_string(use_diff=False))
    monkeypatch.setattr(torch.nn.Module, "__init__", _no_module)
    with pytest.raises(
        bertfast.ConfigError, match=name if name != "num_attention_heads" else "hidden_size: .* 3, num_"
    ):
        bertfast.BertModel.from_pretrained(tmp_path)


@pytest.mark.parametrize(("chunk", "path"), [(0, "fast"), (1, "fast"), (2, "stock"), (3, "refused")])
def test_chunks_that_do_not_divide_the_length_are_stocks_to_refuse(chunk, path):
    found = outcome(_run, bertfast, {**_USUAL, "chunk_size_feed_forward": chunk})
    assert isinstance(found, ValueError) == (path == "refused")
    assert bertfast.STATS["fast"] == (path == "fast")
