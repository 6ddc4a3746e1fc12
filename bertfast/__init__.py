"""bertfast: BERT encoders without their padding, behind the import people already have.

Change ``from transformers import ...`` to ``from bertfast import ...``: the accelerated classes are served from
here, every other name is transformers' own. Importing has no side effect but a warning of unsupported versions.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bertfast._version import __version__
from bertfast.versions import UnsupportedVersionWarning, check_versions, suspects

if TYPE_CHECKING:
    from bertfast.errors import (
        BertfastError,
        ConfigError,
        ExtensionError,
        FallbackError,
        InputRangeError,
        InputShapeError,
        InputTypeError,
        InvarianceError,
        PrecisionError,
        ReleasedWeightsError,
        SettingError,
        StaleGraphError,
        UninstallError,
        UnsupportedModelError,
        UnsupportedVersionError,
    )
    from bertfast.faults import DeviceError, OutOfMemoryError
    from bertfast.models.accelerate import accelerate, accelerated, restore
    from bertfast.models.bert import (
        BertForMaskedLM,
        BertForMultipleChoice,
        BertForNextSentencePrediction,
        BertForPreTraining,
        BertForQuestionAnswering,
        BertForSequenceClassification,
        BertForTokenClassification,
        BertLMHeadModel,
        BertModel,
    )
    from bertfast.models.explain import explain
    from bertfast.models.install import install, installed, uninstall
    from bertfast.models.pipelines import pipeline
    from bertfast.models.warmup import warmup
    from bertfast.reporting import STATS, stats

# Name -> the module it is served from, imported when the name is first used.
_HOMES = {
    "accelerate": "models.accelerate",
    "explain": "models.explain",
    "pipeline": "models.pipelines",
    "accelerated": "models.accelerate",
    "install": "models.install",
    "installed": "models.install",
    "restore": "models.accelerate",
    "uninstall": "models.install",
    "warmup": "models.warmup",
    "STATS": "reporting",
    "stats": "reporting",
    "BertfastError": "errors",
    "ConfigError": "errors",
    "ExtensionError": "errors",
    "FallbackError": "errors",
    "InputRangeError": "errors",
    "InputShapeError": "errors",
    "InputTypeError": "errors",
    "InvarianceError": "errors",
    "PrecisionError": "errors",
    "ReleasedWeightsError": "errors",
    "SettingError": "errors",
    "StaleGraphError": "errors",
    "UninstallError": "errors",
    "UnsupportedModelError": "errors",
    "UnsupportedVersionError": "errors",
    "DeviceError": "faults",
    "OutOfMemoryError": "faults",
    "BertForMaskedLM": "models.bert",
    "BertForMultipleChoice": "models.bert",
    "BertForNextSentencePrediction": "models.bert",
    "BertForPreTraining": "models.bert",
    "BertForQuestionAnswering": "models.bert",
    "BertForSequenceClassification": "models.bert",
    "BertForTokenClassification": "models.bert",
    "BertLMHeadModel": "models.bert",
    "BertModel": "models.bert",
}

__all__ = [
    "STATS",
    "BertForMaskedLM",
    "BertForMultipleChoice",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertLMHeadModel",
    "BertModel",
    "BertfastError",
    "ConfigError",
    "DeviceError",
    "ExtensionError",
    "FallbackError",
    "InputRangeError",
    "InputShapeError",
    "InputTypeError",
    "InvarianceError",
    "OutOfMemoryError",
    "PrecisionError",
    "ReleasedWeightsError",
    "SettingError",
    "StaleGraphError",
    "UninstallError",
    "UnsupportedModelError",
    "UnsupportedVersionError",
    "UnsupportedVersionWarning",
    "__version__",
    "accelerate",
    "accelerated",
    "explain",
    "install",
    "installed",
    "pipeline",
    "restore",
    "stats",
    "uninstall",
    "warmup",
]

check_versions()


def _import(module: str) -> Any:
    """A module of bertfast. Raises UnsupportedVersionError where versions that were never tested may have broken it."""
    try:
        return importlib.import_module(module)
    except (ImportError, AttributeError, TypeError) as error:
        found = suspects()
        if not found or _is_missing_package(error):
            raise
        from bertfast.errors import UnsupportedVersionError

        raise UnsupportedVersionError(f"{module} cannot be imported ({error}); {'; '.join(found)}") from error


def _is_missing_package(error: Exception) -> bool:
    """Whether an import failed because a whole package is not there, which no version of another brings."""
    return isinstance(error, ModuleNotFoundError) and error.name is not None and "." not in error.name


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(_import(f"bertfast.{_HOMES[name]}"), name)
    if name.startswith("_"):
        raise AttributeError(f"module 'bertfast' has no attribute {name!r}")
    if name.startswith("AutoModel"):
        auto = _import("bertfast.models.auto")
        if auto.is_auto_model(name):
            return auto.auto_model_class(name)
    if "Tokenizer" in name:
        tokenizers = _import("bertfast.models.tokenizers")
        if tokenizers.is_tokenizer(name):
            return tokenizers.tokenizer_class(name)
    try:
        return getattr(importlib.import_module("transformers"), name)
    except AttributeError:
        raise AttributeError(f"neither bertfast nor transformers has a name {name!r}") from None


def __dir__() -> list[str]:
    return sorted(__all__)
