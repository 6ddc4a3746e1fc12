"""BERT (Devlin et al., 2018) as Hugging Face names it: here every weight is renamed to its role."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import activations
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.bert import modeling_bert as hf

from bertfast.families import Refused
from bertfast.hooks import is_watched
from bertfast.origin import is_defined_in
from bertfast.weights import EncoderSpec, parameter_roles

# The code that the fast path stands in for, as it was when bertfast was imported: (owner, name, function).
_CODE = [
    (owner, name, getattr(owner, name))
    for owner, names in (
        (hf.BertEmbeddings, ("forward",)),
        (hf.BertEncoder, ("forward",)),
        (hf.BertLayer, ("forward", "feed_forward_chunk")),
        (hf.BertAttention, ("forward",)),
        (hf.BertSelfAttention, ("forward",)),
        (hf.BertSelfOutput, ("forward",)),
        (hf.BertIntermediate, ("forward",)),
        (hf.BertOutput, ("forward",)),
        (hf.BertPooler, ("forward",)),
        (activations.GELUActivation, ("forward",)),
        (activations.NewGELUActivation, ("forward",)),
        (activations.GELUTanh, ("forward",)),
        (nn.ReLU, ("forward",)),
        (nn.Tanh, ("forward",)),
        (nn.Dropout, ("forward",)),
        (nn.Linear, ("forward",)),
        (nn.LayerNorm, ("forward",)),
        (nn.Embedding, ("forward",)),
        (nn.Module, ("__call__",)),
        (F, ("linear", "layer_norm", "embedding", "gelu", "scaled_dot_product_attention")),
        (hf, ("eager_attention_forward",)),
    )
    for name in names
    if hasattr(owner, name)
]
_HOMES = ("torch", "transformers")
_ATTENTION = {name: ALL_ATTENTION_FUNCTIONS.get(name) for name in ("sdpa", "eager")}

# transformers 4.57 has one attention class per implementation, 5.x has one for all.
_SELF_ATTENTION = (hf.BertSelfAttention, getattr(hf, "BertSdpaSelfAttention", hf.BertSelfAttention))
_ATTENTION_IMPLEMENTATIONS = ("sdpa", "eager")
_CONFIG = ("is_decoder", "add_cross_attention", "is_causal", "_attn_implementation_internal", "pad_token_id")

ACTIVATIONS: dict[type[nn.Module], str] = {
    activations.GELUActivation: "erf",
    activations.NewGELUActivation: "tanh",
    activations.GELUTanh: "tanh",
    nn.ReLU: "relu",
}

_EMBEDDINGS = {
    "embeddings.word": "embeddings.word_embeddings.weight",
    "embeddings.token_type": "embeddings.token_type_embeddings.weight",
    "embeddings.position": "embeddings.position_embeddings.weight",
    "embeddings.norm.weight": "embeddings.LayerNorm.weight",
    "embeddings.norm.bias": "embeddings.LayerNorm.bias",
}
_LAYER = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
}
_LAYER_TYPES: dict[str, type[nn.Module] | tuple[type[nn.Module], ...]] = {
    "": hf.BertLayer,
    ".attention": hf.BertAttention,
    ".attention.self": _SELF_ATTENTION,
    ".attention.self.query": nn.Linear,
    ".attention.self.key": nn.Linear,
    ".attention.self.value": nn.Linear,
    ".attention.self.dropout": nn.Dropout,
    ".attention.output": hf.BertSelfOutput,
    ".attention.output.dense": nn.Linear,
    ".attention.output.LayerNorm": nn.LayerNorm,
    ".attention.output.dropout": nn.Dropout,
    ".intermediate": hf.BertIntermediate,
    ".intermediate.dense": nn.Linear,
    ".intermediate.intermediate_act_fn": tuple(ACTIVATIONS),
    ".output": hf.BertOutput,
    ".output.dense": nn.Linear,
    ".output.LayerNorm": nn.LayerNorm,
    ".output.dropout": nn.Dropout,
}
_EMBEDDING_TYPES: dict[str, type[nn.Module] | tuple[type[nn.Module], ...]] = {
    "embeddings": hf.BertEmbeddings,
    "embeddings.word_embeddings": nn.Embedding,
    "embeddings.position_embeddings": nn.Embedding,
    "embeddings.token_type_embeddings": nn.Embedding,
    "embeddings.LayerNorm": nn.LayerNorm,
    "embeddings.dropout": nn.Dropout,
    "encoder": hf.BertEncoder,
    "encoder.layer": nn.ModuleList,
}


def module_types(num_layers: int) -> dict[str, type[nn.Module] | tuple[type[nn.Module], ...]]:
    """The exact type of each module that the fast path stands in for, by name. The pooler stays stock's."""
    types = dict(_EMBEDDING_TYPES)
    for i in range(num_layers):
        types.update({f"encoder.layer.{i}{name}": kind for name, kind in _LAYER_TYPES.items()})
    return types


