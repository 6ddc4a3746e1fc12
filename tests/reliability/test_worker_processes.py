"""Models sent to processes of ``spawn``: the same bits there and here, also afterwards, or a typed error."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
import torch
from precisions import needs

import bertfast
from bertfast.errors import ReleasedWeightsError
from reliability import soak

pytestmark = pytest.mark.slow


def _logits(model: Any, batch: dict[str, torch.Tensor]) -> bytes:
    with torch.no_grad():
        found: bytes = model(**batch).logits.numpy().tobytes()
    return found


def _in_worker(model: Any, batch: dict[str, torch.Tensor], threads: int) -> tuple[bytes, str, str]:
    """model: itself, which torch sends through shared memory, or its pickle."""
    torch.set_num_threads(threads)
    model = pickle.loads(model) if isinstance(model, bytes) else model
    found = _logits(model, batch)
    return found, type(model).__module__, str(bertfast.explain(model).path)


@pytest.fixture(scope="module")
def worker():
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("case", soak.CASES)
def test_a_worker_computes_the_same_bits(case, worker, make_config, stock_and_fast, make_batch):
    options = soak.CASES[case]
    if "precision" in options:
        needs(options["precision"])
    config = make_config("gelu_new-2x2x64")
    model = stock_and_fast("BertForSequenceClassification", config, **options).fast
    batch = make_batch(config)
    expected = _logits(model, batch)
    for sent in (pickle.dumps(model), model):
        found, module, path = worker.submit(_in_worker, sent, batch, torch.get_num_threads()).result(120)
        assert (found == expected, module, path) == (True, "bertfast.models.bert", "fast")
    # What was sent lies in shared memory from now on.
    assert _logits(model, batch) == expected
    with torch.no_grad():
        model.classifier.weight.mul_(2)
        next(p for n, p in model.named_parameters() if n.endswith("query.weight")).mul_(3)
    assert _logits(model, batch) == _logits(bertfast.accelerate(_twin(model), **options), batch)


def _twin(model: Any) -> Any:
    """A model of its own memory with the same weights."""
    made = type(model)(model.config).eval()
    made.load_state_dict(model.state_dict())
    return made


def test_without_originals_nothing_is_sent(precision, make_config, stock_and_fast, make_batch):
    config = make_config("gelu_new-2x2x64")
    model = stock_and_fast("BertModel", config).fast
    bertfast.accelerate(model, precision=precision, keep_original=False)
    batch = make_batch(config)
    with torch.no_grad():
        expected = model(**batch).last_hidden_state
    for dumps in (pickle.dumps, multiprocessing.reduction.ForkingPickler.dumps):
        with pytest.raises(ReleasedWeightsError):
            dumps(model)
    with torch.no_grad():
        assert torch.equal(model(**batch).last_hidden_state, expected)
