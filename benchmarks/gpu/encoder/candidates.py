"""Who runs an encoder: bertfast, and what it is compared with. All have the same weights and take the same inputs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn

import bertfast
from benchmarks.gpu.encoder.workloads import Model, Workload

#: A forward: the start logits of question answering, [B, S].
Forward = Callable[[], Tensor]

OURS = "bertfast"


@dataclass(frozen=True)
class Candidate:
    """make(workload, device): the forward. compile_s: what a first call may take, to begin with, and is then measured;
    0 where nothing is compiled. unserved(workload): why it does not run there, or None.
    """

    name: str
    make: Callable[[Workload, torch.device], Forward]
    compile_s: float = 0.0
    unserved: Callable[[Workload, bool], str | None] = lambda workload, dry: None


@functools.lru_cache(maxsize=6)
def make_model(model: Model, dtype: torch.dtype, device: torch.device, attention: str, fast: bool = False) -> nn.Module:
    """Question answering: every token's output is used. Seeded weights, the same for all candidates.

    Kept for the next workload: making BERT-large takes longer than timing it.
    """
    config = transformers.BertConfig(
        vocab_size=model.vocab,
        hidden_size=model.hidden,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        intermediate_size=model.inner,
        attn_implementation=attention,
    )
    torch.manual_seed(0)
    with torch.device(device):
        made: nn.Module = transformers.BertForQuestionAnswering(config).eval().to(dtype)
    # "zero": padding is dropped, as a caller that filters by the mask would ask for.
    return bertfast.accelerate(made, pad_outputs="zero", on_fallback="raise") if fast else made


def make_inputs(workload: Workload, device: torch.device) -> dict[str, Tensor]:
    """As a tokenizer makes them, on the device already: ids, mask and types [B, S]."""
    generator = torch.Generator().manual_seed(1)
    mask = (torch.arange(workload.length) < torch.tensor(workload.lengths).unsqueeze(1)).long()
    ids = torch.randint(1, workload.model.vocab, mask.shape, generator=generator) * mask
    batch = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    return {name: value.to(device) for name, value in batch.items()}


def _forward(model: Any, workload: Workload, device: torch.device) -> Forward:
    inputs = make_inputs(workload, device)

    def call() -> Tensor:
        with torch.no_grad():
            return model(**inputs).start_logits  # type: ignore[no-any-return]

    return call


def _stock(attention: str) -> Callable[[Workload, torch.device], Forward]:
    return lambda workload, device: _forward(_model_of(workload, device, attention), workload, device)


def _compiled(mode: str) -> Callable[[Workload, torch.device], Forward]:
    def make(workload: Workload, device: torch.device) -> Forward:
        model = torch.compile(_model_of(workload, device, "sdpa"), mode=mode, dynamic=False)
        return _forward(model, workload, device)

    return make


def _bertfast(workload: Workload, device: torch.device) -> Forward:
    return _forward(_model_of(workload, device, "sdpa", fast=True), workload, device)


def _model_of(workload: Workload, device: torch.device, attention: str, fast: bool = False) -> nn.Module:
    return make_model(workload.model, workload.dtype, device, attention, fast)


def _flash_attention(workload: Workload, dry: bool) -> str | None:
    if not transformers.utils.is_flash_attn_2_available():
        return "flash-attn is not installed"
    return "flash-attn takes no float32" if workload.dtype == torch.float32 else None


def _compiler(workload: Workload, dry: bool) -> str | None:
    return "not compiled in a dry run" if dry else None


CANDIDATES = (
    Candidate(OURS, _bertfast),
    Candidate("sdpa", _stock("sdpa")),
    Candidate("flash_attention_2", _stock("flash_attention_2"), unserved=_flash_attention),
    Candidate("reduce-overhead", _compiled("reduce-overhead"), 30.0, _compiler),
    Candidate("max-autotune", _compiled("max-autotune"), 60.0, _compiler),
)
