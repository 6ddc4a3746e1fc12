"""transformers' pipelines, in each of the ways to make one fast."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import transformers

import bertfast
from compatibility.behaviours import ABSENT, BOTH, FALLBACK, FAST, V5, NotInThisVersion, behaviour
from compatibility.bench import TEXTS, Bench, assert_same
from compatibility.rows.applications import translator

_GROUP = "Pipelines"
_MASKED = [f"{text} [MASK] it is." for text in TEXTS]
_ZERO_SHOT = {"candidate_labels": ["sport", "cooking", "law"]}


def _pipelines(task: str, model: Any, tokenizer: Any, **options: Any) -> dict[str, Callable[[], Any]]:
    """How people make one: bertfast's function, an accelerated model, a pipeline accelerated afterwards."""

    def make(package: Any, model: Any) -> Any:
        return package.pipeline(task, model=model, tokenizer=tokenizer, device="cpu", **options)

    return {
        "bertfast.pipeline": lambda: make(bertfast, copy.deepcopy(model)),
        "pipeline(model=accelerated)": lambda: make(transformers, bertfast.accelerate(copy.deepcopy(model))),
        "accelerate(pipeline)": lambda: bertfast.accelerate(make(transformers, copy.deepcopy(model))),
    }


def _check(bench: Bench, task: str, class_name: str, data: Any, made: dict[str, Any], options: dict[str, Any]) -> None:
    """Every way, and `install`, gives what stock's pipeline gives, with and without batching."""
    model = bench.pair(class_name, vocab_size=30522).stock
    stock = transformers.pipeline(task, model=model, tokenizer=bench.tokenizer, device="cpu", **made)
    for batch_size in (1, 4):
        expected = stock(data, batch_size=batch_size, **options)
        for make in _pipelines(task, model, bench.tokenizer, **made).values():
            _assert_same(make()(data, batch_size=batch_size, **options), expected)
        bertfast.install()
        try:
            _assert_same(stock(data, batch_size=batch_size, **options), expected)
        finally:
            bertfast.uninstall()


def _assert_same(actual: Any, expected: Any) -> None:
    assert_same(_plain(actual), _plain(expected))


def _plain(result: Any) -> Any:
    """Nested lists of numbers as one array, so that they are compared as a whole."""
    if isinstance(result, list) and result and isinstance(result[0], list) and isinstance(result[0][0], list | float):
        try:
            return np.asarray(result, dtype=np.float64)
        except ValueError:
            return [_plain(part) for part in result]
    return result


def _task(
    task: str,
    class_name: str,
    data: Any,
    options: dict[str, Any] | None = None,
    name: str | None = None,
    made: dict[str, Any] | None = None,
    equal: str = "labels, scores",
    v5: str = FAST,
) -> None:
    @behaviour(_GROUP, name or f"`{task}`", equal, v5, v4=FAST)
    def run(bench: Bench) -> None:
        if task not in transformers.pipelines.SUPPORTED_TASKS and task not in transformers.pipelines.TASK_ALIASES:
            raise NotInThisVersion
        _check(bench, task, class_name, data, made or {}, options or {})


_task("text-classification", "BertForSequenceClassification", TEXTS, {"top_k": None})
_task("sentiment-analysis", "BertForSequenceClassification", TEXTS, {"function_to_apply": "sigmoid"})
_task("token-classification", "BertForTokenClassification", TEXTS, {"aggregation_strategy": "none"})
_task("ner", "BertForTokenClassification", TEXTS, {"aggregation_strategy": "simple"}, "`ner`, aggregated")
_task("fill-mask", "BertForMaskedLM", _MASKED, {"top_k": 3}, equal="words, scores")
_task("zero-shot-classification", "BertForSequenceClassification", TEXTS, _ZERO_SHOT)
_task(
    "feature-extraction",
    "BertModel",
    TEXTS,
    name="`feature-extraction`, padded batches",
    made={"tokenize_kwargs": {"padding": True}},
    equal="every position",
)
_task("feature-extraction", "BertModel", TEXTS[0], {"return_tensors": True}, equal="every position")
_task(
    "question-answering",
    "BertForQuestionAnswering",
    {"question": TEXTS[0], "context": TEXTS[1]},
    equal="answer, score",
    v5=ABSENT,
)


