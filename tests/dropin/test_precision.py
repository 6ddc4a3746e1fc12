"""``precision=`` as an option: who may ask for it, what changes are seen, and what giving up the originals means."""

from __future__ import annotations

import copy
import gc
import logging
import pickle

import pytest
import torch
import transformers
from precisions import REDUCED, needs
from tolerances import REDUCED_TOLERANCES, relative_error

import bertfast
from bertfast import engines
from bertfast import precision as precisions
from bertfast.errors import PrecisionError, ReleasedWeightsError, UnsupportedModelError
from dropin.helpers import assert_differ, counted
from dropin.test_staleness import EDITS, TARGETS


@pytest.fixture(params=REDUCED)
def precision(request):
    needs(request.param)
    return request.param


@pytest.fixture
def pair(make_pair, precision):
    made = make_pair()
    bertfast.accelerate(made.fast, precision=precision)
    return made


def _released(make_pair, precision):
    made = make_pair()
    bertfast.accelerate(made.fast, precision=precision, keep_original=False)
    return made


@torch.no_grad()
def _check(pair, batch, all_fast):
    with all_fast(pair.fast):
        actual = pair.fast(**batch).last_hidden_state
    used = bertfast.explain(pair.fast).matmul_precision
    assert relative_error(actual, pair.stock(**batch).last_hidden_state) <= REDUCED_TOLERANCES[used].model
    return actual


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__.strip("_"))
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_an_edited_parameter_is_seen(pair, batch, all_fast, target, edit):
    """Though it was copied: each of these changes the whole parameter or counts a version."""
    before = _check(pair, batch, all_fast)
    for model in (pair.stock, pair.fast):
        edit(target(model))
    assert_differ(_check(pair, batch, all_fast), before)


def test_an_optimizer_step_is_seen(pair, batch, all_fast):
    before = _check(pair, batch, all_fast)
    for model in (pair.stock, pair.fast):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        model(**batch).last_hidden_state.square().sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    assert_differ(_check(pair, batch, all_fast), before)


def test_auto_is_what_the_machine_is_fast_at(make_pair, batch, monkeypatch):
    """And nothing is said of what it lacks: nobody asked for that."""
    model = bertfast.accelerate(make_pair().fast, precision="auto")
    model(**batch)
    expected = "bfloat16" if precisions.missing("bfloat16") is None else "float32"
    assert bertfast.explain(model).matmul_precision == expected
    monkeypatch.setattr("bertfast.backends.cpu.missing", lambda name: "this CPU has no such thing")
    bertfast.accelerate(model, precision="auto")
    model(**batch)
    assert bertfast.explain(model).matmul_precision == "float32"


def test_what_the_cpu_lacks_is_said_and_float32_used(make_pair, batch, monkeypatch, caplog):
    pair = make_pair()
    monkeypatch.setattr("bertfast.backends.cpu.missing", lambda name: "this CPU has no such thing")
    caplog.set_level(logging.WARNING, logger="bertfast")
    bertfast.accelerate(pair.fast, precision="int8", keep_original=False, pad_outputs="exact")
    pair.check(**batch)
    pair.check(**batch)
    assert [record.getMessage() for record in caplog.records] == [
        "bertfast: BertModel computes in float32, not in int8: this CPU has no such thing"
    ]
    assert bertfast.explain(pair.fast).weight_copy_bytes == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_only_float32_is_reduced(make_pair, dtype):
    model = make_pair().fast.to(dtype)
    for asked in ("int8", "float32"):
        with pytest.raises(PrecisionError, match=r"model\.float\(\)"):
            bertfast.accelerate(model, precision=asked)
    bertfast.accelerate(model, precision="auto")
    if dtype == torch.bfloat16:
        bertfast.accelerate(model, precision="bfloat16")


def test_unknown_precisions_are_refused_before_anything_changes(make_pair, tmp_path):
    stock = make_pair().stock
    with pytest.raises(ValueError, match="precision='fp8': expected one of None, 'float32', 'bfloat16'"):
        bertfast.accelerate(stock, precision="fp8")
    assert type(stock) is transformers.BertModel
    with pytest.raises(ValueError, match="fp8"):
        bertfast.BertModel.from_pretrained(tmp_path, precision="fp8")
    with pytest.raises(ValueError, match="fp8"):
        bertfast.AutoModel.from_pretrained(tmp_path, precision="fp8")


def test_a_model_moved_to_another_dtype_runs_stock_and_says_why(pair, batch):
    pair.fast.double()
    pair.fast(**batch)
    report = bertfast.explain(pair.fast)
    assert report.path == "stock"
    assert "float64" in report.reason


@pytest.mark.parametrize("name", ["BertModel", "AutoModel", "BertForSequenceClassification"])
def test_from_pretrained(name, make_pair, batch, precision, tmp_path):
    kind = name if name != "AutoModel" else "BertModel"
    stock = make_pair(kind).stock
    stock.save_pretrained(tmp_path)
    model = getattr(bertfast, name).from_pretrained(tmp_path, precision=precision, keep_original=False).eval()
    with torch.no_grad():
        assert relative_error(model(**batch)[0], stock(**batch)[0]) <= REDUCED_TOLERANCES[precision].model
    assert bertfast.explain(model).matmul_precision == precision


