"""A stock and an accelerated pipeline for the tests, and what was computed of their batches."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import transformers
from torch import Tensor, nn

import bertfast

#: Of each task the head of its models.
TASKS = {"token-classification": "BertForTokenClassification", "fill-mask": "BertForMaskedLM"}
TEXTS = [
    "A [MASK] text.",
    "Another text, somewhat longer than the [MASK], which is therefore padded in a batch.",
    "[MASK]",
    "The quick brown fox jumps over the lazy [MASK], and nobody reads the padding behind it.",
    "A [MASK] that is longer than what comes after it.",
    "The [MASK].",
]


def make_pipes(make_model: Callable[[str], Any], tokenizer: Any, task: str) -> tuple[Any, Any]:
    """A stock and an accelerated pipeline with the same weights, each with its own tokenizer."""
    pair = make_model(TASKS[task])
    return (
        transformers.pipeline(task, model=pair.stock, tokenizer=copy.deepcopy(tokenizer), device="cpu"),
        bertfast.pipeline(task, model=pair.fast, tokenizer=copy.deepcopy(tokenizer), device="cpu"),
    )


def drops_padding(pipe: Any) -> None:
    """The last batch was computed without padding, but for the first token of each text."""
    report = bertfast.explain(pipe)
    assert report.path == "fast"
    assert report.real_tokens <= report.computed_tokens < report.padded_tokens


def computes_padding(pipe: Any) -> None:
    """The last batch was computed with padding."""
    report = bertfast.explain(pipe)
    if report.path == "fast":
        assert report.real_tokens < report.computed_tokens == report.padded_tokens


def assert_same_result(actual: Any, expected: Any) -> None:
    """Equal JSON-like results, their numbers but for rounding."""
    if isinstance(expected, dict):
        assert list(actual) == list(expected)
        for name, value in expected.items():
            assert_same_result(actual[name], value)
    elif isinstance(expected, list):
        assert len(actual) == len(expected)
        for part, wanted in zip(actual, expected, strict=True):
            assert_same_result(part, wanted)
    elif isinstance(expected, float | np.floating):
        assert actual == pytest.approx(expected, rel=1e-4, abs=1e-5)
    else:
        assert actual == expected


def mixed(x: Tensor) -> Tensor:
    """Each position with the mean of all, padding too: [B, S, H] -> [B, S, H]."""
    return x + 3 * x.mean(dim=1, keepdim=True)


def mixed_output(module: nn.Module, args: Any, output: Any) -> Any:
    """A forward hook."""
    if isinstance(output, Tensor):
        return mixed(output)
    key = "logits" if "logits" in output else "last_hidden_state"
    output[key] = mixed(output[key])
    return output
