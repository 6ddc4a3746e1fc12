"""`explain` asked of pipelines, methods and compiled models: which path would this call take?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import transformers
from torch import nn

import bertfast
from dropin.helpers import counted

TEXTS = ["A short text.", "Another one, of which the tokens are more numerous by far."]
_TOKENS = ("path", "reason", "real_tokens", "computed_tokens", "padded_tokens", "first_token_only")
_HEADS = {
    "feature-extraction": "BertModel",
    "text-classification": "BertForSequenceClassification",
    "token-classification": "BertForTokenClassification",
    "zero-shot-classification": "BertForSequenceClassification",
}


@pytest.fixture
def make_pipeline(make_config, stock_and_fast, minilm) -> Callable[[str], Any]:
    """``make_pipeline(task)``, with seeded weights."""

    def make(task: str) -> Any:
        config = make_config(vocab_size=30522, label2id={"entailment": 0, "other": 1})
        tokenizer = transformers.AutoTokenizer.from_pretrained(minilm)
        return bertfast.pipeline(task, model=stock_and_fast(_HEADS[task], config).fast, tokenizer=tokenizer)

    return make


@pytest.mark.parametrize("task", _HEADS)
def test_a_pipeline_is_asked_about_texts(make_pipeline, task):
    pipe = make_pipeline(task)
    inputs = {"candidate_labels": ["x"]} if task == "zero-shot-classification" else {}
    with counted() as calls:
        told = bertfast.explain(pipe, TEXTS[1], **inputs)
    assert not calls
    assert told.path == "fast"
    assert bertfast.explain(pipe).path == "not called yet"
    pipe(TEXTS[1], **inputs)
    done = bertfast.explain(pipe)
    assert {name: getattr(told, name) for name in _TOKENS} == {name: getattr(done, name) for name in _TOKENS}


@pytest.mark.parametrize("give", [list, lambda texts: (text for text in texts)], ids=["list", "generator"])
def test_a_pipeline_is_asked_about_several_texts(make_pipeline, give):
    report = bertfast.explain(make_pipeline("text-classification"), give(TEXTS), batch_size=2)
    assert 0 < report.computed_tokens < report.padded_tokens


def test_a_pipelines_own_errors_are_raised(make_pipeline):
    with pytest.raises(ValueError, match="text input must be of type"):
        bertfast.explain(make_pipeline("feature-extraction"), 7)


def test_a_pipeline_foretells_a_fallback(make_pipeline):
    pipe = make_pipeline("text-classification")
    pipe.model.bert.encoder.layer[0].register_forward_hook(lambda module, args, output: None)
    assert bertfast.explain(pipe, TEXTS[0]).reason == "a hook on encoder.layer.0"


class Encodes(nn.Module):
    """A model that is called by a method of its own."""

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def encode(self, **inputs: Any) -> torch.Tensor:
        return self.bert(**inputs).last_hidden_state

    def one_by_one(self, **inputs: Any) -> Iterator[torch.Tensor]:
        for row in range(len(inputs["input_ids"])):
            yield self.encode(**{name: value[row : row + 1] for name, value in inputs.items()})

    def forget(self, **inputs: Any) -> None:
        """Calls nothing."""


def test_a_method_is_asked(pair, batch):
    model = Encodes(pair.fast)
    assert bertfast.explain(model.encode, **batch).padded_tokens == batch["input_ids"].numel()
    assert bertfast.explain(model.one_by_one, **batch).padded_tokens == batch["input_ids"].shape[1]
    model.encode(**batch)
    assert bertfast.explain(model.encode) == bertfast.explain(model)
    with pytest.raises(bertfast.UnsupportedModelError, match=r"Encodes\.forget did not call its encoder"):
        bertfast.explain(model.forget, **batch)


def test_what_comes_before_the_encoder_runs(pair, batch):
    seen: list[nn.Module] = []
    model = Encodes(pair.fast)
    model.forward = model.encode
    model.register_forward_pre_hook(lambda module, args: seen.append(module))
    model.register_forward_hook(lambda module, args, output: seen.append(output))
    bertfast.explain(model, **batch)
    assert seen == [model]


def _compile_inside(model: nn.Module) -> nn.Module:
    model.bert = torch.compile(model.bert, backend=_never)
    return model


def _compile_in_place(model: nn.Module) -> nn.Module:
    model.bert.compile(backend=_never)
    return model


def _compile_forward(model: nn.Module) -> nn.Module:
    model.forward = torch.compile(model.forward, backend=_never)
    return model


def _never(graph: Any, inputs: Any) -> Any:
    pytest.fail("compiled for a question")


_COMPILERS = {
    "torch.compile(model)": lambda model: torch.compile(model, backend=_never),
    "torch.compile(model, fullgraph=True)": lambda model: torch.compile(model, backend=_never, fullgraph=True),
    "model.bert = torch.compile(model.bert)": _compile_inside,
    "model.bert.compile()": _compile_in_place,
    "model.forward = torch.compile(model.forward)": _compile_forward,
}


@pytest.mark.parametrize("compiler", _COMPILERS.values(), ids=_COMPILERS)
def test_a_compiled_model_is_said_to_be_traced(make_pair, batch, compiler):
    model = make_pair("BertForSequenceClassification").fast
    compiled = compiler(model)
    for report in (bertfast.explain(compiled, **batch), bertfast.explain(compiled)):
        assert report.path == "stock"
        assert "compiled by torch.compile" in report.reason
        assert "(compiled by torch.compile: " in str(report)


def test_an_encoder_beside_a_compiled_one_is_not_traced(make_pair, batch):
    model = nn.ModuleDict({"eager": make_pair().fast, "compiled": torch.compile(make_pair().fast, backend=_never)})
    model["eager"](**batch)
    report = bertfast.explain(model)
    assert report.path == "fast"
    [other] = report.others
    assert other.path == "stock"


def test_the_model_itself_stays_fast_beside_its_compiled_form(pair, batch):
    torch.compile(pair.fast, backend=_never)
    assert bertfast.explain(pair.fast, **batch).path == "fast"
