"""Several Python threads may call one model, and where its first call was made leaves no trace."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from dropin.helpers import attention, counted
from parity.heads import call_inputs
from tolerances import REDUCED_TOLERANCES, assert_same_output, relative_error
from torch import Tensor, nn

import bertfast

THREADS = 4


@pytest.fixture
def make_pair(make_config: Callable[..., Any], stock_and_fast: Callable[..., Any]) -> Callable[..., Any]:
    """``make_pair(class_name)``: stock and fast, without dropout."""

    def make(class_name: str = "BertModel") -> Any:
        options = {"attn_implementation": "sdpa", "hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}
        return stock_and_fast(class_name, make_config(**options))

    return make


@pytest.fixture
def batches(make_config: Callable[..., Any], make_batch: Callable[..., Any]) -> list[dict[str, Tensor]]:
    """A few batches of different shapes."""
    shapes = [(9, 4, 13), (3,), (1, 20, 2, 5), (7, 7)]
    return [make_batch(make_config(), lengths, seed=i) for i, lengths in enumerate(shapes)]


@pytest.fixture(autouse=True)
def _impatient_threads() -> Iterator[None]:
    """Threads take turns a thousand times as often as usual, so that races happen here and not at a user's."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(interval)


def _together(tasks: list[Callable[[], Any]]) -> list[Any]:
    """Run the tasks in a thread each, all starting at once; the first error is raised."""
    barrier = threading.Barrier(len(tasks))

    def run(task: Callable[[], Any]) -> Any:
        barrier.wait(30)
        return task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return [future.result(60) for future in [pool.submit(run, task) for task in tasks]]


def _infer(model: nn.Module, inputs: dict[str, Tensor]) -> Any:
    with torch.no_grad():
        return model(**inputs)


@pytest.mark.parametrize("class_name", ["BertModel", "BertForSequenceClassification"])
def test_threads_get_their_own_results_in_a_reduced_precision(make_pair, batches, class_name, precision):
    """The same bits as alone; the first of them copies the weights."""
    model = bertfast.accelerate(make_pair(class_name).fast, precision=precision, pad_outputs="zero")
    alone = bertfast.accelerate(copy.deepcopy(model), precision=precision, pad_outputs="zero")
    tasks = [lambda b=b: _infer(model, b)[0] for b in batches * 4]
    for batch, found in zip(batches * 4, _together(tasks), strict=True):
        assert torch.equal(found, _infer(alone, batch)[0])


@pytest.mark.parametrize("linear", ["blas", "onednn"])
@pytest.mark.parametrize("class_name", ["BertModel", "BertForSequenceClassification", "BertForMaskedLM"])
def test_threads_get_their_own_results(make_pair, batches, monkeypatch, class_name, linear):
    monkeypatch.setenv("BERTFAST_CPU_LINEAR", linear)
    pair = make_pair(class_name)
    inputs = [call_inputs(class_name, batch) for batch in batches]
    expected = [_infer(pair.stock, one) for one in inputs]
    rounds = 10

    def task(index: int) -> Callable[[], list[Any]]:
        return lambda: [_infer(pair.fast, inputs[(index + r) % len(inputs)]) for r in range(rounds)]

    with counted() as calls:
        results = _together([task(index) for index in range(THREADS)])
    assert calls == {"fast": THREADS * rounds}
    assert bertfast.explain(pair.fast).fast_calls == THREADS * rounds
    for index, outputs in enumerate(results):
        for r, output in enumerate(outputs):
            assert_same_output(output, expected[(index + r) % len(inputs)], pair.bound)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_first_call_may_race(make_pair, batches, mode):
    for _ in range(10):
        pair = make_pair()
        expected = _infer(pair.stock, batches[0]).last_hidden_state

        def task(model: nn.Module = pair.fast) -> Tensor:
            with mode():
                return model(**batches[0]).last_hidden_state

        for result in _together([task] * THREADS):
            assert_same_output(result.detach().clone(), expected.clone(), pair.bound)
        # The winner's weights are the model's own, not those of a thread that lost.
        for model in (pair.stock, pair.fast):
            attention(model).query.weight.data.mul_(2)
        pair.check(**batches[0])


