"""The tutorial's circle: fine-tune, evaluate, save, load in stock transformers, predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from parity.heads import CLASSES, call_inputs
from tolerances import TOLERANCES

import bertfast
from compatibility import docstrings
from compatibility.behaviours import BOTH, FALLBACK, behaviour
from compatibility.bench import BOUND, Bench, assert_same, plain, same_gradients

_GROUP = "Fine-tuning"
_CLASS = "BertForSequenceClassification"


def _check_the_circle(bench: Bench, models: tuple[Any, Any]) -> None:
    """Trained alike: same weights and, evaluated, same logits; each loads the other's files and predicts the same."""
    stock, fast = models
    assert_same(dict(fast.state_dict()), dict(stock.state_dict()), 0)
    accuracy, logits = docstrings.evaluate(stock, bench.tokenizer)
    assert accuracy > 0.6, "it has learnt nothing; this proves nothing"
    assert_same(docstrings.evaluate(fast, bench.tokenizer), (accuracy, logits))
    fast.save_pretrained(bench.folder / "fast")
    stock.save_pretrained(bench.folder / "stock")
    loaded = getattr(transformers, _CLASS).from_pretrained(bench.folder / "fast")
    assert_same(docstrings.evaluate(loaded, bench.tokenizer), (accuracy, logits), 0)
    loaded = getattr(bertfast, _CLASS).from_pretrained(bench.folder / "stock")
    assert_same(docstrings.evaluate(loaded, bench.tokenizer), (accuracy, logits))


@behaviour(_GROUP, "MiniLM, a plain loop; evaluate, save, load, predict", "losses, weights, logits", BOTH, slow=True)
def _plain_loop(bench: Bench) -> None:
    models = bench.real(_CLASS, num_labels=docstrings.NUM_LABELS)
    losses = [docstrings.train(model, bench.tokenizer) for model in models]
    assert losses[1] == losses[0]
    assert losses[0][-1] < losses[0][0]
    _check_the_circle(bench, models)


def trainer_for(bench: Bench, model: Any, folder: Path, **options: Any) -> transformers.Trainer:
    """A Trainer of two epochs on docstrings."""
    pytest.importorskip("accelerate", reason="the Trainer needs accelerate")
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        use_cpu=True,
        report_to=[],
        seed=1,
        learning_rate=2e-4,
        num_train_epochs=2,
        per_device_eval_batch_size=8,
        save_strategy="no",
        disable_tqdm=True,
        **options,
    )
    return transformers.Trainer(
        model,
        arguments,
        data_collator=transformers.DataCollatorWithPadding(bench.tokenizer),
        train_dataset=docstrings.examples(bench.tokenizer, "train"),
        eval_dataset=docstrings.examples(bench.tokenizer, "test"),
        compute_metrics=lambda p: {"accuracy": float((p.predictions.argmax(1) == p.label_ids).mean())},
    )


@behaviour(_GROUP, "MiniLM, `Trainer.train`, `evaluate`, `predict`", "losses, weights, predictions", BOTH, slow=True)
def _with_the_trainer(bench: Bench) -> None:
    models = bench.real(_CLASS, num_labels=docstrings.NUM_LABELS)
    results = []
    for model in models:
        trainer = trainer_for(bench, model, bench.folder / "run", eval_strategy="epoch")
        loss = trainer.train().training_loss
        metrics = {k: v for k, v in trainer.evaluate().items() if k in ("eval_loss", "eval_accuracy")}
        results.append((loss, metrics, trainer.predict(trainer.eval_dataset).predictions))
    assert results[1][0] == results[0][0]
    assert_same(results[1], results[0])
    _check_the_circle(bench, models)


@behaviour(_GROUP, "`Trainer.predict`, ragged batches", "predictions")
def _predict(bench: Bench) -> None:
    for class_name in (_CLASS, "BertForTokenClassification"):
        pair = bench.pair(class_name, vocab_size=30522)
        data = [{"input_ids": row["input_ids"]} for row in docstrings.examples(bench.tokenizer, "test")]

        def predict(model: Any, data: Any = data) -> np.ndarray:
            return trainer_for(bench, model, bench.folder).predict(data).predictions

        bench.same(predict, pair.stock, pair.fast)


