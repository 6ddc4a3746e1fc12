"""``invariant=True``: a text's result is the same to the bit whatever batch it is in and wherever it stands."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from precisions import multiply_by
from torch import nn

import bertfast
from bertfast import cpu_dense, cpu_kernels
from bertfast.errors import FallbackError, InvarianceError
from bertfast.linear import onednn
from bertfast.models.accelerate import accelerate_loaded
from reliability.texts import batch_of, make_texts

_HEADS = (
    "BertModel",
    "BertForSequenceClassification",
    "BertForMaskedLM",
    "BertForTokenClassification",
    "BertForQuestionAnswering",
    "BertForNextSentencePrediction",
)

_BATCHES = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 9)), min_size=1, max_size=9)


def _check(model, texts, left, extra, threads=2):
    """Each text gives in the batch what it gives alone."""
    pad = model.config.pad_token_id
    torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            together = model(**batch_of(texts, pad, left, extra))
            for row, (text, before) in enumerate(zip(texts, left, strict=True)):
                alone = model(**batch_of([text], pad, [0]))
                for name, expected in alone.items():
                    found = together[name][row : row + 1]
                    if name == "pooler_output" and before > 0:
                        continue  # of column 0, which is padding
                    if expected.dim() > 1 and expected.shape[1] == len(text):
                        found = found[:, before : before + len(text)]
                    assert torch.equal(found, expected), (name, row)
    finally:
        torch.set_num_threads(1)
    assert bertfast.explain(model).path == "fast"


def _check_random(model, examples=12, most_left=9):
    @settings(max_examples=examples)
    @given(_BATCHES, st.integers(0, 20), st.integers(0, 2**16))
    def check(sizes, extra, seed):
        left = [min(before, most_left) for _, before in sizes]
        _check(model, make_texts(model.config, [length for length, _ in sizes], seed), left, extra)

    check()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_dtypes(dtype, config, stock_and_fast):
    _check_random(stock_and_fast("BertModel", config, dtype, invariant=True).fast)


@pytest.mark.parametrize("class_name", _HEADS)
def test_heads(class_name, config, stock_and_fast):
    # Poolers read column 0.
    _check_random(stock_and_fast(class_name, config, invariant=True).fast, most_left=0)


@pytest.mark.parametrize("pad_outputs", ["exact", "zero"])
def test_computed_and_dropped_padding(pad_outputs, config, stock_and_fast):
    pair = stock_and_fast("BertModel", config, invariant=True, pad_outputs=pad_outputs)
    _check_random(pair.fast)


def test_reduced_precisions(precision, config, stock_and_fast):
    if precision == "int8" and not cpu_dense.serves("int8"):
        pytest.skip("int8 is invariant by bertfast._cpu only")
    for class_name in ("BertModel", "BertForSequenceClassification"):
        _check_random(stock_and_fast(class_name, config, precision=precision, invariant=True).fast, most_left=0)


@pytest.mark.parametrize("class_name", ["BertModel", "BertForSequenceClassification"])
def test_attention_by_torch(class_name, config, stock_and_fast, monkeypatch):
    """Where bertfast's own kernel does not compute it."""
    monkeypatch.setattr(cpu_kernels, "serves_attention", lambda qkv: False)
    for dtype in (torch.float32, torch.bfloat16):
        _check_random(stock_and_fast(class_name, config, dtype, invariant=True).fast, most_left=0)


def test_bfloat16_by_onednn(make_config, stock_and_fast, monkeypatch, precision):
    multiply_by("onednn", monkeypatch)
    pair = stock_and_fast("BertModel", make_config(), precision=precision, invariant=True)
    if precision == "bfloat16":
        _check_random(pair.fast)
        return
    with pytest.raises(InvarianceError, match="choose precision=None or 'bfloat16'"):
        _check_random(pair.fast)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_sizes_of_a_real_model(threads, stock_and_fast):
    from transformers import BertConfig

    config = BertConfig(num_hidden_layers=2, num_labels=3)
    for class_name in ("BertForSequenceClassification", "BertForMaskedLM"):
        model = stock_and_fast(class_name, config, invariant=True).fast
        for lengths in ([200, 3, 77, 1], [512], [65, 64, 63, 128, 5]):
            _check(
                model,
                make_texts(config, lengths),
                [0] * len(lengths),
                extra=3 if max(lengths) < 500 else 0,
                threads=threads,
            )


