"""Loads what a user names: a folder or a model of the hub, its class, its tokenizer, a device."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from huggingface_hub.constants import HF_HUB_OFFLINE
from torch import nn

from bertfast.bench.models import SIZES
from bertfast.cli.errors import UsageError
from bertfast.environment.gpus import why_no_gpu
from bertfast.environment.privacy import public, public_name
from bertfast.model_names import path_of

T = TypeVar("T")
_TASKS = {
    "feature-extraction": "AutoModel",
    "fill-mask": "AutoModelForMaskedLM",
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "next-sentence-prediction": "AutoModelForNextSentencePrediction",
    "pretraining": "AutoModelForPreTraining",
}
#: What ``--task`` takes.
TASKS = tuple(_TASKS)


@dataclass(frozen=True)
class Source:
    """Where a model is: name, as the user gave it; label: the same for a report; class_name: of transformers."""

    name: str
    label: str
    class_name: str
    config: Any

    def load(self) -> tuple[nn.Module, list[str]]:
        """The stock model in eval mode, and the names of weights that the files do not hold: those are random."""
        make = getattr(transformers, self.class_name).from_pretrained
        model, found = loaded(self.label, make, path_of(self.name), dtype=torch.float32, output_loading_info=True)
        return model.eval(), sorted(found["missing_keys"])


def find_model(name: str, task: str | None = None) -> Source:
    """task: one of `TASKS`; None for the class that the model was saved from. Raises UsageError."""
    if task is not None and task not in _TASKS:
        raise UsageError(f"--task {task}: expected one of {', '.join(TASKS)}")
    if name in SIZES and not Path(name).exists():
        raise UsageError(
            f"{name}: a size for bertfast bench, whose weights are drawn; expected a folder, or a name on the hub"
        )
    config = load_config(name)
    saved = (config.architectures or ["AutoModel"])[0]
    class_name = saved if task is None else _TASKS[task]
    if not hasattr(transformers, class_name):
        raise UsageError(f"{name}: transformers has no class {class_name}; choose one with --task: {', '.join(TASKS)}")
    return Source(name, public_name(name), class_name, config)


def load_config(name: str) -> Any:
    """name: a folder, one on the hub, or `bertfast.model_names.MINILM`. Raises UsageError."""
    if _is_path(name) and not Path(name).exists():
        raise UsageError(f"{name}: no such folder; expected a folder with a model, or a name on the hub")
    return loaded(public_name(name), lambda: transformers.AutoConfig.from_pretrained(path_of(name)))


def _is_path(name: str) -> bool:
    """Whether it can be no name on the hub."""
    return Path(name).is_absolute() or name.startswith(("./", "../", "~")) or name in (".", "..")


def load_tokenizer(name: str) -> Any:
    """Of a model, named as for `load_config`. Raises UsageError where it has none, or one that cannot pad."""
    what = f"the tokenizer of {public_name(name)}"
    tokenizer = loaded(what, lambda: transformers.AutoTokenizer.from_pretrained(path_of(name)))
    if tokenizer.pad_token is None:
        raise UsageError(f"{what} has no padding token; expected one, as BERT's have")
    _check_files(name, tokenizer.vocab_files_names.values())
    return tokenizer


def _check_files(name: str, files: Collection[str]) -> None:
    """transformers makes a tokenizer of no words where a folder has none of its files."""
    folder = Path(path_of(name))
    if folder.is_dir() and files and not any((folder / file).exists() for file in files):
        raise UsageError(f"no tokenizer files in {public_name(name)}: expected {' or '.join(sorted({*files}))}")


def find_device(name: str | None) -> torch.device:
    """None: a GPU if torch finds one, else the CPU. Raises UsageError."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: expected cpu, cuda or cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {name}: {why_no_gpu()}; use --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"--device {name}: torch finds {torch.cuda.device_count()} GPUs, counted from 0")
    return device


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' progress bars, and its lines below errors: a command says itself what matters."""
    before = transformers.logging.get_verbosity()
    bars = transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)
        if bars:
            transformers.logging.enable_progress_bar()


def loaded(what: str, make: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """What ``make`` returns. Raises UsageError for what it raises, in one line about ``what``."""
    try:
        return make(*args, **kwargs)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, AttributeError) as error:
        first = public(str(error)).strip().partition("\n")[0].rstrip(".")
        offline = " (HF_HUB_OFFLINE is set)" if HF_HUB_OFFLINE else ""
        raise UsageError(
            f"{what}: transformers cannot load it: {first or type(error).__name__}{offline}. Expected a folder with "
            "config.json, weights and tokenizer, or a name on the hub"
        ) from error
