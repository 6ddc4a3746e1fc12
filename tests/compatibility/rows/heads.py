"""All of BERT's classes, with labels."""

from __future__ import annotations

import copy
from typing import Any

import torch
from parity.heads import CLASSES, call_inputs
from torch import nn

import bertfast
from compatibility.behaviours import BOTH, FALLBACK, behaviour
from compatibility.bench import Bench, plain, same_gradients

_GROUP = "Task heads"


def _head(class_name: str) -> None:
    with_labels, compared = ("", "all outputs") if class_name == "BertModel" else (" with labels", "loss, all outputs")

    @behaviour(_GROUP, f"`{class_name}`{with_labels}", compared)
    def run(bench: Bench) -> None:
        pair = bench.pair(class_name)
        pair.check(**call_inputs(class_name, bench.batch(), labels=True))
        pair.check(**call_inputs(class_name, bench.batch(), labels=True), return_dict=False)


for _name in CLASSES:
    _head(_name)


@behaviour(_GROUP, "`BertModel(add_pooling_layer=False)`", "all outputs")
def _without_pooler(bench: Bench) -> None:
    pair = bench.pair()
    pair.stock.pooler = pair.fast.pooler = None
    assert pair.check(**bench.batch()).pooler_output is None
    pair.check(**bench.batch(), return_dict=False)


@behaviour(_GROUP, "regression and multi-label classification (`problem_type`)", "loss, logits")
def _problem_types(bench: Bench) -> None:
    batch = bench.batch()
    for problem, num_labels in (("regression", 1), ("multi_label_classification", 3)):
        pair = bench.pair("BertForSequenceClassification", problem_type=problem, num_labels=num_labels)
        labels = batch["attention_mask"][:, :num_labels].float()
        pair.check(**batch, labels=labels.squeeze(1) if num_labels == 1 else labels)


@behaviour(_GROUP, "`BertLMHeadModel` as a decoder: `generate`", "tokens", FALLBACK)
def _decoder(bench: Bench) -> None:
    pair = bench.pair("BertLMHeadModel", is_decoder=True, eos_token_id=None)
    prompt = bench.batch()["input_ids"][[0, 2]][:, :5]
    bench.same(lambda model: model.generate(prompt, max_new_tokens=6, do_sample=False), pair.stock, pair.fast)


@behaviour(_GROUP, "`BertModel` as a decoder, with cross-attention", "outputs", FALLBACK)
def _cross_attention(bench: Bench) -> None:
    pair = bench.pair(is_decoder=True, add_cross_attention=True)
    call = plain(bench.batch(), encoder_hidden_states=torch.randn(5, 7, 48), use_cache=False)
    bench.same(call, pair.stock, pair.fast)


@behaviour(_GROUP, "your own module around a `BertModel`, `bertfast.accelerate(module)`", "output, gradients", BOTH)
def _own_module(bench: Bench) -> None:
    class MeanClassifier(nn.Module):
        """Mean of the real tokens, then a layer."""

        def __init__(self, bert: nn.Module) -> None:
            super().__init__()
            self.bert = bert
            self.head = nn.Linear(48, 2)

        def forward(self, attention_mask: Any, **inputs: Any) -> Any:
            states = self.bert(attention_mask=attention_mask, **inputs).last_hidden_state
            weights = attention_mask.unsqueeze(2).to(states.dtype)
            return self.head((states * weights).sum(1) / weights.sum(1))

    stock = MeanClassifier(bench.pair().stock).eval()
    fast = bertfast.accelerate(copy.deepcopy(stock))
    batch = bench.batch()
    bench.same(plain(batch), stock, fast)
    for model in (stock, fast):
        model.train()
    same_gradients(lambda model: model(**batch).square().sum(), stock, fast)
