"""``invariant=True``: a text's result is the same to the bit whatever batch it is in and wherever it stands."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from fuzzing import fuzzer
from hypothesis import given
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

#: Lengths of texts: from one token to most of a block of rows.
_LENGTHS = (40, 1, 17, 2, 33, 8, 25, 5)
# By their places among those: several blocks with a rest, less than a block in another order, a text twice.
_ORDERS = ((0, 1, 2, 3, 4, 5, 6, 7), (5, 2, 1, 7), (6, 3, 0, 6))
_RANDOM_BATCHES = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 9)), min_size=1, max_size=9)


@contextmanager
def _torch_threads(number: int) -> Iterator[None]:
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(1)


def _alone(model, texts):
    pad = model.config.pad_token_id
    return [dict(model(**batch_of([text], pad, [0]))) for text in texts]


def _check_batch(model, texts, alone, left, extra):
    """Each text gives in the batch what it gives alone."""
    together = model(**batch_of(texts, model.config.pad_token_id, left, extra))
    for row, (text, outputs, before) in enumerate(zip(texts, alone, left, strict=True)):
        for name, expected in outputs.items():
            found = together[name][row : row + 1]
            if name == "pooler_output" and before > 0:
                continue  # of column 0, which is padding
            if expected.dim() > 1 and expected.shape[1] == len(text):
                found = found[:, before : before + len(text)]
            assert torch.equal(found, expected), (name, row)
    assert bertfast.explain(model).path == "fast"


@torch.no_grad()
def _check(model, texts, left, extra=0, threads=2):
    with _torch_threads(threads):
        _check_batch(model, texts, _alone(model, texts), left, extra)


@torch.no_grad()
def _check_orders(model, most_left=9):
    """Texts alone, and each of `_ORDERS` of them behind different numbers of columns of padding."""
    texts = make_texts(model.config, _LENGTHS)
    with _torch_threads(2):
        alone = _alone(model, texts)
        for extra, order in zip((0, 20, 1), _ORDERS, strict=True):
            left = [min(7 * row % 10, most_left) for row in range(len(order))]
            _check_batch(model, [texts[i] for i in order], [alone[i] for i in order], left, extra)


@pytest.mark.fuzz
def test_random_batches(make_config, stock_and_fast):
    model = stock_and_fast("BertModel", make_config(), invariant=True, pad_outputs="zero").fast

    @fuzzer(4)
    @given(_RANDOM_BATCHES, st.integers(0, 20), st.integers(0, 2**16))
    def check(sizes, extra, seed):
        lengths, left = zip(*sizes, strict=True)
        _check(model, make_texts(model.config, lengths, seed), left, extra)

    check()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_dtypes(dtype, config, stock_and_fast):
    _check_orders(stock_and_fast("BertModel", config, dtype, invariant=True).fast)


@pytest.mark.parametrize("config", ["gelu-2x4x12-eager", "gelu_new-2x2x64", "relu-3x3x5"], indirect=True)
@pytest.mark.parametrize("class_name", _HEADS)
def test_heads(class_name, config, stock_and_fast):
    # Poolers read column 0.
    _check_orders(stock_and_fast(class_name, config, invariant=True).fast, most_left=0)


@pytest.mark.parametrize("config", ["gelu-1x2x32", "relu-3x3x5"], indirect=True)
@pytest.mark.parametrize("pad_outputs", ["exact", "zero"])
def test_computed_and_dropped_padding(pad_outputs, config, stock_and_fast):
    pair = stock_and_fast("BertModel", config, invariant=True, pad_outputs=pad_outputs)
    _check_orders(pair.fast)


def test_reduced_precisions(precision, config, stock_and_fast):
    if precision == "int8" and not cpu_dense.serves("int8"):
        pytest.skip("int8 is invariant by bertfast._cpu only")
    for class_name in ("BertModel", "BertForSequenceClassification"):
        _check_orders(stock_and_fast(class_name, config, precision=precision, invariant=True).fast, most_left=0)


@pytest.mark.parametrize("config", ["gelu_new-2x2x64", "relu-3x3x5"], indirect=True)
@pytest.mark.parametrize("class_name", ["BertModel", "BertForSequenceClassification"])
def test_attention_by_torch(class_name, config, stock_and_fast, monkeypatch):
    """Where bertfast's own kernel does not compute it."""
    monkeypatch.setattr(cpu_kernels, "serves_attention", lambda qkv: False)
    for dtype in (torch.float32, torch.bfloat16):
        _check_orders(stock_and_fast(class_name, config, dtype, invariant=True).fast, most_left=0)


def test_bfloat16_by_onednn(make_config, stock_and_fast, monkeypatch, precision):
    multiply_by("onednn", monkeypatch)
    pair = stock_and_fast("BertModel", make_config(), precision=precision, invariant=True)
    if precision == "bfloat16":
        _check_orders(pair.fast)
        return
    with pytest.raises(InvarianceError, match="choose precision=None or 'bfloat16'"):
        _check_orders(pair.fast)


@pytest.mark.slow
def test_sizes_of_a_real_model(stock_and_fast):
    from transformers import BertConfig

    config = BertConfig(num_hidden_layers=2, vocab_size=999)
    model = stock_and_fast("BertForSequenceClassification", config, invariant=True).fast
    texts = make_texts(config, [200, 3, 512, 1, 65, 64, 63, 128])
    for threads in (1, 2, 3):
        _check(model, texts, [0] * len(texts), threads=threads)


@pytest.mark.slow
def test_sizes_of_a_real_vocabulary(stock_and_fast):
    from transformers import BertConfig

    config = BertConfig(num_hidden_layers=1)
    model = stock_and_fast("BertForMaskedLM", config, invariant=True).fast
    texts = make_texts(config, [65, 3, 77, 1])
    for threads in (1, 2, 3):
        _check(model, texts, [0] * len(texts), extra=3, threads=threads)


@pytest.mark.parametrize("class_name", _HEADS)
def test_as_right_as_without(class_name, config, stock_and_fast, make_batch):
    stock_and_fast(class_name, config, invariant=True, pad_outputs="exact").check(**make_batch(config))


def test_a_result_without_it_differs(stock_and_fast):
    """Else the tests above would show nothing."""
    from transformers import BertConfig

    model = stock_and_fast("BertForSequenceClassification", BertConfig(num_hidden_layers=1, vocab_size=999)).fast
    with pytest.raises(AssertionError):
        _check(model, make_texts(model.config, [9, 30, 2, 70]), [0] * 4)


@pytest.fixture
def path(stock_and_fast, make_config, tmp_path):
    stock_and_fast("BertForSequenceClassification", make_config()).stock.save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("class_name", ["BertForSequenceClassification", "AutoModelForSequenceClassification"])
def test_loaded_with_it(class_name, path):
    _check_orders(getattr(bertfast, class_name).from_pretrained(path, invariant=True).eval(), most_left=0)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_keep_it(copied, path):
    model = bertfast.BertForSequenceClassification.from_pretrained(path, invariant=True).eval()
    _check_orders(copied(model), most_left=0)


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
    _check_orders(model, most_left=0)
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