def parameter_names(spec: EncoderSpec) -> dict[str, str]:
    """Role -> Hugging Face name, for every parameter of the encoder."""
    names = dict(_EMBEDDINGS)
    for role in parameter_roles(spec):
        if role.startswith("layers."):
            _, layer, name, part = role.split(".")
            names[role] = f"encoder.layer.{layer}.{_LAYER[name]}.{part}"
    return names


def random_in_training(module: nn.Module) -> bool:
    """Whether this module's ``training`` flag can change what the encoder computes."""
    return isinstance(module, nn.Dropout | hf.BertLayer | hf.BertSelfAttention)


def reads_first_token(pooler: Any) -> bool:
    """Whether this is stock's own pooler, unwatched: then nobody sees the other tokens, nor their gradients."""
    return type(pooler) is hf.BertPooler and not any(is_watched(module) for module in pooler.modules())


def constants(model: Any) -> Iterator[tuple[Any, str]]:
    """Attributes beside modules and parameters that the result depends on: (owner, attribute name)."""
    for name in _CONFIG:
        if name in model.config.__dict__:
            yield model.config, name
    for table in (module for module in model.embeddings.modules() if isinstance(module, nn.Embedding)):
        yield table, "max_norm"
    yield model, "config"
    yield model.embeddings.LayerNorm, "eps"
    if "position_embedding_type" in model.embeddings.__dict__:
        yield model.embeddings, "position_embedding_type"
    for layer in model.encoder.layer:
        yield layer, "is_decoder"
        yield layer, "chunk_size_feed_forward"
        attention, activation = layer.attention.self, layer.intermediate.intermediate_act_fn
        if "act" in activation.__dict__:
            yield activation, "act"
        if "config" in attention.__dict__:
            yield attention, "config"
        for name in ("num_attention_heads", "attention_head_size", "scaling", "is_causal"):
            if hasattr(attention, name):
                yield attention, name
        yield layer.attention.output.LayerNorm, "eps"
        yield layer.output.LayerNorm, "eps"


def describe(model: Any) -> EncoderSpec:
    """The spec of a ``BertModel`` whose modules have been checked. Raises Refused with what does not fit."""
    config, embeddings, layers = model.config, model.embeddings, model.encoder.layer
    position_type = getattr(config, "position_embedding_type", None) or "absolute"
    if position_type != "absolute" and hasattr(embeddings, "position_embedding_type"):
        raise Refused(f"position_embedding_type={position_type!r}")
    if len(layers) == 0:
        raise Refused("no layers")
    first = layers[0]
    activation = first.intermediate.intermediate_act_fn
    attention = first.attention.self
    spec = EncoderSpec(
        num_layers=len(layers),
        hidden_size=embeddings.word_embeddings.embedding_dim,
        num_heads=attention.num_attention_heads,
        inner_size=first.intermediate.dense.out_features,
        vocab_size=embeddings.word_embeddings.num_embeddings,
        max_positions=embeddings.position_embeddings.num_embeddings,
        num_token_types=embeddings.token_type_embeddings.num_embeddings,
        pad_token_id=config.pad_token_id,
        activation=ACTIVATIONS[type(activation)],
        eps=embeddings.LayerNorm.eps,
    )
    _check_sizes(spec)
    _check_uniform(model, spec, type(activation))
    _check_refusals(model)
    _check_buffers(embeddings, spec)
    return spec


def _check_sizes(spec: EncoderSpec) -> None:
    """Sizes that stock fails on, in words of its own, or broadcasts: a position table of one row serves any length."""
    least = {"num_heads": 1, "vocab_size": 1, "num_token_types": 1, "max_positions": 2}
    for name, smallest in least.items():
        if getattr(spec, name) < smallest:
            raise Refused(f"{name}={getattr(spec, name)}")
    if type(spec.eps) not in (float, int):
        raise Refused(f"eps={spec.eps!r}")


