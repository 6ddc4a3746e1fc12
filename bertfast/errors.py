"""Typed errors. Each also derives from the exceptions that stock transformers raises for the same mistake,
so that an ``except`` clause written for transformers keeps catching it."""

from __future__ import annotations


class BertfastError(Exception):
    """Base of every error that bertfast raises itself."""


class InputShapeError(BertfastError, ValueError, RuntimeError, IndexError):
    """An input has a shape that the model cannot take: rank, batch, length, or empty."""


class InputTypeError(BertfastError, TypeError, RuntimeError, AttributeError):
    """An input is no tensor, or has a dtype or device that the model cannot take."""


class InputRangeError(BertfastError, IndexError, RuntimeError):
    """An id points outside of its embedding table."""


class FallbackError(BertfastError, RuntimeError):
    """A call would have run stock transformers although ``on_fallback="raise"`` was asked for."""


class UnsupportedModelError(BertfastError, ValueError):
    """A model holds no encoder that bertfast can accelerate."""


class ConfigError(BertfastError, ValueError, RuntimeError, ZeroDivisionError, KeyError):
    """A config has a value that no model can have; nothing was made of it."""

    # A KeyError's would put the message in quotes.
    __str__ = Exception.__str__


class PrecisionError(BertfastError, ValueError):
    """A precision was asked for that cannot be made from the model's weights, where they are."""


class InvarianceError(BertfastError, ValueError):
    """``invariant=True`` was asked for where results would still depend on the batch."""


class ReleasedWeightsError(BertfastError, RuntimeError):
    """The original weights are needed, and were given up for copies of a reduced precision."""


class UninstallError(BertfastError, RuntimeError):
    """`uninstall` would have removed what somebody else put over bertfast, or kept bertfast alive beneath it."""


class StaleGraphError(BertfastError, RuntimeError):
    """A backward pass was asked of a model whose modules were replaced since the forward pass."""


class SettingError(BertfastError, ValueError):
    """A variable of the environment has a value that means nothing."""


class UnsupportedVersionError(BertfastError, ImportError):
    """A part of bertfast cannot be imported with the installed version of torch or transformers."""


class ExtensionError(BertfastError, RuntimeError):
    """The compiled CUDA kernels were asked for, and are not there or do not fit."""
