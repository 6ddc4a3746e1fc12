"""Where the encoders are inside of what a user holds."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers.models.bert import modeling_bert as hf

from bertfast.errors import UnsupportedModelError
from bertfast.models.bert import BertModel
from bertfast.models.install import is_installed


def is_encoder(module: nn.Module) -> bool:
    """Whether it is a ``BertModel``, accelerated or not; a subclass is somebody else's."""
    return type(module) in (hf.BertModel, BertModel)


def holds_encoder(root: nn.Module) -> bool:
    """Whether there is an encoder inside ``root`` that `accelerate` knows."""
    return any(is_encoder(module) for module in root.modules())


def root_of(model: Any) -> nn.Module:
    """The module itself, or the one that a pipeline holds."""
    root = model if isinstance(model, nn.Module) else getattr(model, "model", None)
    if not isinstance(root, nn.Module):
        raise UnsupportedModelError(
            f"expected a torch module or an object whose .model is one, got {type(model).__name__}"
        )
    return root


def encoders_of(root: nn.Module) -> list[nn.Module]:
    """The accelerated encoders inside ``root``. Raises UnsupportedModelError if there is none."""
    patched = is_installed()
    found = [m for m in root.modules() if type(m) is BertModel or (patched and type(m) is hf.BertModel)]
    if not found:
        raise UnsupportedModelError(f"{type(root).__name__} holds no accelerated encoder; call bertfast.accelerate")
    return found
