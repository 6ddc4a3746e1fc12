"""The weights as the encoder wants them: named by role, Q, K and V as one layer, each layer behind its backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bertfast.backends import Backend, find_backend
from bertfast.linear import Linear, Norm, Tail, check_rows_alike, fuse_tail


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
    """qkv: H -> 3H; attention_output: H -> H; intermediate: H -> I; output: I -> H.

    tail: what follows attention as one kernel, None if there is none.
    """

    qkv: Linear
    attention_output: Linear
    attention_norm: Norm
    intermediate: Linear
    output: Linear
    output_norm: Norm
    tail: Tail | None

    def dense(self) -> tuple[Linear, ...]:
        """The dense layers."""
        return self.qkv, self.attention_output, self.intermediate, self.output


@dataclass(frozen=True)
class FirstTokenWeights:
    """Q and K, V of the last layer apart, for heads that read one token. query: H -> H; key_value: H -> 2H."""

    query: Linear
    key_value: Linear


@dataclass(frozen=True)
class EncoderWeights:
    """Everything the encoder multiplies with, on the device of the model.

    precision: of the copies that the dense layers multiply with, or None if they read the model's own weights.
    invariant: a row's result does not depend on the rows beside it.
    """

    spec: EncoderSpec
    embeddings: EmbeddingWeights
    layers: tuple[LayerWeights, ...]
    first_token: FirstTokenWeights
    backend: Backend
    linear: type[Linear]
    precision: str | None
    invariant: bool = False

    @property
    def copied(self) -> bool:
        """Whether the dense layers multiply with copies of the model's weights."""
        return self.precision is not None

    @property
    def copy_bytes(self) -> int:
        """Memory of these copies."""
        dense = [linear for layer in self.layers for linear in layer.dense()]
        return sum(linear.num_bytes for linear in (*dense, self.first_token.query, self.first_token.key_value))

    @property
    def block_rows(self) -> int | None:
        """See `Backend`."""
        return self.backend.block_rows(self.precision)

    @property
    def dtype(self) -> torch.dtype:
        """dtype of the activations."""
        return self.embeddings.word.dtype

    @property
    def device(self) -> torch.device:
        """Where they are, and the activations."""
        return self.embeddings.word.device


def build_weights(
    spec: EncoderSpec,
    parameters: Mapping[str, torch.nn.Parameter],
    precision: str | None = None,
    invariant: bool = False,
) -> EncoderWeights:
    """Prepare a model's parameters, named by role (see `parameter_roles`).

    Parameters that are read in place stay where they are: others may hold their memory (a state dict, an optimizer's
    flat buffer, a second model). precision: ``reduced`` of `bertfast.precision.Choice`; the dense layers of one that is
    not None are copies. Raises InvarianceError if ``invariant`` cannot be had, ValueError for a role that is missing or
    unknown, and for a device that nothing runs on.
    """
    roles = parameter_roles(spec)
    missing, unknown = roles.keys() - parameters.keys(), parameters.keys() - roles.keys()
    if missing or unknown:
        raise ValueError(f"weights: missing {sorted(missing)}, unknown {sorted(unknown)}")
    tensors = {role: parameter.detach() for role, parameter in parameters.items()}
    word = tensors["embeddings.word"]
    backend = find_backend(word.device)
    if backend is None:
        raise ValueError(f"weights: on {word.device}, expected cpu or cuda")
    parts = _Parts(tensors, backend.linear(word.dtype, precision, invariant), spec)
    last = f"layers.{spec.num_layers - 1}"
    weights = EncoderWeights(
        spec=spec,
        embeddings=EmbeddingWeights(
            word, tensors["embeddings.token_type"], tensors["embeddings.position"], parts.norm("embeddings.norm")
        ),
        layers=tuple(parts.layer(f"layers.{i}") for i in range(spec.num_layers)),
        first_token=FirstTokenWeights(query=parts.dense(last, "query"), key_value=parts.dense(last, "key", "value")),
        backend=backend,
        linear=parts.linear,
        precision=precision,
        invariant=invariant,
    )
    if invariant:
        _check_invariance(weights)
    return weights


