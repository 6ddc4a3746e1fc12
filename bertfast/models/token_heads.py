"""Heads that compute each position from that position alone, and whether one is still as transformers wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn
from transformers.models.bert import modeling_bert as hf

from bertfast.families import bert as family
from bertfast.models.bert import BertForMaskedLM, BertForTokenClassification, BertModel
from bertfast.models.watchers import CALL_METHODS, OwnMethods, is_untouched

_ACTIVATIONS = tuple(family.ACTIVATIONS)
# The exact type of every module outside of the encoder, by name.
_TOKEN_CLASSIFICATION: dict[str, tuple[type[nn.Module], ...]] = {
    "": (BertForTokenClassification,),
    "dropout": (nn.Dropout,),
    "classifier": (nn.Linear,),
}
_MASKED_LM: dict[str, tuple[type[nn.Module], ...]] = {
    "": (BertForMaskedLM,),
    "cls": (hf.BertOnlyMLMHead,),
    "cls.predictions": (hf.BertLMPredictionHead,),
    "cls.predictions.transform": (hf.BertPredictionHeadTransform,),
    "cls.predictions.transform.dense": (nn.Linear,),
    "cls.predictions.transform.transform_act_fn": _ACTIVATIONS,
    "cls.predictions.transform.LayerNorm": (nn.LayerNorm,),
    "cls.predictions.decoder": (nn.Linear,),
}
_HEADS = {BertForTokenClassification: _TOKEN_CLASSIFICATION, BertForMaskedLM: _MASKED_LM}
_KINDS: set[type] = {BertModel, *(kind for head in _HEADS.values() for kinds in head.values() for kind in kinds)}
_METHODS = [OwnMethods(kind, CALL_METHODS) for kind in _KINDS]
_WEIGHTS = {"weight", "bias"}


def encoder_of_token_head(model: Any) -> nn.Module | None:
    """The encoder of a head that looks at one position at a time, and that nobody watches or has changed."""
    head = _HEADS.get(type(model))
    if head is None or type(getattr(model, "bert", None)) is not BertModel:
        return None
    found = dict(_outside(model))
    if found.keys() != head.keys() or not all(type(module) in head[name] for name, module in found.items()):
        return None
    config = model.config
    if config.output_hidden_states or config.output_attentions or not config.return_dict:
        return None
    if not all(methods.unchanged() for methods in _METHODS) or not _is_plain(model.bert):
        return None
    return model.bert if all(_is_plain(module) and _is_pointwise(module) for module in found.values()) else None


def _outside(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The model and all modules that are not its encoder's."""
    yield "", model
    for name, child in model._modules.items():
        if child is not None and name != "bert":
            yield from child.named_modules(prefix=name, remove_duplicate=False)


def _is_plain(module: nn.Module) -> bool:
    """Whether it is untouched and in eval mode, and no attribute hides one of its modules, parameters or buffers."""
    own = module.__dict__
    registered = {*own["_modules"], *own["_parameters"], *own["_buffers"]}
    return is_untouched(module) and not module.training and not registered & own.keys()


def _is_pointwise(module: Any) -> bool:
    """Whether the module's own attributes leave it a function of one position."""
    if any(p is not None and type(p) is not nn.Parameter for p in module._parameters.values()):
        return False
    if type(module) in (nn.Linear, nn.LayerNorm) and module._parameters.keys() != _WEIGHTS:
        return False
    if type(module) is nn.LayerNorm:
        return len(module.normalized_shape) == 1
    return type(module) not in _ACTIVATIONS or "act" not in vars(module) or family.is_own_activation(module)
