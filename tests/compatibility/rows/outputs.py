"""What can be asked of a call."""

from __future__ import annotations

import torch

import bertfast
from compatibility.behaviours import BOTH, FALLBACK, REFUSED, behaviour
from compatibility.bench import Bench, plain

_GROUP = "Outputs"


@behaviour(_GROUP, "`return_dict=False`, indexing, unpacking, `to_tuple()`", "tuple, all outputs")
def _tuples(bench: Bench) -> None:
    pair, batch = bench.pair(), bench.batch()
    pair.check(**batch, return_dict=False)
    bench.same(lambda model: plain(batch)(model).to_tuple(), pair.stock, pair.fast)
    bench.same(lambda model: plain(batch)(model)[:2], pair.stock, pair.fast)
    bench.same(lambda model: plain(batch)(model)["pooler_output"], pair.stock, pair.fast)


@behaviour(_GROUP, "`output_hidden_states=True`, by call or by config", "all hidden states")
def _hidden_states(bench: Bench) -> None:
    for class_name in ("BertModel", "BertForSequenceClassification", "BertForMaskedLM"):
        pair = bench.pair(class_name)
        assert len(pair.check(**bench.batch(), output_hidden_states=True).hidden_states) == 3
        by_config = bench.pair(class_name, output_hidden_states=True)
        assert len(by_config.check(**bench.batch()).hidden_states) == 3


@behaviour(_GROUP, "`output_hidden_states=True` of a trained model, gradients on", "all hidden states", FALLBACK)
def _hidden_states_with_gradients(bench: Bench) -> None:
    pair = bench.pair()
    bench.same(lambda model: model(**bench.batch(), output_hidden_states=True), pair.stock, pair.fast)


@behaviour(_GROUP, "`output_attentions=True`, eager", "attentions, all outputs", FALLBACK)
def _attentions(bench: Bench) -> None:
    pair = bench.pair(attn_implementation="eager")
    output = bench.same(plain(bench.batch(), output_attentions=True), pair.stock, pair.fast)
    assert len(output.attentions) == 2


@behaviour(_GROUP, "`output_attentions=True`, sdpa", "all outputs", FALLBACK)
def _attentions_of_sdpa(bench: Bench) -> None:
    pair = bench.pair()
    bench.same(plain(bench.batch(), output_attentions=True), pair.stock, pair.fast)


@behaviour(_GROUP, "BertViz and saliency: attentions, and gradients to `inputs_embeds`", "attentions, gradients", BOTH)
def _explanations(bench: Bench) -> None:
    pair, batch = bench.pair("BertForSequenceClassification", attn_implementation="eager"), bench.batch()
    bench.same(plain(batch, output_attentions=True), pair.stock, pair.fast)

    def saliency(model):
        embeds = model.get_input_embeddings()(batch["input_ids"]).detach().requires_grad_()
        model(inputs_embeds=embeds, attention_mask=batch["attention_mask"]).logits[:, 1].sum().backward()
        return embeds.grad

    bench.same(saliency, pair.stock, pair.fast, 5e-6)


@behaviour(_GROUP, 'outputs at padded positions (`pad_outputs="auto"`)', "every position")
def _padding(bench: Bench) -> None:
    for class_name in ("BertModel", "BertForTokenClassification", "BertForQuestionAnswering"):
        bench.pair(class_name).check(**bench.batch())


@behaviour(_GROUP, 'outputs at padded positions (`pad_outputs="zero"`)', "real positions; zeros elsewhere")
def _zeros(bench: Bench) -> None:
    pair, batch = bench.pair(), bench.batch()
    bertfast.accelerate(pair.fast, pad_outputs="zero")
    real = batch["attention_mask"].bool()
    bench.same(lambda model: plain(batch)(model).last_hidden_state[real], pair.stock, pair.fast)
    assert not plain(batch)(pair.fast).last_hidden_state[~real].any()


@behaviour(_GROUP, "`invariant=True`: a text in a batch, and alone", "all outputs; both to the bit")
def _invariant(bench: Bench) -> None:
    for class_name in ("BertModel", "BertForSequenceClassification", "BertForMaskedLM"):
        pair, batch = bench.pair(class_name), bench.batch()
        bertfast.accelerate(pair.fast, invariant=True)
        together = bench.same(plain(batch), pair.stock, pair.fast)[0]
        for row, length in enumerate(batch["attention_mask"].sum(1).tolist()):
            alone = plain({name: value[row : row + 1, :length] for name, value in batch.items()})(pair.fast)[0]
            found = together[row : row + 1]
            assert torch.equal(found[:, :length] if found.dim() == 3 else found, alone)


@behaviour(_GROUP, "`invariant=True`: `output_attentions=True`", "error", REFUSED)
def _invariant_attentions(bench: Bench) -> None:
    pair = bench.pair()
    bertfast.accelerate(pair.fast, invariant=True)
    bench.refused(plain(bench.batch(), output_attentions=True), pair.stock, pair.fast)