def _check_invariance(weights: EncoderWeights) -> None:
    """Raise InvarianceError unless dense layers give equal rows equal bits; all have the sizes of the first layer's."""
    layer, spec = weights.layers[0], weights.spec
    like = torch.empty(0, dtype=weights.dtype, device=weights.device)
    h, i = spec.hidden_size, spec.inner_size
    check_rows_alike(layer.qkv, h, None, None, like)
    check_rows_alike(layer.attention_output, h, None, layer.attention_norm, like)
    check_rows_alike(layer.intermediate, h, spec.activation, None, like)
    check_rows_alike(layer.output, i, None, layer.output_norm, like)
    check_rows_alike(weights.first_token.key_value, h, None, None, like)


@dataclass(frozen=True)
class _Parts:
    """Makes the parts of an encoder from its parameters by role."""

    tensors: Mapping[str, Tensor]
    linear: type[Linear]
    spec: EncoderSpec

    def layer(self, prefix: str) -> LayerWeights:
        attention_output = self.dense(prefix, "attention_output")
        attention_norm = self.norm(f"{prefix}.attention_norm")
        intermediate, output = self.dense(prefix, "intermediate"), self.dense(prefix, "output")
        output_norm, activation = self.norm(f"{prefix}.output_norm"), self.spec.activation
        return LayerWeights(
            qkv=self.dense(prefix, "query", "key", "value"),
            attention_output=attention_output,
            attention_norm=attention_norm,
            intermediate=intermediate,
            output=output,
            output_norm=output_norm,
            tail=fuse_tail(attention_output, attention_norm, intermediate, activation, output, output_norm),
        )

    def norm(self, prefix: str) -> Norm:
        return Norm(self.tensors[f"{prefix}.weight"], self.tensors[f"{prefix}.bias"], self.spec.eps)

    def dense(self, prefix: str, *names: str) -> Linear:
        weights, biases = ([self.tensors[f"{prefix}.{name}.{part}"] for name in names] for part in ("weight", "bias"))
        return self.linear(weights, biases)


def copied_roles(spec: EncoderSpec) -> list[str]:
    """The roles of the dense layers, whose weights a backend may copy."""
    return [f"layers.{i}.{role}" for i in range(spec.num_layers) for role in _dense_roles(spec)]


def _dense_roles(spec: EncoderSpec) -> dict[str, tuple[int, ...]]:
    """The parameters of a layer's dense layers, with their shapes."""
    h, i = spec.hidden_size, spec.inner_size
    matrices = {
        "query": (h, h),
        "key": (h, h),
        "value": (h, h),
        "attention_output": (h, h),
        "intermediate": (i, h),
        "output": (h, i),
    }
    weights = {f"{name}.weight": shape for name, shape in matrices.items()}
    return {**weights, **{f"{name}.bias": shape[:1] for name, shape in matrices.items()}}


def parameter_roles(spec: EncoderSpec) -> dict[str, tuple[int, ...]]:
    """Every parameter the encoder needs, by role, with the shape it must have."""
    h = spec.hidden_size
    layer: dict[str, tuple[int, ...]] = _dense_roles(spec)
    layer.update({f"{name}.{part}": (h,) for name in ("attention_norm", "output_norm") for part in ("weight", "bias")})
    return {
        "embeddings.word": (spec.vocab_size, h),
        "embeddings.token_type": (spec.num_token_types, h),
        "embeddings.position": (spec.max_positions, h),
        "embeddings.norm.weight": (h,),
        "embeddings.norm.bias": (h,),
        **{f"layers.{i}.{role}": shape for i in range(spec.num_layers) for role, shape in layer.items()},
    }