def test_one_thread_falls_back_while_others_are_fast(make_pair, batches):
    pair = make_pair("BertForSequenceClassification")
    wanted = {"output_attentions": True}
    inputs = [batches[0], {**batches[0], **wanted}] * 2
    expected = _infer(pair.stock, batches[0]).logits
    with counted() as calls:
        results = _together([lambda one=one: [_infer(pair.fast, one).logits for _ in range(5)] for one in inputs])
    assert (calls["fast"], calls["stock"]) == (10, 10)
    for outputs in results:
        for output in outputs:
            assert_same_output(output, expected, pair.bound)


def test_hidden_states_in_one_thread_are_not_seen_in_another(make_pair, batches):
    """A head that reads one token runs beside one that shows all of them."""
    pair = make_pair("BertForSequenceClassification")
    all_states = {**batches[0], "output_hidden_states": True}
    expected = [_infer(pair.stock, one) for one in (batches[0], all_states)]
    tasks = [lambda one=one: [_infer(pair.fast, one) for _ in range(8)] for one in (batches[0], all_states)]
    for outputs, wanted in zip(_together(tasks), expected, strict=True):
        for output in outputs:
            assert_same_output(output, wanted, pair.bound)


def test_gradients_in_several_threads(make_pair, batches):
    pair = make_pair()

    def gradient(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        loss = model(**inputs).last_hidden_state.square().sum()
        return torch.autograd.grad(loss, attention(model).query.weight)[0]

    expected = [gradient(pair.stock, inputs) for inputs in batches]
    results = _together([lambda one=one: gradient(pair.fast, one) for one in batches])
    for result, wanted in zip(results, expected, strict=True):
        torch.testing.assert_close(result, wanted, rtol=1e-4, atol=1e-4)


def test_weights_are_given_up_while_others_call(make_pair, batches, precision):
    for _ in range(10):
        pair = make_pair()
        expected = _infer(pair.stock, batches[0]).last_hidden_state
        _infer(pair.fast, batches[0])

        def call(model: nn.Module = pair.fast) -> list[Tensor]:
            return [_infer(model, batches[0]).last_hidden_state for _ in range(5)]

        def give_up(model: nn.Module = pair.fast) -> list[Tensor]:
            bertfast.accelerate(model, precision=precision, keep_original=False)
            return [_infer(model, batches[0]).last_hidden_state]

        for results in _together([*[call] * (THREADS - 1), give_up]):
            for result in results:
                assert relative_error(result, expected) <= REDUCED_TOLERANCES[precision].model


@pytest.mark.parametrize("first", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_training_works_after_a_first_call_in_any_mode(make_pair, batches, first):
    pair = make_pair()
    with first():
        pair.fast(**batches[0])
    assert not any(p.is_inference() for p in pair.fast.parameters())
    assert all(p.is_leaf and p.requires_grad for p in pair.fast.parameters())

    for model in (pair.stock, pair.fast):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        for training in (True, False, True):
            model.train(training)
            optimizer.zero_grad()
            model(**batches[0]).last_hidden_state[:, 0].square().mean().backward()
            optimizer.step()
        model.eval()
    stock = dict(pair.stock.named_parameters())
    for name, parameter in pair.fast.named_parameters():
        torch.testing.assert_close(parameter, stock[name], rtol=1e-4, atol=1e-5, msg=name)
    pair.check(**batches[0])


def test_a_model_made_in_inference_mode(make_config, batches):
    with torch.inference_mode():
        model = bertfast.BertModel(make_config()).eval()
        before = model(**batches[0]).last_hidden_state
        attention(model).value.weight.mul_(50)
        after = model(**batches[0]).last_hidden_state
        assert (after - before).abs().max() > 1e-3
        bertfast.restore(model)
        torch.testing.assert_close(after, model(**batches[0]).last_hidden_state, rtol=1e-5, atol=1e-5)
