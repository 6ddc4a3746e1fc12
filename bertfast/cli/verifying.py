"""Loads a model twice, accelerates one of them, and compares the two on texts."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

import bertfast
from bertfast.backends import resolve_precision
from bertfast.cli.batches import Encoded, check_vocabulary, encode, padded, position_limit
from bertfast.cli.errors import UsageError
from bertfast.cli.loading import Source, find_device, find_model, load_tokenizer
from bertfast.cli.precisions import check_dtype, check_precisions
from bertfast.cli.texts import Texts, read_texts
from bertfast.errors import PrecisionError, UnsupportedModelError
from bertfast.padding import say_hidden
from bertfast.precision import Choice
from bertfast.reporting import logger
from bertfast.tables import counted
from bertfast.verification.comparison import Comparison, compare
from bertfast.verification.limits import Limits, default_limits
from bertfast.verification.verdict import Excess, over_limits

_DTYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Verification:
    """What was given, what was found. comparison: None where nothing could be accelerated. problems: why it did not
    pass, beside excesses: what ran is not what was to be verified. random: weights that the model's files do not hold.
    """

    source: Source
    device: torch.device
    dtype: str
    precision: str | None
    texts: Texts
    encoded: Encoded
    batch_size: int
    limits: Limits
    random: tuple[str, ...] = ()
    comparison: Comparison | None = None
    problems: tuple[str, ...] = ()
    excesses: tuple[Excess, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.problems and not self.excesses


def verify(arguments: argparse.Namespace) -> Verification:
    """arguments: of ``bertfast verify``. Raises UsageError, or BertfastError for options that do not fit the model."""
    check_precisions([] if arguments.precision is None else [arguments.precision], dtypes=_DTYPES)
    check_dtype(arguments.dtype, _DTYPES)
    device = find_device(arguments.device)
    choice = _choice(arguments, device)
    texts = read_texts(arguments.texts, arguments.max_texts)
    source = find_model(arguments.model, arguments.task)
    if "MultipleChoice" in source.class_name:
        raise UsageError(
            f"{source.label}: {source.class_name} takes choices, not texts; give --task feature-extraction"
        )
    tokenizer = load_tokenizer(source.name)
    encoded = encode(tokenizer, texts.texts, _max_length(arguments.max_length, tokenizer, source.config))
    check_vocabulary(tokenizer, encoded, source.config)
    stock, fast, random = _load_twice(source)
    stock, fast = stock.to(device), fast.to(device, getattr(torch, arguments.dtype))
    result = Verification(
        source=source,
        device=device,
        dtype=arguments.dtype,
        precision=arguments.precision,
        texts=texts,
        encoded=encoded,
        batch_size=arguments.batch_size,
        limits=_limits(arguments, choice, source.config),
        random=random,
    )
    try:
        bertfast.accelerate(
            fast, precision=arguments.precision, pad_outputs=arguments.pad_outputs, on_fallback="silent"
        )
    except UnsupportedModelError as error:
        return replace(result, problems=(f"nothing was accelerated: {error}",))
    batches = _counted(padded(tokenizer, encoded, arguments.batch_size, device), arguments.batch_size, encoded)
    more: dict[str, Any] = {"output_hidden_states": True} if arguments.hidden_states else {}
    with _no_hint_of_padding():
        found = compare(stock, fast, batches, result.limits, **more)
    problems = tuple(_problems(found, choice, arguments.precision))
    return replace(result, comparison=found, problems=problems, excesses=tuple(over_limits(found, result.limits)))


def _choice(arguments: argparse.Namespace, device: torch.device) -> Choice:
    """What the precision is on this device, before anything is loaded."""
    try:
        return resolve_precision(
            arguments.precision, torch.empty(0, dtype=getattr(torch, arguments.dtype), device=device)
        )
    except PrecisionError as error:
        if arguments.dtype == "float32":
            raise
        raise UsageError(
            f"--precision {arguments.precision}: it is made of float32 weights, --dtype {arguments.dtype} was given; "
            "leave --dtype out"
        ) from error


@contextmanager
def _no_hint_of_padding() -> Iterator[None]:
    """That computing padding costs time is no matter of exactness; all of it has to be computed to be compared."""

    def is_other(record: logging.LogRecord) -> bool:
        return record.funcName != say_hidden.__name__

    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


def _load_twice(source: Source) -> tuple[nn.Module, nn.Module, tuple[str, ...]]:
    """Each from the files. What these do not hold is random, and the second gets the first's."""
    stock, random = source.load()
    fast, _ = source.load()
    state = stock.state_dict()
    fast.load_state_dict({name: state[name] for name in random if name in state}, strict=False)
    return stock, fast, tuple(random)


def _max_length(asked: int | None, tokenizer: Any, config: Any) -> int:
    limit = position_limit(tokenizer, config)
    if asked is not None and asked > limit:
        raise UsageError(f"--max-length {asked}: the model has positions for {limit}; give at most so many")
    return asked or limit


def _limits(arguments: argparse.Namespace, choice: Choice, config: Any) -> Limits:
    limits = default_limits(arguments.dtype, choice.reduced, getattr(config, "num_hidden_layers", 1))
    given = {
        "relative_error": arguments.max_relative_error,
        "max_abs_error": arguments.max_abs_error,
        "cosine": arguments.min_cosine,
        "agreement": arguments.min_agreement,
    }
    return replace(limits, **{name: value for name, value in given.items() if value is not None})


def _problems(found: Comparison, choice: Choice, asked: str | None) -> Iterator[str]:
    total = sum(found.calls.values())
    for path, count in found.calls.items():
        if path != "fast":
            nothing = "nothing was accelerated" if "fast" not in found.calls else "not everything was accelerated"
            share = f"{count} of {counted(total, 'call')}" if total > 1 else "the only call"
            yield f"{nothing}: {share} ran {path}"
    if choice.lacks:
        yield f"precision {asked} was asked for, float32 ran: {choice.lacks}"


def _counted(batches: Iterator[dict[str, Tensor]], size: int, encoded: Encoded) -> Iterator[dict[str, Tensor]]:
    """Tells a person at a terminal how far it is."""
    total = -(-len(encoded.inputs) // size)
    for number, batch in enumerate(batches, start=1):
        if sys.stderr.isatty():
            end = "\r\x1b[K" if number == total else ""
            print(f"\rbatch {number} of {total}{end}", end="", file=sys.stderr, flush=True)
        yield batch
