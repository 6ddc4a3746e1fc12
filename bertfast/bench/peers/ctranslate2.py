"""CTranslate2. It takes texts as lists of ids without padding, and packs them itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bertfast.bench.models import HEAD_CLASSES, build
from bertfast.bench.setup import Forward, Setup


def why_not(setup: Setup, variant: str) -> str | None:
    """What CTranslate2 itself says of this device. Which float type stands beside int8 is its choice."""
    import ctranslate2

    kind, _, index = setup.device.partition(":")
    if kind == "cuda" and ctranslate2.get_cuda_device_count() == 0:
        return "this CTranslate2 finds no CUDA device"
    supported = ctranslate2.get_supported_compute_types(kind, int(index or 0))
    if setup.precision in supported:
        return None
    return f"CTranslate2 offers {', '.join(sorted(supported))} on this {kind.upper()}"


def prepare(setup: Setup, variant: str) -> None:
    """Convert the encoder, and keep the head."""
    folder = _folder(setup)
    if (folder / "head.pt").exists():
        return
    model = build(setup.model)
    folder.mkdir(parents=True, exist_ok=True)
    _spec(model.encoder).save(str(folder))
    torch.save(model.head, folder / "head.pt")


def _spec(encoder: Any) -> Any:
    from ctranslate2.converters.transformers import BertLoader

    config = encoder.config
    if config.model_type != "bert":
        raise ValueError(f"CTranslate2's converter is asked for BERT only, the model is {config.model_type}")
    # The converter asks for it; transformers 5 has no other kind, and dropped the name.
    config.position_embedding_type = "absolute"
    spec = BertLoader().get_model_spec(encoder)
    spec.config.layer_norm_epsilon = config.layer_norm_eps
    # Only ids are passed: names of tokens must be there, and any will do.
    names = [f"token{i}" for i in range(config.vocab_size)]
    spec.register_vocabulary(names)
    spec.config.unk_token = names[0]
    spec.validate()
    spec.optimize(None)
    return spec


def load(setup: Setup, variant: str) -> Forward:
    """The converted encoder and torch's own head behind it."""
    import ctranslate2

    torch.set_num_threads(setup.threads)
    folder = _folder(setup)
    kind, _, index = setup.device.partition(":")
    encoder = ctranslate2.Encoder(
        str(folder),
        device=kind,
        device_index=int(index or 0),
        inter_threads=1,
        intra_threads=setup.threads,
        compute_type=setup.precision,
    )
    # The folder may be a cache that others write to.
    with torch.serialization.safe_globals(HEAD_CLASSES):
        head = torch.load(folder / "head.pt", weights_only=True)

    def forward(ids: Tensor, mask: Tensor) -> Tensor:
        texts = [row[:count].tolist() for row, count in zip(ids, mask.sum(1).tolist(), strict=True)]
        out = encoder.forward_batch(texts)
        last_hidden, pooled = _tensor(out.last_hidden_state), _tensor(out.pooler_output)
        found: Tensor = head(last_hidden, pooled, mask)
        return found

    return forward


def _tensor(view: Any) -> Tensor:
    import ctranslate2

    return torch.from_numpy(np.array(view.to(ctranslate2.DataType.float32).to_device(ctranslate2.Device.cpu)))


def _folder(setup: Setup) -> Path:
    return setup.folder / "ctranslate2"
