"""What stands in a model for a weight that was given up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from bertfast.errors import ReleasedWeightsError

#: What reads no values: shape and dtype, and new tensors of the same kind. The same goes for most properties.
_ALLOWED = frozenset(
    (
        Tensor.__hash__,
        Tensor.__format__,
        Tensor.__len__,
        Tensor.data_ptr,
        Tensor.dim,
        Tensor.element_size,
        Tensor.get_device,
        Tensor.is_complex,
        Tensor.is_contiguous,
        Tensor.is_floating_point,
        Tensor.is_inference,
        Tensor.is_shared,
        Tensor.ndimension,
        Tensor.nelement,
        Tensor.new_empty,
        Tensor.new_full,
        Tensor.new_ones,
        Tensor.new_zeros,
        Tensor.numel,
        Tensor.requires_grad_,
        Tensor.size,
        Tensor.stride,
        Tensor.untyped_storage,
    )
)
_VIEWS = frozenset(getattr(Tensor, name) for name in ("data", "T", "H", "mT", "mH", "real", "imag"))


class ReleasedParameter(nn.Parameter):
    """A parameter with shape, dtype and device, but without values: whatever would read or write them raises.

    It takes the place of another parameter, which stays as it is for those who hold it: a call that is running, another
    model.
    """

    @staticmethod
    def of(parameter: nn.Parameter) -> ReleasedParameter:
        """One of the same shape, dtype and device, that needs no memory."""
        return ReleasedParameter(
            parameter.new_full((1,) * parameter.dim(), float("nan")).expand(parameter.shape), requires_grad=False
        )

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        # Properties arrive as the bound __get__ or __set__ of their descriptor.
        owner = getattr(func, "__self__", None)
        is_property = type(func).__name__ == "method-wrapper" and owner not in _VIEWS
        if is_property or func in _ALLOWED:
            return nn.Parameter.__torch_function__(func, types, args, kwargs or {})
        name = getattr(owner if owner in _VIEWS else func, "__name__", func)
        raise ReleasedWeightsError(
            f"{name} of a weight, and keep_original=False has given it up; load the model "
            "again, without it where this is needed"
        )

    def __repr__(self) -> str:  # type: ignore[override]
        return f"ReleasedParameter(shape={tuple(self.shape)}, dtype={self.dtype}, device={str(self.device)!r})"


# What torch.compile can look at: it fails at a `ReleasedParameter`.
_MARK = "_bertfast_released"


def mark(model: nn.Module) -> None:
    """Let `is_marked` be true of ``model``."""
    model.__dict__[_MARK] = True


def unmark(model: nn.Module) -> None:
    """Undo `mark`."""
    model.__dict__.pop(_MARK, None)


def is_marked(model: nn.Module) -> bool:
    """Whether it is ``model`` that was asked to give up weights; others may share them."""
    return _MARK in model.__dict__


def holds_released(module: nn.Module) -> bool:
    """Whether a weight of ``module`` was given up."""
    return is_marked(module) or any(type(parameter) is ReleasedParameter for parameter in module.parameters())
