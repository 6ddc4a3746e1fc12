"""What bertfast leaves on a model: nothing that a stock model's reader would need bertfast for, and no memory."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import transformers
from tolerances import assert_same_output
from torch import nn

import bertfast
from bertfast import engines
from bertfast.engine import Engine
from bertfast.options import Options
from dropin.helpers import counted, encoder_of, output_of, state_of

HEAD = "BertForSequenceClassification"

_LOAD_WITHOUT_BERTFAST = """
import sys
sys.modules["bertfast"] = None  # import bertfast raises ImportError
import torch
model, batch = torch.load(sys.argv[1], weights_only=False)
with torch.no_grad():
    torch.save((type(model).__module__, model(**batch).logits), sys.argv[2])
"""


@contextmanager
def _accelerate_and_restore(model: nn.Module) -> Iterator[None]:
    bertfast.accelerate(model, pad_outputs="exact")
    yield
    bertfast.restore(model)


WAYS: dict[str, Callable[[nn.Module], Any]] = {
    "installed": lambda model: bertfast.installed(),
    "accelerated": bertfast.accelerated,
    "accelerate, restore": _accelerate_and_restore,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("class_name", ["BertModel", HEAD])
def test_a_model_is_what_it_was(make_pair, batch, class_name, way):
    model = make_pair(class_name).stock
    before = state_of(model)
    with way(model), counted() as calls:
        output_of(model, batch)
    assert calls == {"fast": 1}
    assert state_of(model) == before


def test_uninstall_frees_what_was_prepared_for_stock_models_only(make_pair, batch):
    pair = make_pair()
    bertfast.install()
    for model in (pair.stock, pair.fast):
        output_of(model, batch)
    stock, fast = (weakref.ref(engines.of(model)) for model in (pair.stock, pair.fast))
    bertfast.uninstall()
    gc.collect()
    assert stock() is None
    assert fast() is engines.of(pair.fast)


def test_a_block_puts_no_engine_back_that_install_has_given_up(make_pair, batch):
    model = make_pair().stock
    bertfast.install()
    output_of(model, batch)
    with bertfast.accelerated(model):
        bertfast.uninstall()
    assert engines.held(model) is None


@pytest.mark.slow
@pytest.mark.parametrize("when", ["inside", "after", "a copy of inside"])
def test_a_stock_model_loads_where_there_is_no_bertfast(make_pair, batch, tmp_path, when):
    model = make_pair(HEAD).stock
    expected = output_of(model, batch).logits
    saved, answer = tmp_path / "model.pt", tmp_path / "answer.pt"
    with bertfast.installed():
        output_of(model, batch)
        if when == "inside":
            torch.save((model, batch), saved)
        duplicate = copy.deepcopy(model)
    if when != "inside":
        torch.save((model if when == "after" else duplicate, batch), saved)
    # From the temporary folder: the clone itself would be importable.
    done = subprocess.run(
        [sys.executable, "-c", _LOAD_WITHOUT_BERTFAST, str(saved), str(answer)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    home, logits = torch.load(answer)
    assert home == transformers.BertForSequenceClassification.__module__
    assert torch.equal(logits, expected)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_engine_does_not_travel_but_options_that_were_asked_for_do(pair, protocol):
    options = Options(pad_outputs="zero")
    for make_copy in (copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing, protocol))):
        assert make_copy(engines.of(pair.fast)) is None
        assert make_copy(Engine(options)).options == options
    assert b"bertfast" not in pickle.dumps(engines.of(pair.fast), protocol)


@pytest.mark.parametrize("make_copy", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_of_a_model_that_install_runs(make_pair, batch, make_copy):
    pair = make_pair(HEAD)
    expected = output_of(pair.stock, batch)
    with bertfast.installed():
        output_of(pair.stock, batch)
        duplicate = make_copy(pair.stock)
        again = make_copy(duplicate)
        for model in (duplicate, again):
            with counted() as calls:
                assert_same_output(output_of(model, batch), expected, pair.bound)
            assert calls == {"fast": 1}
            assert bertfast.explain(model).fast_calls == 1
    assert engines.held(encoder_of(duplicate)) is None


def test_options_travel_through_copies_of_copies(pair):
    bertfast.accelerate(pair.fast, pad_outputs="zero", on_fallback="silent", cuda_graphs=False)
    options = engines.of(pair.fast).options
    model = pair.fast
    for make_copy in (copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), copy.copy, copy.deepcopy):
        engine, model = engines.of(model), make_copy(model)
        assert engines.of(model) is not engine
        assert engines.of(model) is engines.of(model)
        assert engines.of(model).options == options


@pytest.mark.parametrize("way", ["accelerate", "installed"])
def test_replicas_of_data_parallel_have_engines_of_their_own(make_pair, batch, way):
    pair = make_pair()
    model = pair.stock
    expected = output_of(model, batch)
    if way == "accelerate":
        bertfast.accelerate(model, pad_outputs="exact")
    with bertfast.installed():
        output_of(model, batch)
        replica = model._replicate_for_data_parallel()
        assert_same_output(output_of(replica, batch), expected, pair.bound)
        assert engines.of(replica) is not engines.of(model)
        assert engines.of(replica).options == engines.of(model).options
        assert bertfast.explain(model).fast_calls == bertfast.explain(replica).fast_calls == 1


@pytest.mark.parametrize("way", ["accelerate", "install"])
def test_a_model_that_holds_itself_is_collected(make_pair, batch, way):
    """As bound methods among its attributes do; what is prepared for it must not keep it alive."""
    model = make_pair(HEAD).stock
    model.bert.holders = [model, model.bert, model.bert.forward]
    with bertfast.installed():
        if way == "accelerate":
            bertfast.accelerate(model)
        with counted() as calls:
            output_of(model, batch)
        assert calls == {"fast": 1}
        gone = weakref.ref(model), weakref.ref(model.bert), weakref.ref(engines.of(model.bert))
        del model
        gc.collect()
        assert [ref() for ref in gone] == [None, None, None]
