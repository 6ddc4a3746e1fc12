"""CTranslate2. It takes texts as lists of ids without padding, and packs them itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from cpu.models import build
from cpu.peers.setup import Forward, Setup

# Which float type stands beside int8 is its choice.
_TYPES = {"float32": "float32", "bfloat16": "bfloat16", "int8": "int8"}


def why_not(precision: str) -> str | None:
    """What CTranslate2 itself says of this CPU."""
    import ctranslate2

    supported = ctranslate2.get_supported_compute_types("cpu")
    if _TYPES[precision] in supported:
        return None
    return f"CTranslate2 offers {', '.join(sorted(supported))} on this CPU"


def prepare(setup: Setup) -> None:
    """Convert the encoder, and keep the head."""
    folder = _folder(setup)
    if (folder / "head.pt").exists():
        return
    from ctranslate2.converters.transformers import BertLoader

    model = build(setup.model)
    config = model.encoder.config
    # The converter asks for it; transformers 5 has no other kind, and dropped the name.
    config.position_embedding_type = "absolute"
    spec = BertLoader().get_model_spec(model.encoder)
    spec.config.layer_norm_epsilon = config.layer_norm_eps
    # Only ids are passed: names of tokens must be there, and any will do.
    names = [f"token{i}" for i in range(config.vocab_size)]
    spec.register_vocabulary(names)
    spec.config.unk_token = names[0]
    spec.validate()
    spec.optimize(None)
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    torch.save(model.head, folder / "head.pt")


def load(setup: Setup) -> Forward:
    """The converted encoder and torch's own head behind it."""
    import ctranslate2

    torch.set_num_threads(setup.threads)
    folder = _folder(setup)
    encoder = ctranslate2.Encoder(
        str(folder), device="cpu", inter_threads=1, intra_threads=setup.threads, compute_type=_TYPES[setup.precision]
    )
    head = torch.load(folder / "head.pt", weights_only=False)

    def forward(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        texts = [row[:count].tolist() for row, count in zip(ids, mask.sum(1).tolist(), strict=True)]
        out = encoder.forward_batch(texts)
        hidden, pooled = (_tensor(part) for part in (out.last_hidden_state, out.pooler_output))
        return head(hidden, pooled, mask)

    return forward


def _tensor(view: object) -> torch.Tensor:
    import ctranslate2

    return torch.from_numpy(np.array(view.to(ctranslate2.DataType.float32)))  # type: ignore[attr-defined]


def _folder(setup: Setup) -> Path:
    return setup.folder / "ctranslate2"
