"""Who runs an encoder: bertfast, and what it is compared with. All have the same weights and take the same inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn

import bertfast
from benchmarks.gpu.encoder_workloads import Workload

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


def make_model(workload: Workload, device: torch.device, attention: str) -> nn.Module:
    """Question answering: every token's output is used. Seeded weights, the same for all candidates."""
    m = workload.model
    config = transformers.BertConfig(
        vocab_size=m.vocab,
        hidden_size=m.hidden,
        num_hidden_layers=m.layers,
        num_attention_heads=m.heads,
        intermediate_size=m.inner,
        attn_implementation=attention,
    )
    torch.manual_seed(0)
    with torch.device(device):
        return transformers.BertForQuestionAnswering(config).eval().to(workload.dtype)


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
    return lambda workload, device: _forward(make_model(workload, device, attention), workload, device)


def _compiled(mode: str) -> Callable[[Workload, torch.device], Forward]:
    def make(workload: Workload, device: torch.device) -> Forward:
        model = torch.compile(make_model(workload, device, "sdpa"), mode=mode, dynamic=False)
        return _forward(model, workload, device)

    return make


def _bertfast(workload: Workload, device: torch.device) -> Forward:
    model = make_model(workload, device, "sdpa")
    # "zero": padding is dropped, as a caller that filters by the mask would ask for.
    bertfast.accelerate(model, pad_outputs="zero", on_fallback="raise")
    return _forward(model, workload, device)


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
