"""A pipeline over a data set or a generator gives its iterators away: whoever reads them otherwise sees padding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from torch import Tensor, nn

from dropin.pipelines import TASKS, TEXTS, assert_same_result, computes_padding, drops_padding, make_pipes

TOKENS, MASK = TASKS


def stream(pipe: Any, **options: Any) -> Any:
    """The results of a pipeline, asked for lazily, in batches of 3."""
    return pipe((text for text in TEXTS), batch_size=3, **options)


def sums(outputs: Any, **options: Any) -> list[float]:
    """The sum of all logits, in the place of a ``postprocess``."""
    found = outputs if isinstance(outputs, list) else [outputs]
    return [float(part["logits"].double().sum()) for part in found]


@pytest.mark.parametrize("task", TASKS)
def test_another_reader_sees_padding(make_model, tokenizer, task):
    pipes = make_pipes(make_model, tokenizer, task)
    expected, actual = ([], [])
    for pipe, found in zip(pipes, (expected, actual), strict=True):
        results = stream(pipe)
        results.infer = sums
        found.extend(results)
    assert_same_result(actual, expected)
    computes_padding(pipes[1])


@pytest.mark.parametrize("task", TASKS)
def test_a_method_of_the_iterators_own_sees_padding(make_model, tokenizer, task):
    pipes = make_pipes(make_model, tokenizer, task)
    expected, actual = ([], [])
    for pipe, found in zip(pipes, (expected, actual), strict=True):
        results = stream(pipe)
        own = results.loader.loader_batch_item

        def item(own: Any = own, found: list[Any] = found) -> Any:
            outputs = own()
            found.append(sums(outputs))
            return outputs

        results.loader.loader_batch_item = item
        found.extend(results)
    assert_same_result(actual, expected)
    computes_padding(pipes[1])


@pytest.mark.parametrize("task", TASKS)
def test_the_outputs_under_the_results_hold_padding(make_model, tokenizer, task):
    stock, fast = make_pipes(make_model, tokenizer, task)
    assert_same_result([sums(o) for o in stream(fast).loader], [sums(o) for o in stream(stock).loader])
    computes_padding(fast)


@pytest.mark.parametrize("task", TASKS)
def test_the_iterator_that_is_asked_for_directly(make_model, tokenizer, task):
    stock, fast = make_pipes(make_model, tokenizer, task)

    def ask(pipe: Any) -> Any:
        preprocess, forward, postprocess = pipe._sanitize_parameters()
        preprocess = {**pipe._preprocess_params, **preprocess}
        return pipe.get_iterator(TEXTS, 0, 3, preprocess, forward, postprocess)

    assert_same_result(list(ask(fast)), list(ask(stock)))
    drops_padding(fast)
    assert_same_result([sums(o) for o in ask(fast).loader], [sums(o) for o in ask(stock).loader])
    computes_padding(fast)


@pytest.mark.parametrize("task", TASKS)
def test_the_rest_of_a_batch_is_read_otherwise(make_model, tokenizer, task):
    """The first result was made without padding; what follows of the same batch is not read by ``postprocess``."""
    pipes = make_pipes(make_model, tokenizer, task)
    expected, actual = ([], [])
    for pipe, found in zip(pipes, (expected, actual), strict=True):
        results = iter(stream(pipe))
        found.append(next(results))
        if pipe is pipes[1]:
            drops_padding(pipe)
        found.append(sums(next(results.loader)))
        results.infer = sums
        found.extend(next(results) for _ in TEXTS[2:])
    assert_same_result(actual, expected)
    computes_padding(pipes[1])


def watch_scores(pipe: Any, monkeypatch: pytest.MonkeyPatch, found: list[float]) -> None:
    """A step of the postprocessing, that of the class, that looks at all positions."""
    kind = type(pipe)
    gather = kind.gather_pre_entities

    def gather_pre_entities(self: Any, sentence: Any, ids: Any, scores: Any, *args: Any, **kwargs: Any) -> Any:
        found.append(float(scores.std(axis=0).sum()))
        return gather(self, sentence, ids, scores, *args, **kwargs)

    monkeypatch.setattr(kind, "gather_pre_entities", gather_pre_entities)


def test_a_method_that_is_replaced_in_the_middle_of_a_batch(make_model, tokenizer, monkeypatch):
    pipes = make_pipes(make_model, tokenizer, TOKENS)
    results: list[Any] = []
    for pipe in pipes:
        found: list[float] = []
        asked = iter(stream(pipe))
        made = [next(asked)]
        watch_scores(pipe, monkeypatch, found)
        made.extend(next(asked) for _ in TEXTS[1:])
        monkeypatch.undo()
        results.append((made, found))
    (expected, seen), (actual, found) = results
    assert_same_result(actual, expected)
    assert_same_result(found, seen)
    assert seen


@pytest.mark.parametrize("change", ["another model", "a hook", "weights", "training mode"])
@pytest.mark.parametrize("task", TASKS)
def test_a_model_that_changes_in_the_middle_of_a_batch(make_model, tokenizer, task, change):
    """The rest of the batch is what the model gave before; a hook is called as often as stock calls it."""
    pipes, others = make_pipes(make_model, tokenizer, task), make_pipes(make_model, tokenizer, task)
    results: list[Any] = []
    for pipe, other in zip(pipes, others, strict=True):
        calls: list[Tensor] = []
        asked = iter(stream(pipe))
        made = [next(asked)]
        head = pipe.model.classifier if task == TOKENS else pipe.model.cls
        if change == "another model":
            for parameter in other.model.parameters():
                parameter.data.mul_(1.5)
            pipe.model = other.model
        if change == "a hook":
            head.register_forward_hook(lambda module, args, output, calls=calls: calls.append(output))
        if change == "weights":
            for parameter in head.parameters():
                parameter.data.mul_(1.5)
        if change == "training mode":
            nn.Module.train(head)
        made.extend(next(asked) for _ in TEXTS[1:])
        results.append((made, [list(output.shape) for output in calls]))
    (expected, seen), (actual, found) = results
    assert_same_result(actual, expected)
    assert found == seen


def test_a_model_and_a_method_that_change_in_the_middle_of_a_batch(make_model, tokenizer, monkeypatch):
    """The new model is not asked for the batch of the old one."""
    pipes, others = make_pipes(make_model, tokenizer, TOKENS), make_pipes(make_model, tokenizer, TOKENS)
    results = []
    for pipe, other in zip(pipes, others, strict=True):
        asked = iter(stream(pipe))
        made = [next(asked)]
        for parameter in other.model.parameters():
            parameter.data.mul_(1.5)
        pipe.model = other.model
        own = type(pipe).aggregate
        monkeypatch.setattr(type(pipe), "aggregate", lambda *args, own=own: own(*args))
        made.extend(next(asked) for _ in TEXTS[1:])
        monkeypatch.undo()
        results.append(made)
    assert_same_result(results[1], results[0])


def test_a_mask_token_that_changes_in_the_middle_of_a_batch(make_model, tokenizer):
    pipes = make_pipes(make_model, tokenizer, MASK)
    results = []
    for pipe in pipes:
        asked = iter(stream(pipe))
        made = [next(asked)]
        pipe.tokenizer.mask_token = "[PAD]"
        made.extend(next(asked) for _ in TEXTS[1:3])
        results.append(made)
    assert_same_result(results[1], results[0])


@pytest.mark.parametrize("task", TASKS)
def test_streams_of_one_pipeline_take_turns(make_model, tokenizer, task):
    stock, fast = make_pipes(make_model, tokenizer, task)

    def turns(pipe: Any) -> list[Any]:
        first, second = iter(stream(pipe)), iter(stream(pipe).loader)
        return [part for _ in TEXTS for part in (next(first), sums(next(second)))]

    assert_same_result(turns(fast), turns(stock))


@pytest.mark.parametrize("task", TASKS)
def test_a_pipeline_that_reads_its_own_results(make_model, tokenizer, task):
    """The texts of one stream come from another one, and its outputs are looked at between them."""
    stock, fast = make_pipes(make_model, tokenizer, task)

    def texts(pipe: Any, found: list[Any]) -> Iterator[str]:
        for text, outputs in zip(TEXTS, stream(pipe).loader, strict=True):
            found.append(sums(outputs))
            found.append(pipe([text, TEXTS[0]], batch_size=2))
            yield text

    def run(pipe: Any) -> list[Any]:
        found: list[Any] = []
        return [*pipe(texts(pipe, found), batch_size=3), *found]

    assert_same_result(run(fast), run(stock))
    drops_padding(fast)
