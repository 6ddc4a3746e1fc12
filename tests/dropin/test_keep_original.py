"""``keep_original=False``: what it frees, what is refused from then on, and what it must not take."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import pytest
import torch
import transformers
from tolerances import REDUCED_TOLERANCES, relative_error

import bertfast
from bertfast.errors import ReleasedWeightsError, UnsupportedModelError
from bertfast.released_parameter import holds_released
from dropin.helpers import check_reduced, counted


def _released(make_pair, precision):
    made = make_pair()
    bertfast.accelerate(made.fast, precision=precision, keep_original=False)
    return made


def test_giving_up_the_originals_frees_their_memory(make_pair, precision, batch, all_fast):
    pair = make_pair()
    held = copy.deepcopy(pair.fast)
    original = weakref.ref(pair.fast.encoder.layer[0].intermediate.dense.weight)
    bertfast.accelerate(pair.fast, precision=precision, keep_original=False)
    gc.collect()
    weight, before = (model.encoder.layer[0].intermediate.dense.weight for model in (pair.fast, held))
    assert weight.untyped_storage().nbytes() == weight.element_size()
    assert (weight.shape, weight.dtype, weight.device) == (before.shape, before.dtype, before.device)
    assert original() is None
    check_reduced(pair, batch, all_fast)
    check_reduced(pair, batch, all_fast)


@pytest.mark.parametrize(
    "use",
    [
        lambda model, batch: model.train()(**batch),
        lambda model, batch: model(**batch, output_attentions=True),
        lambda model, batch: model.state_dict(),
        lambda model, batch: torch.nn.Sequential(model).state_dict(),
        lambda model, batch: model.double(),
        lambda model, batch: model.to_empty(device="cpu"),
        lambda model, batch: torch.nn.Sequential(model).share_memory(),
        lambda model, batch: model.to("meta"),
        lambda model, batch: bertfast.restore(model),
        lambda model, batch: bertfast.accelerate(model),
        lambda model, batch: copy.deepcopy(model)(**batch),
        lambda model, batch: pickle.loads(pickle.dumps(model))(**batch),
        lambda model, batch: model.load_state_dict(bertfast.BertModel(model.config).state_dict()),
    ],
    ids=[
        "train",
        "attentions",
        "state_dict",
        "outer_state_dict",
        "double",
        "to_empty",
        "share_memory",
        "to",
        "restore",
        "accelerate",
        "copy",
        "pickle",
        "load",
    ],
)
def test_what_needs_the_originals_is_refused(make_pair, batch, precision, all_fast, use):
    pair = _released(make_pair, precision)
    with pytest.raises(ReleasedWeightsError, match="keep_original=False"):
        use(pair.fast, batch)
    pair.fast.eval()
    check_reduced(pair, batch, all_fast)


@pytest.mark.parametrize(
    "move",
    [
        lambda model: model.to("cpu"),
        lambda model: model.cpu().float(),
        lambda model: transformers.pipeline("text-classification", model, tokenizer=object(), device="cpu").model,
    ],
    ids=["to", "cpu_float", "pipeline"],
)
def test_a_move_to_where_it_is_changes_nothing(make_pair, batch, precision, all_fast, move):
    pair = make_pair("BertForSequenceClassification")
    model = bertfast.accelerate(pair.fast, precision=precision, keep_original=False)
    assert move(model) is model
    with torch.no_grad(), all_fast(model):
        actual = model(**batch).logits
    assert relative_error(actual, pair.stock(**batch).logits) <= REDUCED_TOLERANCES[precision].model


@pytest.mark.parametrize("asked", [None, "float32"])
def test_nothing_to_give_up_is_said(make_pair, batch, all_fast, caplog, asked):
    pair = make_pair()
    with all_fast(pair.fast):
        bertfast.accelerate(pair.fast, precision=asked, keep_original=False, pad_outputs="exact")
        pair.check(**batch)
    assert [record.getMessage() for record in caplog.records] == [
        f"bertfast: BertModel keeps its weights in spite of keep_original=False: precision={asked!r} copies none"
    ]
    pair.fast.state_dict()


@pytest.mark.parametrize("trained", ["inputs_embeds", "parameters"])
def test_gradients_of_what_was_given_up_are_refused_by_the_forward(make_pair, batch, precision, trained):
    """Where it can still be helped: a backward pass would give NaN."""
    model = _released(make_pair, precision).fast
    if trained == "parameters":
        model.requires_grad_(True)
    else:
        ids = batch.pop("input_ids")
        batch["inputs_embeds"] = model.embeddings.word_embeddings(ids).detach().requires_grad_(True)
    with pytest.raises(ReleasedWeightsError, match="gradients"):
        model(**batch)
    with torch.no_grad():
        assert not model(**batch).last_hidden_state.isnan().any()


def test_a_head_on_what_was_given_up_can_be_trained(make_pair, batch, precision, all_fast):
    model = make_pair("BertForSequenceClassification").fast
    bertfast.accelerate(model, precision=precision, keep_original=False)
    with all_fast(model):
        model(**batch).logits.square().sum().backward()
    weights = (model.classifier.weight, model.bert.pooler.dense.weight)
    assert all(bool(weight.grad.isfinite().all()) and bool(weight.grad.any()) for weight in weights)


def test_a_refused_call_is_counted_and_explained_as_such(make_pair, batch, precision):
    model = _released(make_pair, precision).fast
    model.train()
    assert (bertfast.explain(model, **batch).path, bertfast.explain(model).path) == ("refused", "not called yet")
    with counted() as calls, pytest.raises(ReleasedWeightsError):
        model(**batch)
    assert calls == {"refused": 1, "refused: training mode": 1}
    report = bertfast.explain(model)
    assert (report.path, report.reason, report.stock_calls) == ("refused", "training mode", 0)


def test_a_compiled_model_does_not_compute_with_what_was_given_up(make_pair, batch, precision):
    model = torch.compile(_released(make_pair, precision).fast, backend="eager")
    with pytest.raises(ReleasedWeightsError, match="trac"):
        model(**batch)


def test_gradients_stop_at_what_was_given_up(make_pair, batch, precision):
    model = _released(make_pair, precision).fast
    assert not model(**batch).last_hidden_state.requires_grad


def test_what_would_run_stock_keeps_its_weights(make_pair, precision):
    stock = make_pair().stock
    stock.encoder.layer[0].intermediate.dense = torch.nn.Sequential(stock.encoder.layer[0].intermediate.dense)
    with pytest.raises(UnsupportedModelError, match="keep_original=False"):
        bertfast.accelerate(stock, precision=precision, keep_original=False)
    assert type(stock) is transformers.BertModel
    assert not holds_released(stock)


def test_a_block_needs_the_originals(make_pair, precision):
    stock = make_pair().stock
    with (
        pytest.raises(ValueError, match="keep_original=False"),
        bertfast.accelerated(stock, precision=precision, keep_original=False),
    ):
        pass
    assert type(stock) is transformers.BertModel


def test_blocks_around_a_model_without_originals(make_pair, batch, precision, all_fast):
    pair = _released(make_pair, precision)
    for options in ({}, {"pad_outputs": "exact"}):
        with bertfast.accelerated(pair.fast, **options):
            check_reduced(pair, batch, all_fast)
    for options in ({"precision": "float32"}, {"keep_original": True}):
        with pytest.raises(ReleasedWeightsError), bertfast.accelerated(pair.fast, **options):
            pass
    check_reduced(pair, batch, all_fast)


def test_options_of_a_model_without_originals_can_be_changed(make_pair, batch, precision, all_fast):
    """All but the precision."""
    pair = _released(make_pair, precision)
    bertfast.accelerate(pair.fast, precision=precision, keep_original=False, pad_outputs="exact")
    assert bertfast.explain(pair.fast).pad_outputs == "exact"
    check_reduced(pair, batch, all_fast)


def _shared_encoder(first, second):
    second.encoder = first.encoder
    return torch.nn.ModuleList([first, second])


def _shared_weight(first, second):
    second.encoder.layer[0].output.dense.weight = first.encoder.layer[0].output.dense.weight
    return torch.nn.ModuleList([first, second])


def _part_beside(first, second):
    """Also reached by another way than the encoder's."""
    return torch.nn.ModuleDict({"bert": first, "layer": first.encoder.layer[0]})