def _check_refusals(model: Any) -> None:
    """Nothing is set that changes no result, but that stock raises for."""
    pad_token_id = model.config.pad_token_id
    if pad_token_id is not None and type(pad_token_id) is not int:
        raise Refused(f"pad_token_id={pad_token_id!r}")
    for layer in model.encoder.layer:
        # A length that is no multiple of it is refused; every length is one of 1.
        if type(layer.chunk_size_feed_forward) is not int or layer.chunk_size_feed_forward > 1:
            raise Refused(f"chunk_size_feed_forward={layer.chunk_size_feed_forward!r}")
    for name, module in model.named_modules():
        if type(module) is nn.Dropout and not 0 <= module.p <= 1:
            raise Refused(f"{name}.p={module.p!r}")


def replaced_code() -> str | None:
    """Code of transformers or torch that the fast path stands in for, and that another library has replaced."""
    for owner, name, function in _CODE:
        if getattr(owner, name) is not function:
            return f"{owner.__name__}.{name} has been replaced"
    for name, function in _ATTENTION.items():
        if ALL_ATTENTION_FUNCTIONS.get(name) is not function:
            return f"attention function {name!r} has been replaced"
    return _FOREIGN


def _foreign_code() -> str | None:
    """The same, of what was replaced before bertfast was imported: it comes from another package."""
    for owner, name, function in _CODE:
        if not is_defined_in(_HOMES, function):
            return f"{owner.__name__}.{name} has been replaced"
    return None


_FOREIGN = _foreign_code()


def check_config(model: Any) -> str | None:
    """What the config asks for that the fast path does not do, or None."""
    config = model.config
    if config.is_decoder or config.add_cross_attention:
        return "decoder"
    if config._attn_implementation not in _ATTENTION_IMPLEMENTATIONS:
        return f"attn_implementation={config._attn_implementation!r}"
    if getattr(config, "is_causal", None) is not None:
        return "is_causal"
    return None


def _check_uniform(model: Any, spec: EncoderSpec, activation: type[nn.Module]) -> None:
    """Every layer has the sizes and constants of the first."""
    expected = {
        "is_decoder": False,
        "num_attention_heads": spec.num_heads,
        "attention_head_size": spec.head_size,
        "scaling": spec.scale,
        "is_causal": False,
        "eps": spec.eps,
        "max_norm": None,
        "position_embedding_type": "absolute",
    }
    for module, name in constants(model):
        if name == "act" and not is_own_activation(module):
            raise Refused(f"{type(module).__name__}.act has been replaced")
        if name == "config" and module.config._attn_implementation != model.config._attn_implementation:
            raise Refused(f"attn_implementation={module.config._attn_implementation!r} in a layer")
        if module is not model.config and name in expected and getattr(module, name) != expected[name]:
            raise Refused(f"{type(module).__name__}.{name}={getattr(module, name)!r}, not {expected[name]!r}")
    if any(type(layer.intermediate.intermediate_act_fn) is not activation for layer in model.encoder.layer):
        raise Refused("layers with different activations")
    shapes = parameter_roles(spec)
    names = parameter_names(spec)
    found = {name: p for name, p in model.named_parameters(remove_duplicate=False) if not name.startswith("pooler.")}
    for name in found.keys() ^ set(names.values()):
        raise Refused(f"{name}: {'unexpected' if name in found else 'missing'} parameter")
    for role, name in names.items():
        if tuple(found[name].shape) != shapes[role]:
            raise Refused(f"{name} is {list(found[name].shape)}, not {list(shapes[role])}")


def is_own_activation(module: Any) -> bool:
    """Whether ``act`` is what transformers' activations set: torch's function, or their own in Python."""
    act = module.act
    own = getattr(act, "__func__", None)
    return getattr(act, "func", act) is F.gelu or (own is not None and own in vars(type(module)).values())


def _check_buffers(embeddings: Any, spec: EncoderSpec) -> None:
    """The default ids are the usual ones: positions count from 0, every token type is 0."""
    for name in ("position_ids", "token_type_ids"):
        buffer = getattr(embeddings, name, None)
        if not isinstance(buffer, torch.Tensor) or buffer.shape != (1, spec.max_positions):
            raise Refused(f"embeddings.{name} has been replaced")
        usual = torch.arange(spec.max_positions, device=buffer.device)
        if not torch.equal(buffer[0], usual if name == "position_ids" else torch.zeros_like(usual)):
            raise Refused(f"embeddings.{name} has been changed")