@behaviour(_GROUP, "`Trainer` with gradient checkpointing and accumulation", "losses, weights, loss", BOTH)
def _checkpointed_trainer(bench: Bench) -> None:
    pair = bench.pair(_CLASS, vocab_size=30522, num_labels=docstrings.NUM_LABELS, hidden_dropout_prob=0.1)
    results = []
    for model in (pair.stock, pair.fast):
        options = {"gradient_checkpointing": True, "gradient_accumulation_steps": 2, "max_steps": 3}
        trainer = trainer_for(bench, model, bench.folder, **options)
        loss = trainer.train().training_loss
        results.append((loss, dict(model.state_dict())))
        results[-1] += (trainer.evaluate()["eval_loss"],)
    assert_same(results[1][:2], results[0][:2], 0)
    assert_same(results[1][2], results[0][2])


@behaviour(_GROUP, "a frozen encoder and a trained head, in eval mode", "losses, head's weights")
def _linear_probe(bench: Bench) -> None:
    stock, fast = bench.real(_CLASS, num_labels=docstrings.NUM_LABELS)
    results = []
    for model in (stock, fast):
        model.bert.requires_grad_(False)
        optimizer = torch.optim.SGD(model.classifier.parameters(), lr=0.5)
        losses = []
        for batch in docstrings.batches(bench.tokenizer, "train"):
            loss = model(**batch).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        results.append((losses, model.classifier.weight))
    assert_same(results[1], results[0])


@behaviour(_GROUP, "labels and `loss.backward()` in eval mode, all heads", "all gradients")
def _gradients(bench: Bench) -> None:
    for class_name in CLASSES:
        pair = bench.pair(class_name)
        inputs = call_inputs(class_name, bench.batch(), labels=True)

        def loss(model: Any, inputs: Any = inputs, class_name: str = class_name) -> torch.Tensor:
            output = model(**inputs)
            return output.last_hidden_state.square().mean() if class_name == "BertModel" else output.loss

        same_gradients(loss, pair.stock, pair.fast)


@behaviour(_GROUP, "`Trainer(bf16_full_eval=True)`: evaluation in bfloat16", "predictions")
def _bf16_evaluation(bench: Bench) -> None:
    pair = bench.pair(_CLASS, vocab_size=30522, num_labels=docstrings.NUM_LABELS)

    def predict(model: Any) -> np.ndarray:
        trainer = trainer_for(bench, model, bench.folder, bf16_full_eval=True)
        return trainer.predict(trainer.eval_dataset).predictions

    bench.same(predict, pair.stock, pair.fast, TOLERANCES[torch.bfloat16].model)


@behaviour(_GROUP, "`Trainer(bf16=True)`: autocast", "losses, predictions", FALLBACK)
def _bf16(bench: Bench) -> None:
    pair = bench.pair(_CLASS, vocab_size=30522, num_labels=docstrings.NUM_LABELS)
    results = []
    with pytest.MonkeyPatch.context() as patch:
        # The Trainer leaves its choice here, for everything that comes later in this process.
        patch.setenv("ACCELERATE_MIXED_PRECISION", "no")
        for model in (pair.stock, pair.fast):
            trainer = trainer_for(bench, model, bench.folder, bf16=True, max_steps=2)
            results.append((trainer.train().training_loss, trainer.predict(trainer.eval_dataset).predictions))
    trainer.accelerator.state._reset_state(reset_partial_state=True)
    assert_same(results[1], results[0], 0)


@behaviour(_GROUP, "weights updated by an optimizer between calls", "logits after each step")
def _steps(bench: Bench) -> None:
    pair, batch = bench.pair(_CLASS), bench.batch()
    optimizers = [torch.optim.AdamW(m.parameters(), lr=1e-2) for m in (pair.stock, pair.fast)]
    for _ in range(3):
        pair.check(**batch)
        for model, optimizer in zip((pair.stock, pair.fast), optimizers, strict=True):
            optimizer.zero_grad()
            # Equal gradients by construction: what is compared is who notices the step.
            for parameter in model.parameters():
                parameter.grad = torch.ones_like(parameter)
            optimizer.step()
    bench.same(plain(batch), pair.stock, pair.fast, BOUND)
