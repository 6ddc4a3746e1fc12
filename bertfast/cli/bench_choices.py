"""What the arguments of `bertfast bench` name: found, or refused with what there is."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch

from bertfast.backends import resolve_precision
from bertfast.bench.candidates import ALIASES, CANDIDATES, GPU_PRECISIONS, OURS, PRECISIONS, how_to_install
from bertfast.bench.models import SIZES, config_of
from bertfast.bench.support import why_not_accelerated
from bertfast.bench.workloads import Workload, grid, of_texts
from bertfast.cli.batches import check_vocabulary, encode, position_limit
from bertfast.cli.errors import UsageError
from bertfast.cli.loading import load_config, load_tokenizer, loaded
from bertfast.cli.precisions import check_precisions
from bertfast.cli.texts import read_texts
from bertfast.environment.privacy import public_name
from bertfast.model_names import MINILM

_LIMIT = 64


def config(model: str) -> Any:
    """The model's config."""
    if model in SIZES:
        return config_of(model)
    try:
        found = load_config(model)
    except UsageError as error:
        raise UsageError(f"{error}; or one that is built in: {', '.join([*SIZES, MINILM])}") from error
    if not hasattr(found, "hidden_size") or not hasattr(found, "max_position_embeddings"):
        raise UsageError(f"{public_name(model)}: expected an encoder like BERT, got model_type {found.model_type}")
    _check_accelerated(model, found)
    return found


def _check_accelerated(model: str, model_config: Any) -> None:
    """Refuse to time the others alone: what is measured is how bertfast does beside them."""
    reason = loaded(public_name(model), why_not_accelerated, model_config)
    if reason is not None:
        class_name = (model_config.architectures or [f"model_type {model_config.model_type}"])[0]
        raise UsageError(
            f"{public_name(model)} ({class_name}): nothing to time, stock transformers would run it: {reason}; "
            "bertfast verify shows it on texts"
        )


def precisions(text: str, device: torch.device) -> list[str]:
    """Those that are asked for, in their order; "auto" is the one that `bertfast.accelerate` would take."""
    allowed = PRECISIONS if device.type == "cpu" else GPU_PRECISIONS
    given = _split("--precision", text)
    check_precisions(given, (*allowed, "auto"), f" on {device.type}")
    return list(dict.fromkeys(_taken(name, device) for name in given))


def _taken(precision: str, device: torch.device) -> str:
    """Of float32 weights."""
    if precision != "auto":
        return precision
    return resolve_precision("auto", torch.empty(0, device=device)).reduced or "float32"


def threads(given: Sequence[int] | None) -> list[int]:
    """torch's own choice if none is given."""
    return list(given) if given else [torch.get_num_threads()]


def candidates(text: str) -> list[str]:
    """bertfast, and those that are asked for: all of them installed."""
    others = [name for name in CANDIDATES if name != OURS]
    installed = [name for name in others if not CANDIDATES[name].missing()]
    given = installed if text.strip() == "all" else [ALIASES.get(name, name) for name in _split("--against", text)]
    here = f"installed here: {', '.join(installed)}"
    if unknown := [name for name in given if name not in CANDIDATES]:
        raise UsageError(f"--against {','.join(unknown)}: expected names of {', '.join(others)}, or all; {here}")
    for name in given:
        if CANDIDATES[name].missing():
            raise UsageError(f"--against {name}: {how_to_install(CANDIDATES[name])}; {here}")
    return list(dict.fromkeys([OURS, *given]))


def workloads(arguments: argparse.Namespace, model_config: Any) -> list[Workload]:
    """A grid of batches, or texts."""
    if arguments.texts is not None:
        if arguments.length or arguments.fill:
            raise UsageError("--texts: texts have their own lengths; leave --length and --fill out")
        return _of_texts(arguments, model_config)
    if arguments.limit or arguments.tokenizer:
        raise UsageError("--limit and --tokenizer: of --texts, which is not given")
    most, lengths = model_config.max_position_embeddings, arguments.length or [32, 128]
    if max(lengths) > most:
        raise UsageError(f"--length: this model takes at most {most} tokens, got {max(lengths)}")
    return grid(
        arguments.batch, lengths, arguments.fill or [1.0], model_config.vocab_size, model_config.pad_token_id or 0
    )


def _of_texts(arguments: argparse.Namespace, model_config: Any) -> list[Workload]:
    found = read_texts(arguments.texts or None, arguments.limit or _LIMIT).texts
    if any(text.pair is not None for text in found):
        raise UsageError(f"--texts {arguments.texts}: pairs of texts; expected single ones, without text_pair")
    tokenizer = _tokenizer(arguments)
    most = position_limit(tokenizer, model_config)
    check_vocabulary(tokenizer, encode(tokenizer, found, most), model_config)
    return of_texts([text.text for text in found], arguments.batch, tokenizer, most)


def _tokenizer(arguments: argparse.Namespace) -> Any:
    """The model's own; for weights that are drawn, MiniLM's, whose vocabulary is BERT's."""
    try:
        return load_tokenizer(arguments.tokenizer or (MINILM if arguments.model in SIZES else arguments.model))
    except UsageError as error:
        raise UsageError(f"--texts: {error}; name one by --tokenizer") from error


def _split(option: str, text: str) -> list[str]:
    given = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not given:
        raise UsageError(f"{option}: expected names separated by commas, got {text!r}")
    return given
