"""How many rows reach the dense layers of a model on a CPU: filled up, and in blocks, by precision."""

from __future__ import annotations

import pytest
import torch
from precisions import REDUCED, CopyingLinear, multiply_by

from bertfast.linear import PortableLinear, padded_rows

# 305 tokens, of which 12 tiles and a rest make no round number; 1100, more than one block in any precision.
_SOME, _MANY = (41,) * 7 + (18,), (55,) * 20
_AFTER_ATTENTION = ("add_norm", "activated", "add_norm")


@pytest.fixture
def products(monkeypatch, cpu_with):
    """What the dense layers of models made from now on were asked for, in order: (method, rows)."""
    asked = []

    def recording(kind):
        class Recording(kind):
            def __call__(self, x, out=None):
                asked.append(("product", x.shape[0]))
                return super().__call__(x, out)

            def activated(self, x, activation, out=None):
                asked.append(("activated", x.shape[0]))
                return super().activated(x, activation, out)

            def add_norm(self, x, residual, norm):
                assert residual.shape[0] == x.shape[0]
                asked.append(("add_norm", x.shape[0]))
                return super().add_norm(x, residual, norm)

        return Recording

    kinds = {None: recording(PortableLinear), **dict.fromkeys(REDUCED, recording(CopyingLinear))}
    monkeypatch.setattr("bertfast.backends.cpu.select_cpu_linear", lambda dtype, precision: kinds[precision])
    cpu_with(*REDUCED.values())
    multiply_by("onednn", monkeypatch)
    return asked


@pytest.fixture
def run(products, make_config, make_batch, stock_and_fast):
    """``run(lengths, precision, dtype, ...)``: the products of one call of a model of one layer."""

    @torch.no_grad()
    def call(lengths, precision=None, dtype=torch.float32, class_name="BertModel", **inputs):
        config = make_config("gelu-1x2x32")
        fast = stock_and_fast(class_name, config, dtype, pad_outputs="zero", precision=precision).fast
        products.clear()
        fast(**make_batch(config, lengths), **inputs)
        return list(products)

    return call


def _blocks(rows, size):
    return [min(size, rows - start) for start in range(0, rows, size)]


def _layer(rows, size):
    """A whole layer of so many rows, what follows attention in blocks of ``size``."""
    return [("product", rows), *((method, block) for block in _blocks(rows, size) for method in _AFTER_ATTENTION)]


@pytest.mark.parametrize("states", [False, True])
@pytest.mark.parametrize("lengths", [_SOME, _MANY], ids=sum)
def test_float32_rows_are_those_of_the_tokens(run, lengths, states):
    assert run(lengths, output_hidden_states=states) == _layer(sum(lengths), 1024)


@pytest.mark.parametrize("states", [False, True])
@pytest.mark.parametrize("lengths", [_SOME, _MANY], ids=sum)
@pytest.mark.parametrize(("precision", "size"), [("bfloat16", 512), ("int8", 256)])
def test_rows_of_reduced_precisions_are_filled_up(run, lengths, precision, size, states):
    """oneDNN would compile code for each other number."""
    rows = padded_rows(sum(lengths))
    assert rows > sum(lengths)
    assert run(lengths, precision, output_hidden_states=states) == _layer(rows, size)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_rows_of_half_precision_models_are_filled_up(run, dtype):
    half = dtype.itemsize == 2
    assert run(_SOME, dtype=dtype) == _layer(padded_rows(305) if half else 305, 1024)


@pytest.mark.parametrize("precision", [None, *REDUCED])
def test_heads_that_read_one_token_compute_as_many_rows_as_texts(run, precision):
    """Filled up as all; keys and values are those of all tokens."""
    tokens, texts = (305, 8) if precision is None else (padded_rows(305), padded_rows(8))
    found = run(_SOME, precision, class_name="BertForSequenceClassification")
    assert found == [("product", texts), ("product", tokens), *_layer(texts, texts)[1:]]