class _Subclass(bertfast.BertModel):
    """Whatever it may override: its calls run stock."""


class _SubclassOfAHead(bertfast.BertForSequenceClassification):
    """Its encoder is bertfast's own."""


def test_a_subclass_refuses_what_it_cannot_have(make_pair, tmp_path):
    make_pair().stock.save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match="_Subclass"):
        _Subclass.from_pretrained(tmp_path, precision="int8")
    assert type(_Subclass.from_pretrained(tmp_path)) is _Subclass


def test_a_subclass_of_a_head_has_a_precision(make_pair, batch, precision, tmp_path):
    make_pair("BertForSequenceClassification").stock.save_pretrained(tmp_path)
    model = _SubclassOfAHead.from_pretrained(tmp_path, precision=precision).eval()
    model(**batch)
    assert bertfast.explain(model).matmul_precision == precision


def test_auto_classes_refuse_what_they_cannot_have(tmp_path):
    config = transformers.DistilBertConfig(vocab_size=50, dim=16, hidden_dim=16, n_heads=2, n_layers=1)
    transformers.DistilBertModel(config).save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError):
        bertfast.AutoModel.from_pretrained(tmp_path, precision="bfloat16")
    assert type(bertfast.AutoModel.from_pretrained(tmp_path)) is transformers.DistilBertModel


def test_giving_up_the_originals_frees_their_memory(make_pair, precision, batch, all_fast):
    pair = make_pair()
    weight = pair.fast.encoder.layer[0].intermediate.dense.weight
    held = copy.deepcopy(pair.fast)
    bertfast.accelerate(pair.fast, precision=precision, keep_original=False)
    gc.collect()
    assert weight.untyped_storage().nbytes() == weight.element_size()
    assert weight.isnan().all()
    assert weight.shape == held.encoder.layer[0].intermediate.dense.weight.shape
    _check(pair, batch, all_fast)
    _check(pair, batch, all_fast)


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
    _check(pair, batch, all_fast)


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
        f"bertfast: BertModel keeps its weights in spite of keep_original=False: precision={asked!r} has copied none"
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
    assert not any(p.isnan().any() for p in stock.parameters())


def test_copies_ask_for_the_same(pair, batch, precision):
    for made in (copy.deepcopy(pair.fast), pickle.loads(pickle.dumps(pair.fast))):
        made(**batch)
        assert bertfast.explain(made).matmul_precision == precision


def test_a_block_needs_the_originals(make_pair, precision):
    stock = make_pair().stock
    with (
        pytest.raises(ValueError, match="keep_original=False"),
        bertfast.accelerated(stock, precision=precision, keep_original=False),
    ):
        pass
    assert type(stock) is transformers.BertModel


def test_a_block_may_have_a_precision(make_pair, batch, precision, all_fast):
    pair = make_pair()
    bertfast.accelerate(pair.fast, pad_outputs="exact")
    with bertfast.accelerated(pair.fast, precision=precision):
        _check(pair, batch, all_fast)
        assert bertfast.explain(pair.fast).matmul_precision == precision
    pair.check(**batch)
    assert bertfast.explain(pair.fast).matmul_precision == "float32"


def test_options_of_a_block_leave_the_others_as_they_are(pair, batch, precision, all_fast):
    """Nothing is copied again for them."""
    _check(pair, batch, all_fast)
    before = engines.of(pair.fast).preparation.last
    with bertfast.accelerated(pair.fast, pad_outputs="zero"):
        pair.fast(**batch)
        report = bertfast.explain(pair.fast)
        assert (report.pad_outputs, report.matmul_precision) == ("zero", precision)
        assert engines.of(pair.fast).preparation.last is before
    _check(pair, batch, all_fast)
    assert bertfast.explain(pair.fast).pad_outputs == "auto"


def test_blocks_around_a_model_without_originals(make_pair, batch, precision, all_fast):
    pair = _released(make_pair, precision)
    for options in ({}, {"pad_outputs": "exact"}):
        with bertfast.accelerated(pair.fast, **options):
            _check(pair, batch, all_fast)
    for options in ({"precision": "float32"}, {"keep_original": True}):
        with pytest.raises(ReleasedWeightsError), bertfast.accelerated(pair.fast, **options):
            pass
    _check(pair, batch, all_fast)


def test_options_of_a_model_without_originals_can_be_changed(make_pair, batch, precision, all_fast):
    """All but the precision."""
    pair = _released(make_pair, precision)
    bertfast.accelerate(pair.fast, precision=precision, keep_original=False, pad_outputs="exact")
    assert bertfast.explain(pair.fast).pad_outputs == "exact"
    _check(pair, batch, all_fast)


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
    assert not any(parameter.isnan().any() for parameter in model.parameters())


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
        assert model.encoder.layer[0].output.dense.weight.isnan().all()


def test_one_that_cannot_give_up_its_weights_keeps_all_from_it(make_pair, precision):
    first, second = make_pair().stock, make_pair().stock
    second.encoder.layer[0].register_forward_hook(lambda module, args, output: None)
    with pytest.raises(UnsupportedModelError, match=r"a hook on encoder\.layer\.0"):
        bertfast.accelerate(torch.nn.ModuleList([first, second]), precision=precision, keep_original=False)
    assert type(first) is transformers.BertModel
    assert not any(parameter.isnan().any() for parameter in first.parameters())