@behaviour(_GROUP, "`token-classification`, `fill-mask`: a hook that sees padding", "every position")
def _watched(bench: Bench) -> None:
    for task, class_name in (("token-classification", "BertForTokenClassification"), ("fill-mask", "BertForMaskedLM")):
        pair = bench.pair(class_name, vocab_size=30522)
        seen: dict[bool, list[torch.Tensor]] = {False: [], True: []}
        for fast in (False, True):
            package, model = (bertfast, pair.fast) if fast else (transformers, pair.stock)
            pipe = package.pipeline(task, model=model, tokenizer=bench.tokenizer, device="cpu")
            pipe(_MASKED, batch_size=4)
            model.register_forward_hook(lambda _, args, output, seen=seen[fast]: seen.append(output["logits"]))
            pipe(_MASKED, batch_size=4)
        assert len(seen[True]) == len(seen[False]) > 0
        for actual, expected in zip(seen[True], seen[False], strict=True):
            assert_same(actual, expected)


@behaviour(_GROUP, "`text-generation` with a BERT decoder", "text", FALLBACK)
def _generation(bench: Bench) -> None:
    pair = bench.pair("BertLMHeadModel", vocab_size=30522, is_decoder=True, eos_token_id=None)
    options = {"max_new_tokens": 5, "do_sample": False}

    def generate(model: Any) -> Any:
        return transformers.pipeline("text-generation", model=model, tokenizer=bench.tokenizer)(TEXTS[0], **options)

    bench.same(generate, pair.stock, pair.fast)


@behaviour(
    _GROUP, "`summarization`, `translation`, `text2text-generation` with a BERT encoder", "text", ABSENT, v4=BOTH
)
def _text_to_text(bench: Bench) -> None:
    if V5:
        raise NotInThisVersion
    stock = translator(bench)
    fast = bertfast.accelerate(copy.deepcopy(stock))
    for task in ("summarization", "translation", "text2text-generation"):

        def generate(model: Any, task: str = task) -> Any:
            pipe = transformers.pipeline(task, model=model, tokenizer=bench.tokenizer, device="cpu")
            return pipe(TEXTS, batch_size=2, max_new_tokens=6, do_sample=False)

        bench.same(generate, stock, fast)


@behaviour(_GROUP, "a pipeline over a generator and over a data set", "labels, scores")
def _streams(bench: Bench) -> None:
    pair = bench.pair("BertForSequenceClassification", vocab_size=30522)

    class Texts(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(TEXTS)

        def __getitem__(self, index: int) -> str:
            return TEXTS[index]

    def classify(model: Any) -> Any:
        pipe = transformers.pipeline("text-classification", model=model, tokenizer=bench.tokenizer, device="cpu")
        return [*pipe((text for text in TEXTS), batch_size=3), *pipe(Texts(), batch_size=4)]

    assert len(bench.same(classify, pair.stock, pair.fast)) == 2 * len(TEXTS)


@behaviour(_GROUP, "a pipeline made from a folder, `bertfast.pipeline(task, model=path)`", "labels, scores")
def _from_folder(bench: Bench) -> None:
    bench.pair("BertForSequenceClassification", vocab_size=30522).stock.save_pretrained(bench.folder)
    bench.tokenizer.save_pretrained(bench.folder)
    task = "text-classification"
    bench.same(
        lambda package: package.pipeline(task, model=str(bench.folder), device="cpu")(TEXTS, batch_size=4),
        transformers,
        bertfast,
    )


@behaviour(_GROUP, "`pipeline.save_pretrained`", "every file, byte for byte")
def _saved(bench: Bench) -> None:
    pair = bench.pair("BertForSequenceClassification", vocab_size=30522)
    for package, model, name in ((transformers, pair.stock, "stock"), (bertfast, pair.fast, "fast")):
        pipe = package.pipeline("text-classification", model=model, tokenizer=bench.tokenizer, device="cpu")
        pipe(TEXTS)
        pipe.save_pretrained(bench.folder / name)
    stock, fast = ({f.name: f.read_bytes() for f in (bench.folder / n).iterdir()} for n in ("stock", "fast"))
    assert fast == stock
