"""``precision=`` as an option: who may ask for it, and what changes of the weights are seen."""

from __future__ import annotations

import copy
import logging
import pickle

import pytest
import torch
import transformers
from tolerances import REDUCED_TOLERANCES, relative_error

import bertfast
from bertfast import engines
from bertfast.errors import PrecisionError, UnsupportedModelError
from dropin.helpers import assert_differ, check_reduced
from dropin.test_staleness import EDITS, TARGETS


@pytest.fixture
def pair(make_pair, precision):
    made = make_pair()
    bertfast.accelerate(made.fast, precision=precision)
    return made


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__.strip("_"))
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_an_edited_parameter_is_seen(pair, batch, all_fast, target, edit):
    """Though it was copied: each of these changes the whole parameter or counts a version."""
    before = check_reduced(pair, batch, all_fast)
    for model in (pair.stock, pair.fast):
        edit(target(model))
    assert_differ(check_reduced(pair, batch, all_fast), before)


def test_an_optimizer_step_is_seen(pair, batch, all_fast):
    before = check_reduced(pair, batch, all_fast)
    for model in (pair.stock, pair.fast):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        model(**batch).last_hidden_state.square().sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    assert_differ(check_reduced(pair, batch, all_fast), before)


def test_auto_is_float32_where_bfloat16_is_not_fast(make_pair, batch, cpu_with, caplog):
    """And nothing is said of what the CPU lacks: nobody asked for that."""
    pair = make_pair()
    cpu_with("avx512_vnni")
    caplog.set_level(logging.WARNING, logger="bertfast")
    bertfast.accelerate(pair.fast, precision="auto", pad_outputs="exact")
    pair.check(**batch)
    assert bertfast.explain(pair.fast).matmul_precision == "float32"
    assert caplog.records == []


@pytest.mark.parametrize("precision", ["bfloat16"], indirect=True)
def test_auto_is_bfloat16_where_that_is_fast(precision, make_pair, batch, all_fast):
    pair = make_pair()
    bertfast.accelerate(pair.fast, precision="auto")
    check_reduced(pair, batch, all_fast)
    assert bertfast.explain(pair.fast).matmul_precision == precision


def test_kernels_that_are_not_there_are_said_once(make_pair, batch, precision, monkeypatch, caplog):
    monkeypatch.setattr("bertfast.backends.cpu.advice", lambda asked: f"{asked} could be faster")
    pair = make_pair()
    caplog.set_level(logging.WARNING, logger="bertfast")
    bertfast.accelerate(pair.fast, precision=precision, pad_outputs="exact")
    for _ in range(2):
        pair.fast(**batch)
    name = type(pair.fast).__name__
    assert [record.getMessage() for record in caplog.records] == [
        f"bertfast: {name} is multiplied by PyTorch's oneDNN: {precision} could be faster"
    ]
    assert bertfast.explain(pair.fast).advice == f"{precision} could be faster"
    assert f"  advice: {precision} could be faster" in str(bertfast.explain(pair.fast))


def test_what_the_cpu_lacks_is_said_and_float32_used(make_pair, batch, cpu_with, caplog):
    pair = make_pair()
    cpu_with("avx512_bf16")
    caplog.set_level(logging.WARNING, logger="bertfast")
    bertfast.accelerate(pair.fast, precision="int8", keep_original=False, pad_outputs="exact")
    pair.check(**batch)
    pair.check(**batch)
    assert [record.getMessage() for record in caplog.records] == [
        "bertfast: BertModel computes in float32, not in int8: this CPU has neither AMX-INT8 nor VNNI"
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


def test_copies_ask_for_the_same(pair, batch, precision):
    for made in (copy.deepcopy(pair.fast), pickle.loads(pickle.dumps(pair.fast))):
        made(**batch)
        assert bertfast.explain(made).matmul_precision == precision


def test_a_block_may_have_a_precision(make_pair, batch, precision, all_fast):
    pair = make_pair()
    bertfast.accelerate(pair.fast, pad_outputs="exact")
    with bertfast.accelerated(pair.fast, precision=precision):
        check_reduced(pair, batch, all_fast)
        assert bertfast.explain(pair.fast).matmul_precision == precision
    pair.check(**batch)
    assert bertfast.explain(pair.fast).matmul_precision == "float32"


def test_options_of_a_block_leave_the_others_as_they_are(pair, batch, precision, all_fast):
    """Nothing is copied again for them."""
    check_reduced(pair, batch, all_fast)
    before = engines.of(pair.fast).preparation.last
    with bertfast.accelerated(pair.fast, pad_outputs="zero"):
        pair.fast(**batch)
        report = bertfast.explain(pair.fast)
        assert (report.pad_outputs, report.matmul_precision) == ("zero", precision)
        assert engines.of(pair.fast).preparation.last is before
    check_reduced(pair, batch, all_fast)
    assert bertfast.explain(pair.fast).pad_outputs == "auto"
