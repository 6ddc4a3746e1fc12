"""``precision=``: copies in bfloat16 and int8 around a float32 residual stream, with and without the originals."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from dropin.helpers import assert_differ
from precisions import REDUCED, needs
from tolerances import REDUCED_TOLERANCES, TOLERANCES

import bertfast
from bertfast.linear import missing
from compatibility import docstrings
from compatibility.behaviours import BOTH, FALLBACK, FAST, REFUSED, TRACED, behaviour
from compatibility.bench import BOUND, TEXTS, Bench, assert_same, plain, same_gradients
from compatibility.rows.adapters import with_lora
from compatibility.rows.sentence_transformers import embedder
from compatibility.rows.training import trainer_for
from compatibility.rows.weights import through_torch_save

_GROUP = "Precisions on a CPU"
_CLASS = "BertForSequenceClassification"


def _reduced(name: str, equal: str, path: str = FAST) -> Callable[[Callable[[Bench, str], None]], None]:
    """A row for each reduced precision, skipped where the CPU is not fast at it. {p} stands for the precision."""

    def register(run: Callable[[Bench, str], None]) -> None:
        for precision in REDUCED:

            @behaviour(_GROUP, name.format(p=precision), equal.format(p=precision), path)
            def run_in(bench: Bench, precision: str = precision) -> None:
                needs(precision)
                run(bench, precision)

    return register


def _bound(precision: str) -> float:
    return REDUCED_TOLERANCES[precision].model


def _pair(bench: Bench, precision: str, class_name: str = _CLASS, keep_original: bool = True, **changes: Any) -> Any:
    pair = bench.pair(class_name, **changes)
    bertfast.accelerate(pair.fast, precision=precision, keep_original=keep_original)
    return pair


def _check(bench: Bench, precision: str, stock: Any, fast: Any) -> Any:
    """Within the bound, and not by chance: the dense layers were multiplied in ``precision``."""
    found = bench.same(plain(bench.batch()), stock, fast, _bound(precision))
    assert bertfast.explain(fast).matmul_precision == precision
    return found


@_reduced('`accelerate(model, precision="{p}")`', "all outputs within the bound of {p}")
def _accelerated(bench: Bench, precision: str) -> None:
    for class_name in ("BertModel", _CLASS, "BertForTokenClassification"):
        pair = _pair(bench, precision, class_name)
        _check(bench, precision, pair.stock, pair.fast)


@_reduced('`from_pretrained(path, precision="{p}", keep_original=False)`', "all outputs within the bound of {p}")
def _loaded(bench: Bench, precision: str) -> None:
    stock = bench.pair(_CLASS).stock
    stock.save_pretrained(bench.folder)
    for name in (_CLASS, "AutoModelForSequenceClassification"):
        options = {"precision": precision, "keep_original": False}
        fast = getattr(bertfast, name).from_pretrained(bench.folder, **options).eval()
        _check(bench, precision, stock, fast)


@_reduced('`bertfast.pipeline(task, precision="{p}")`', "labels; scores within the bound of {p}")
def _pipeline(bench: Bench, precision: str) -> None:
    model = bench.pair(_CLASS, vocab_size=30522).stock
    parts = {"task": "text-classification", "tokenizer": bench.tokenizer, "device": "cpu"}
    expected = transformers.pipeline(model=copy.deepcopy(model), **parts)(TEXTS, batch_size=4)
    pipe = bertfast.pipeline(model=model, precision=precision, **parts)
    assert_same(pipe(TEXTS, batch_size=4), expected, _bound(precision))
    assert bertfast.explain(pipe).matmul_precision == precision


@_reduced('`SentenceTransformer.encode` of docstrings, `precision="{p}"`', "vectors within the bound of {p}")
def _encode(bench: Bench, precision: str) -> None:
    model, texts = embedder(bench), [text for text, _ in docstrings.labelled("train")]
    expected = model.encode(texts)
    bertfast.accelerate(model, precision=precision)
    assert_same(model.encode(texts), expected, _bound(precision))
    assert bertfast.explain(model).matmul_precision == precision


@_reduced('`Trainer.predict`, `precision="{p}"`', "predictions within the bound of {p}")
def _predict(bench: Bench, precision: str) -> None:
    pair = _pair(bench, precision, vocab_size=30522, num_labels=docstrings.NUM_LABELS)

    def predict(model: Any) -> Any:
        trainer = trainer_for(bench, model, bench.folder)
        return trainer.predict(trainer.eval_dataset).predictions

    bench.same(predict, pair.stock, pair.fast, _bound(precision))


@_reduced('a step of training, then eval, `precision="{p}"`', "weights; all outputs within the bound of {p}", BOTH)
def _trained(bench: Bench, precision: str) -> None:
    pair, batch = _pair(bench, precision), bench.batch()
    before = _check(bench, precision, pair.stock, pair.fast)
    for model in (pair.stock, pair.fast):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        model.train()(**batch, labels=torch.arange(5) % 2).loss.backward()
        optimizer.step()
        model.eval()
    assert_same(dict(pair.fast.state_dict()), dict(pair.stock.state_dict()), 0)
    assert_differ(_check(bench, precision, pair.stock, pair.fast).logits, before.logits)


@_reduced('gradients in eval mode, for given gradients of the outputs, `precision="{p}"`', "all gradients, as float32")
def _gradients(bench: Bench, precision: str) -> None:
    pair, batch = _pair(bench, precision, "BertModel"), bench.batch()
    same_gradients(lambda model: model(**batch).last_hidden_state.sum(), pair.stock, pair.fast)


@_reduced(
    'LoRA: `accelerate(peft_model, precision="{p}")`, active, then merged',
    "all outputs, merged within the bound of {p}",
    BOTH,
)
def _adapters(bench: Bench, precision: str) -> None:
    # At full strength these adapters outweigh the layers' own weights, and attention is too sharp for a bound.
    stock = with_lora(bench, bench.pair(_CLASS).stock, lora_alpha=1)
    fast = bertfast.accelerate(copy.deepcopy(stock), precision=precision)
    bench.same(plain(bench.batch()), stock, fast)
    _check(bench, precision, stock.merge_and_unload(), fast.merge_and_unload())


@_reduced(
    '`copy.deepcopy`, pickle, `torch.save(model)`, `precision="{p}"`', "all outputs of the copy within the bound of {p}"
)
def _copied(bench: Bench, precision: str) -> None:
    pair = _pair(bench, precision)
    for make in (copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model)), through_torch_save):
        _check(bench, precision, make(pair.stock), make(pair.fast))


@_reduced('`torch.compile(model)`, `precision="{p}"`: computes float32', "all outputs", TRACED)
def _compiled(bench: Bench, precision: str) -> None:
    pair = _pair(bench, precision)
    torch._dynamo.reset()
    bench.same(plain(bench.batch()), pair.stock, torch.compile(pair.fast, backend="aot_eager"), BOUND)


_USES: dict[str, Callable[[Any, Bench], Any]] = {
    "training": lambda model, bench: model.train()(**bench.batch()),
    "`output_attentions`": lambda model, bench: model(**bench.batch(), output_attentions=True),
    "`state_dict`": lambda model, bench: model.state_dict(),
    "`load_state_dict`": lambda model, bench: model.load_state_dict(bench.pair(_CLASS).stock.state_dict()),
    "`save_pretrained`": lambda model, bench: model.save_pretrained(bench.folder),
    "`.half()`": lambda model, bench: model.half(),
    "`copy.deepcopy`, called": lambda model, bench: copy.deepcopy(model)(**bench.batch()),
    "pickle, called": lambda model, bench: pickle.loads(pickle.dumps(model))(**bench.batch()),
    "`torch.compile`": lambda model, bench: torch.compile(model, backend="eager")(**bench.batch()),
    "`bertfast.restore`": lambda model, bench: bertfast.restore(model),
}


def _refused_without_originals(name: str, use: Callable[[Any, Bench], Any]) -> None:
    @behaviour(_GROUP, f"`keep_original=False`: {name}", "error", REFUSED)
    def run(bench: Bench) -> None:
        precision = next((name for name in REDUCED if missing(name) is None), "bfloat16")
        needs(precision)
        torch._dynamo.reset()
        pair = _pair(bench, precision, keep_original=False)
        with torch.no_grad():
            bench.refused(lambda model: use(model, bench), pair.stock, pair.fast)
        _check(bench, precision, bench.pair(_CLASS).stock, pair.fast.eval())


for _name, _use in _USES.items():
    _refused_without_originals(_name, _use)


@behaviour(_GROUP, '`precision="auto"`', "all outputs within the bound of what it takes: bfloat16, else float32")
def _auto(bench: Bench) -> None:
    pair = _pair(bench, "auto")
    bound = BOUND if missing("bfloat16") else _bound("bfloat16")
    bench.same(plain(bench.batch()), pair.stock, pair.fast, bound)


@behaviour(_GROUP, "a CPU that lacks the instructions: computes float32, keeps the originals", "weights; all outputs")
def _lacking(bench: Bench) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bertfast.backends.cpu.missing", lambda precision: "this CPU has no such thing")
        for precision in REDUCED:
            pair = _pair(bench, precision, keep_original=False)
            bench.same(plain(bench.batch()), pair.stock, pair.fast)
            assert_same(dict(pair.fast.state_dict()), dict(pair.stock.state_dict()), 0)


@behaviour(_GROUP, '`precision="bfloat16"` or `"auto"` for a bfloat16 model: its own dtype', "all outputs, dtype")
def _own_dtype(bench: Bench) -> None:
    for precision in ("bfloat16", "auto"):
        pair = bench.pair(_CLASS, torch.bfloat16)
        bertfast.accelerate(pair.fast, precision=precision)
        bench.same(plain(bench.batch()), pair.stock, pair.fast, TOLERANCES[torch.bfloat16].model)


@behaviour(_GROUP, '`precision="int8"`, then `.half()`', "all outputs", FALLBACK)
def _converted(bench: Bench) -> None:
    pair = _pair(bench, "int8")
    bench.same(plain(bench.batch()), pair.stock.half(), pair.fast.half(), TOLERANCES[torch.float16].model)


@behaviour(_GROUP, '`accelerate(model, precision="int8")` for a half-precision model', "error", REFUSED)
def _half(bench: Bench) -> None:
    pair = bench.pair(_CLASS, torch.float16)
    bench.refused(lambda m: m is pair.stock or bertfast.accelerate(m, precision="int8"), pair.stock, pair.fast)


@behaviour(_GROUP, '`AutoModel.from_pretrained(path, precision="int8")` of a DistilBERT', "error", REFUSED)
def _other_model(bench: Bench) -> None:
    config = transformers.DistilBertConfig(vocab_size=50, dim=16, hidden_dim=16, n_heads=2, n_layers=1)
    transformers.DistilBertModel(config).save_pretrained(bench.folder)
    bench.refused(
        lambda package: package.AutoModel.from_pretrained(
            bench.folder, **({"precision": "int8"} if package is bertfast else {})
        ),
        transformers,
        bertfast,
    )