@pytest.mark.parametrize("share", [_shared_encoder, _shared_weight, _part_beside])
def test_shared_weights_are_not_given_up(make_pair, batch, precision, share):
    model = share(make_pair().stock, make_pair().stock)
    with pytest.raises(UnsupportedModelError, match="shares weights"):
        bertfast.accelerate(model, precision=precision, keep_original=False)
    assert not any(type(module) is bertfast.BertModel for module in model.modules())
    assert not holds_released(model)


def test_encoders_beside_each_other_can_be_without_originals(make_pair, batch, precision):
    first, second = make_pair(), make_pair()
    # Embeddings are not copied, and may be shared.
    for pair in (first, second):
        pair.stock.embeddings.word_embeddings.weight = first.stock.embeddings.word_embeddings.weight
    expected = [pair.stock(**batch).last_hidden_state for pair in (first, second)]
    both = torch.nn.ModuleList([pair.stock for pair in (first, second)])
    bertfast.accelerate(both, precision=precision, keep_original=False)
    for model, wanted in zip(both, expected, strict=True):
        assert relative_error(model(**batch).last_hidden_state, wanted) <= REDUCED_TOLERANCES[precision].model
        assert holds_released(model)


def test_one_that_cannot_give_up_its_weights_keeps_all_from_it(make_pair, precision):
    first, second = make_pair().stock, make_pair().stock
    second.encoder.layer[0].register_forward_hook(lambda module, args, output: None)
    with pytest.raises(UnsupportedModelError, match=r"a hook on encoder\.layer\.0"):
        bertfast.accelerate(torch.nn.ModuleList([first, second]), precision=precision, keep_original=False)
    assert type(first) is transformers.BertModel
    assert not holds_released(first)
