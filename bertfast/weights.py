"""The weights as the encoder wants them: Q, K and V as one matrix, each dense layer behind its backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from bertfast.copies import CopyWatch
from bertfast.linear import Linear, Norm, select_linear


@dataclass(frozen=True)
class EncoderSpec:
    """Sizes and constants of a post-LN encoder, whatever its architecture is called."""

    num_layers: int
    hidden_size: int
    num_heads: int
    inner_size: int
    vocab_size: int
    max_positions: int
    num_token_types: int
    pad_token_id: int | None
    activation: str
    eps: float

    @property
    def head_size(self) -> int:
        """D."""
        return self.hidden_size // self.num_heads

    @property
    def scale(self) -> float:
        """Factor of the attention scores, ``1 / sqrt(D)``."""
        return float(self.head_size**-0.5)


@dataclass(frozen=True)
class EmbeddingWeights:
    """word: [vocab, H]; token_type: [types, H]; position: [positions, H]."""

    word: Tensor
    token_type: Tensor
    position: Tensor
    norm: Norm


@dataclass(frozen=True)
class LayerWeights:
    """qkv: H -> 3H; attention_output: H -> H; intermediate: H -> I; output: I -> H."""

    qkv: Linear
    attention_output: Linear
    attention_norm: Norm
    intermediate: Linear
    output: Linear
    output_norm: Norm


@dataclass(frozen=True)
class FirstTokenWeights:
    """Q and K, V of the last layer apart, for heads that read one token. query: H -> H; key_value: H -> 2H."""

    query: Linear
    key_value: Linear


@dataclass(frozen=True)
class EncoderWeights:
    """Everything the encoder multiplies with, in the dtype and on the device of the model."""

    spec: EncoderSpec
    embeddings: EmbeddingWeights
    layers: tuple[LayerWeights, ...]
    first_token: FirstTokenWeights
    backend: str
    copies: CopyWatch

    @property
    def dtype(self) -> torch.dtype:
        """dtype of the activations."""
        return self.embeddings.word.dtype


def build_weights(spec: EncoderSpec, parameters: Mapping[str, torch.nn.Parameter]) -> EncoderWeights:
    """Prepare a model's parameters, named by role (see `parameter_roles`).

    Q, K and V are moved into one storage, each parameter becoming a view of it: nothing is held twice and edits of
    a parameter are edits of the matrix that is multiplied. Raises ValueError for a role that is missing or unknown.
    """
    roles = parameter_roles(spec)
    missing, unknown = roles.keys() - parameters.keys(), parameters.keys() - roles.keys()
    if missing or unknown:
        raise ValueError(f"weights: missing {sorted(missing)}, unknown {sorted(unknown)}")
    word = parameters["embeddings.word"]
    linear = select_linear(word.device, word.dtype)
    tensors = {role: parameter.detach() for role, parameter in parameters.items()}
    copied: list[Tensor] = []
    for layer in range(spec.num_layers):
        for part in ("weight", "bias"):
            parts = [parameters[f"layers.{layer}.{name}.{part}"] for name in ("query", "key", "value")]
            joined, is_copy = _joined(parts)
            tensors[f"layers.{layer}.qkv.{part}"] = joined
            copied += parts if is_copy else []
    if linear.copies_weight:
        copied += [p for role, p in parameters.items() if role.startswith("layers.") and p.dim() == 2]

    def norm(prefix: str) -> Norm:
        return Norm(tensors[f"{prefix}.weight"], tensors[f"{prefix}.bias"], spec.eps)

    def dense(prefix: str) -> Linear:
        return linear(tensors[f"{prefix}.weight"], tensors[f"{prefix}.bias"])

    layers = tuple(
        LayerWeights(
            qkv=dense(f"layers.{i}.qkv"),
            attention_output=dense(f"layers.{i}.attention_output"),
            attention_norm=norm(f"layers.{i}.attention_norm"),
            intermediate=dense(f"layers.{i}.intermediate"),
            output=dense(f"layers.{i}.output"),
            output_norm=norm(f"layers.{i}.output_norm"),
        )
        for i in range(spec.num_layers)
    )
    last, h = f"layers.{spec.num_layers - 1}.qkv", spec.hidden_size
    last_weight, last_bias = tensors[f"{last}.weight"], tensors[f"{last}.bias"]
    return EncoderWeights(
        spec=spec,
        embeddings=EmbeddingWeights(
            tensors["embeddings.word"],
            tensors["embeddings.token_type"],
            tensors["embeddings.position"],
            norm("embeddings.norm"),
        ),
        layers=layers,
        first_token=FirstTokenWeights(
            query=linear(last_weight[:h], last_bias[:h]), key_value=linear(last_weight[h:], last_bias[h:])
        ),
        backend=linear.name,
        copies=CopyWatch([p.detach() for p in copied]),
    )


def parameter_roles(spec: EncoderSpec) -> dict[str, tuple[int, ...]]:
    """Every parameter the encoder needs, by role, with the shape it must have."""
    h, i = spec.hidden_size, spec.inner_size
    roles: dict[str, tuple[int, ...]] = {
        "embeddings.word": (spec.vocab_size, h),
        "embeddings.token_type": (spec.num_token_types, h),
        "embeddings.position": (spec.max_positions, h),
        "embeddings.norm.weight": (h,),
        "embeddings.norm.bias": (h,),
    }
    matrices = {
        "query": (h, h),
        "key": (h, h),
        "value": (h, h),
        "attention_output": (h, h),
        "intermediate": (i, h),
        "output": (h, i),
    }
    for layer in range(spec.num_layers):
        for name, shape in matrices.items():
            roles[f"layers.{layer}.{name}.weight"] = shape
            roles[f"layers.{layer}.{name}.bias"] = shape[:1]
        for name in ("attention_norm", "output_norm"):
            roles[f"layers.{layer}.{name}.weight"] = (h,)
            roles[f"layers.{layer}.{name}.bias"] = (h,)
    return roles


def _joined(parts: list[torch.nn.Parameter]) -> tuple[Tensor, bool]:
    """The parts, one under the other, and whether that is a copy. parts: three of [H, ...] -> [3H, ...]."""
    first = parts[0]
    bytes_each = first.numel() * first.element_size()
    if all(p.is_contiguous() for p in parts) and all(
        a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr() and b.data_ptr() - a.data_ptr() == bytes_each
        for a, b in pairwise(parts)
    ):
        size = (len(parts) * first.shape[0], *first.shape[1:])
        return first.detach().as_strided(size, first.stride()), False
    joined = torch.cat([p.detach() for p in parts])
    if any(p.is_shared() or p.is_inference() for p in parts):
        # Other processes may hold this memory: moving the parameters would part them from this model.
        return joined, True
    for parameter, view in zip(parts, joined.chunk(len(parts)), strict=True):
        parameter.data = view
    return joined, False
