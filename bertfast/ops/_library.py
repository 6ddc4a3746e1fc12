"""Registration of the ``torch.ops.bertfast`` operators: one schema, one CPU reference and one fake per op."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import torch

from bertfast import extension
from bertfast.errors import ExtensionError

_LIBRARY = torch.library.Library("bertfast", "FRAGMENT")

# The registered fakes by name: a library of kernels under another name has the same shapes and refusals.
FAKES: dict[str, Callable[..., Any]] = {}
# The references by name, whoever computes the op: what results and times are compared with.
REFERENCES: dict[str, Callable[..., Any]] = {}


def register(
    schema: str,
    reference: Callable[..., Any],
    fake: Callable[..., Any],
    check: Callable[..., None],
    arguments: Callable[..., Any] | None = None,
) -> None:
    """Define ``bertfast::<schema>`` with ``reference`` as its CPU implementation.

    ``check`` sees the arguments first, for the reference as for the fake, and raises what does not fit. The three
    take the arguments one by one, or as one value that ``arguments`` makes of them. The dispatcher leaves out those
    that equal the schema's default, so each needs the same defaults.

    The reference is registered for ``CPU`` only: a tensor on a device without a kernel fails loudly
    instead of running slowly. ``bertfast._C`` registers the kernels for ``CUDA`` itself, by csrc/bindings.
    """
    name = schema.split("(", 1)[0]
    FAKES[name] = _checked(name, fake, check, arguments)
    REFERENCES[name] = _checked(name, reference, check, arguments)
    _LIBRARY.define(schema, tags=torch.Tag.pt2_compliant_tag)
    _LIBRARY.impl(name, REFERENCES[name], "CPU")
    torch.library.register_fake(f"bertfast::{name}", FAKES[name], lib=_LIBRARY)
    if not (extension.available() and torch._C._dispatch_has_kernel_for_dispatch_key(f"bertfast::{name}", "CUDA")):
        # Instead of the dispatcher's own words. A binary of another version may have left kernels there.
        _LIBRARY.impl(name, _refusal(name), "CUDA", allow_override=True)


def _checked(
    name: str, function: Callable[..., Any], check: Callable[..., None], arguments: Callable[..., Any] | None
) -> Callable[..., Any]:
    def run(*values: Any) -> Any:
        _check_one_device(name, values)
        if arguments is not None:
            values = (arguments(*values),)
        check(*values)
        return function(*values)

    return run


def _check_one_device(name: str, values: tuple[Any, ...]) -> None:
    """With one on meta among others the fake is called: memory that nobody wrote would be the result."""
    if len({value.device for value in values if isinstance(value, torch.Tensor)}) <= 1:
        return
    arguments = getattr(torch.ops.bertfast, name).default._schema.arguments
    found = [f"{a.name} on {v.device}" for a, v in zip(arguments, values, strict=False) if isinstance(v, torch.Tensor)]
    raise ValueError(f"{name}: expected all tensors on one device, got {', '.join(found)}")


def _refusal(name: str) -> Callable[..., NoReturn]:
    reason = extension.why_not() or f"bertfast._C has none for it; is it older than the rest? {extension.build_info()}"

    def refuse(*arguments: Any, **keywords: Any) -> NoReturn:
        raise ExtensionError(f"bertfast::{name}: no CUDA kernel: {reason}")

    return refuse


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
