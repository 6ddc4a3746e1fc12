"""What the arguments of `bertfast bench` name: found, or refused with what there is."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch
import transformers

from bertfast.bench.candidates import CANDIDATES, GPU_PRECISIONS, OURS, PRECISIONS, how_to_install
from bertfast.bench.models import MINILM, SIZES, config_of, path_of
from bertfast.bench.workloads import Workload, grid, of_texts
from bertfast.cli.errors import UsageError
from bertfast.cli.texts import read_texts

# As people call torch.compile.
_ALIASES = {"compile": "compiled", "compile-static": "compiled-static"}
_LIMIT = 64


def config(model: str) -> Any:
    """The model's config."""
    try:
        found = config_of(model)
    except (OSError, ValueError) as error:
        names = ", ".join([*SIZES, MINILM])
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"model {model}: expected one of {names}, a folder, or a name on the hub: {reason}") from error
    if not hasattr(found, "hidden_size") or not hasattr(found, "max_position_embeddings"):
        raise UsageError(f"model {model}: expected an encoder like BERT, got model_type {found.model_type}")
    return found


def precisions(text: str, where: str) -> list[str]:
    """Those that are asked for, in their order."""
    allowed = PRECISIONS if where == "cpu" else GPU_PRECISIONS
    given = _split(text)
    if unknown := [name for name in given if name not in allowed]:
        raise UsageError(f"--precision: expected names of {', '.join(allowed)} on {where}, got {', '.join(unknown)}")
    return given


def threads(given: Sequence[int] | None) -> list[int]:
    """torch's own choice if none is given."""
    return list(given) if given else [torch.get_num_threads()]


def candidates(text: str) -> list[str]:
    """bertfast, and those that are asked for: all of them installed."""
    others = [name for name in CANDIDATES if name != OURS]
    installed = [name for name in others if not CANDIDATES[name].missing()]
    given = installed if text.strip() == "all" else [_ALIASES.get(name, name) for name in _split(text)]
    here = f"installed here: {', '.join(map(_said, installed))}"
    if unknown := [name for name in given if name not in CANDIDATES]:
        names = ", ".join(map(_said, others))
        raise UsageError(f"--against: expected names of {names}, or all, got {', '.join(unknown)}; {here}")
    for name in given:
        if CANDIDATES[name].missing():
            raise UsageError(f"--against {name}: {how_to_install(CANDIDATES[name])}; {here}")
    return list(dict.fromkeys([OURS, *given]))


def _said(name: str) -> str:
    """A candidate's name as people type it."""
    return next((alias for alias, meant in _ALIASES.items() if meant == name), name)


def workloads(arguments: argparse.Namespace, model_config: Any) -> list[Workload]:
    """A grid of batches, or texts."""
    most = model_config.max_position_embeddings
    if arguments.texts is not None:
        if arguments.length or arguments.fill:
            raise UsageError("--texts: texts have their own lengths; leave --length and --fill out")
        return of_texts(_texts(arguments), arguments.batch, _tokenizer(arguments), most)
    if arguments.limit or arguments.tokenizer:
        raise UsageError("--limit and --tokenizer: of --texts, which is not given")
    lengths = arguments.length or [32, 128]
    if max(lengths) > most:
        raise UsageError(f"--length: this model takes at most {most} tokens, got {max(lengths)}")
    return grid(
        arguments.batch, lengths, arguments.fill or [1.0], model_config.vocab_size, model_config.pad_token_id or 0
    )


def _texts(arguments: argparse.Namespace) -> list[str]:
    found = read_texts(arguments.texts or None, arguments.limit or _LIMIT).texts
    if any(text.pair is not None for text in found):
        raise UsageError(f"--texts {arguments.texts}: pairs of texts; expected single ones, without text_pair")
    return [text.text for text in found]


def _tokenizer(arguments: argparse.Namespace) -> Any:
    """The model's own; for weights that are drawn, MiniLM's, whose vocabulary is BERT's."""
    name = arguments.tokenizer or (MINILM if arguments.model in SIZES else arguments.model)
    try:
        return transformers.AutoTokenizer.from_pretrained(path_of(name))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"--texts: no tokenizer of {name}: {reason}; name one by --tokenizer") from error


def _split(text: str) -> list[str]:
    given = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not given:
        raise UsageError(f"expected names separated by commas, got {text!r}")
    return given