@pytest.mark.parametrize("class_name", _HEADS)
def test_as_right_as_without(class_name, config, stock_and_fast, make_batch):
    stock_and_fast(class_name, config, invariant=True, pad_outputs="exact").check(**make_batch(config))


def test_a_result_without_it_differs(stock_and_fast):
    """Else the tests above would show nothing."""
    from transformers import BertConfig

    model = stock_and_fast("BertForSequenceClassification", BertConfig(num_hidden_layers=1)).fast
    with pytest.raises(AssertionError):
        _check(model, make_texts(model.config, [9, 30, 2, 70]), [0] * 4, 0)


@pytest.fixture
def path(stock_and_fast, make_config, tmp_path):
    stock_and_fast("BertForSequenceClassification", make_config()).stock.save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("class_name", ["BertForSequenceClassification", "AutoModelForSequenceClassification"])
def test_loaded_with_it(class_name, path):
    _check_random(getattr(bertfast, class_name).from_pretrained(path, invariant=True).eval(), 3, most_left=0)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_keep_it(copied, path):
    model = bertfast.BertForSequenceClassification.from_pretrained(path, invariant=True).eval()
    _check_random(copied(model), 3, most_left=0)


def test_restore_and_accelerate_put_heads_back(path):
    model = bertfast.BertForSequenceClassification.from_pretrained(path, invariant=True).eval()
    assert type(model.classifier) is not nn.Linear
    bertfast.accelerate(model)
    assert {type(model.classifier), type(model.bert.pooler.dense)} == {nn.Linear}
    bertfast.accelerate(model, invariant=True)
    bertfast.restore(model)
    assert type(model.classifier) is nn.Linear
    assert type(model.bert.pooler.activation) is nn.Tanh


def test_loading_around_it_without_options_keeps_it(path):
    """What holds an accelerated encoder already keeps its options, and so its heads."""
    model = bertfast.BertForSequenceClassification.from_pretrained(path, invariant=True).eval()
    accelerate_loaded(nn.ModuleList([model]), {})
    _check_random(model, 3, most_left=0)
    assert type(model.classifier) is not nn.Linear


def test_what_would_run_stock_is_refused(path):
    model = bertfast.BertForSequenceClassification.from_pretrained(path, invariant=True)
    ids = torch.tensor([[1, 2, 3]])
    with pytest.raises(FallbackError, match=r"training mode.*invariant is True"):
        model.train()(ids)
    model.eval()(ids)
    with pytest.raises(FallbackError, match="output_attentions"):
        model(ids, output_attentions=True)


def test_torch_compile_is_refused(path):
    model = bertfast.BertForSequenceClassification.from_pretrained(path, invariant=True).eval()
    with pytest.raises(Exception, match="invariant is True"):
        torch.compile(model, backend="eager")(torch.tensor([[1, 2, 3]]))


def test_a_block_cannot_have_it(path):
    model = bertfast.BertForSequenceClassification.from_pretrained(path)
    with (
        pytest.raises(ValueError, match=r"invariant=True.*use bertfast\.accelerate"),
        bertfast.accelerated(model, invariant=True),
    ):
        pass


def test_products_that_are_not_alike_are_refused(path, monkeypatch):
    product = onednn.FusedLinear._product

    def uneven(self, x, *arguments):
        y = product(self, x, *arguments)
        y[len(y) // 2] = torch.nextafter(y[len(y) // 2], y.new_tensor(torch.inf))
        return y

    monkeypatch.setattr(onednn.FusedLinear, "_product", uneven)
    model = bertfast.BertForSequenceClassification.from_pretrained(path, invariant=True).eval()
    with pytest.raises(InvarianceError, match="leave invariant out"):
        model(torch.tensor([[1, 2, 3]]))


def test_gradients_flow(path):
    model = bertfast.BertForSequenceClassification.from_pretrained(path, invariant=True).eval()
    stock = bertfast.restore(copy.deepcopy(model))
    ids = torch.tensor([[1, 2, 3]])
    for m in (model, stock):
        m(ids, labels=torch.tensor([1])).loss.backward()
    assert torch.allclose(model.classifier.weight.grad, stock.classifier.weight.grad, rtol=1e-4, atol=1e-6)
