"""Fixtures of the drop-in tests: a pair of models whose dropout changes nothing, and a batch for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import transformers
from precisions import REDUCED, CopyingLinear
from torch import Tensor

import bertfast
from bertfast.linear import missing


@pytest.fixture
def make_pair(make_config: Callable[..., Any], stock_and_fast: Callable[..., Any]) -> Callable[..., Any]:
    """``make_pair(class_name, dtype=torch.float32, **changes)``: stock and fast, two layers, sdpa, no dropout."""

    def make(class_name: str = "BertModel", dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
        plain = {"attn_implementation": "sdpa", "hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}
        return stock_and_fast(class_name, make_config(**{**plain, **changes}), dtype)

    return make


@pytest.fixture
def pair(make_pair: Callable[..., Any]) -> Any:
    """A pair of ``BertModel``."""
    return make_pair()


@pytest.fixture
def batch(make_config: Callable[..., Any], make_batch: Callable[..., Any]) -> dict[str, Tensor]:
    """Five texts of 1 to 13 tokens."""
    return make_batch(make_config(), (9, 4, 13, 1, 13))


@pytest.fixture(params=REDUCED)
def precision(request: pytest.FixtureRequest, cpu_with: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> str:
    """Each reduced precision in turn; where this CPU is not fast in it, something else multiplies with the copies."""
    if missing(request.param) is not None:
        cpu_with(REDUCED[request.param])
        monkeypatch.setattr("bertfast.backends.cpu.select_cpu_linear", lambda dtype, precision: CopyingLinear)
    return str(request.param)


@pytest.fixture(params=["blas", "onednn"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A backend for the linear layers: rows times weights, and weights times rows."""
    if request.param == "onednn" and not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setenv("BERTFAST_CPU_LINEAR", request.param)
    return request.param


@pytest.fixture
def installed() -> Iterator[None]:
    """The whole process accelerated, for the length of a test."""
    bertfast.install()
    yield
    bertfast.uninstall()


@pytest.fixture
def tokenizer(minilm: Any) -> Any:
    """MiniLM's tokenizer."""
    return transformers.AutoTokenizer.from_pretrained(minilm)


@pytest.fixture
def make_model(stock_and_fast: Callable[..., Any], make_config: Callable[..., Any]) -> Callable[..., Any]:
    """``make_model(class_name)``: a tiny stock and fast model with MiniLM's vocabulary."""

    def make(class_name: str) -> Any:
        return stock_and_fast(class_name, make_config(vocab_size=30522, attn_implementation="sdpa"))

    return make
