"""Registration of the ``torch.ops.bertfast`` operators: one schema, one CPU reference and one fake per op."""

from __future__ import annotations

from collections.abc import Callable

import torch

_LIBRARY = torch.library.Library("bertfast", "FRAGMENT")


def register(schema: str, reference: Callable[..., torch.Tensor], fake: Callable[..., torch.Tensor]) -> None:
    """Define ``bertfast::<schema>`` with ``reference`` as its CPU implementation.

    The reference is registered for ``CPU`` only: a tensor on a device without a kernel fails loudly
    instead of running slowly.
    """
    name = schema.split("(", 1)[0]
    _LIBRARY.define(schema, tags=torch.Tag.pt2_compliant_tag)
    _LIBRARY.impl(name, reference, "CPU")
    torch.library.register_fake(f"bertfast::{name}", fake, lib=_LIBRARY)


def check_shape(name: str, tensor: torch.Tensor, *expected: int | str) -> None:
    """Raise a ValueError naming ``name`` unless ``tensor`` has the ``expected`` sizes (a str is a free symbol)."""
    shape = tensor.shape
    if len(shape) == len(expected) and all(isinstance(e, str) or s == e for s, e in zip(shape, expected, strict=True)):
        return
    wanted = ", ".join(str(e) for e in expected)
    raise ValueError(f"{name}: expected [{wanted}], got {list(shape)}")


def check_dtype(name: str, tensor: torch.Tensor, *allowed: torch.dtype) -> None:
    """Raise a ValueError naming ``name`` unless its dtype is one of ``allowed``."""
    if tensor.dtype not in allowed:
        wanted = " or ".join(str(dtype) for dtype in allowed)
        raise ValueError(f"{name}: expected {wanted}, got {tensor.dtype}")
