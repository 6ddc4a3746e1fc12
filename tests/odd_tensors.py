"""Tensors as a caller may have them: every layout, class and state that torch has, of the same values where it can."""

from __future__ import annotations

from collections.abc import Callable

import torch
from hypothesis import reject
from hypothesis import strategies as st
from ops.cases import with_strides
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode


class Subclass(Tensor):
    """A class of somebody's own that changes nothing."""


def _sliced(tensor: Tensor) -> Tensor:
    """A window into larger memory."""
    padded = tensor.new_full([size + 2 for size in tensor.shape], 1)
    window = padded[tuple(slice(1, -1) for _ in tensor.shape)]
    return window.copy_(tensor)


def _conjugated(tensor: Tensor) -> Tensor:
    """Lazily, twice: the imaginary part of a conjugate is a view that negates."""
    numbers = torch.complex(torch.zeros_like(tensor), -tensor)
    return numbers.conj().imag


def _inference(tensor: Tensor) -> Tensor:
    with torch.inference_mode():
        return tensor.clone()


def _quantized(tensor: Tensor) -> Tensor:
    return torch.quantize_per_tensor(tensor.float(), 0.05, 0, torch.qint8)


def _unaligned(tensor: Tensor) -> Tensor:
    """Memory that begins between two elements."""
    memory = torch.zeros(tensor.nbytes + 1, dtype=torch.uint8)
    memory[1:] = tensor.contiguous().view(-1).view(torch.uint8)
    return torch.frombuffer(memory.numpy(), dtype=tensor.dtype, offset=1).view(tensor.shape)


#: A kernel may read these, as they are or as a copy in one piece.
READABLE: dict[str, Callable[[Tensor], Tensor]] = {
    "as it is": lambda tensor: tensor,
    "with strides": with_strides,
    "transposed": lambda tensor: tensor.mT.contiguous().mT,
    "expanded": lambda tensor: tensor[:1].expand_as(tensor),
    "sliced": _sliced,
    "flipped": lambda tensor: tensor.flip(0),
    "between elements": _unaligned,
    "negated when read": lambda tensor: torch._neg_view(-tensor),
    "negated when read, with strides": _conjugated,
    "a parameter": lambda tensor: nn.Parameter(tensor),
    "with gradients": lambda tensor: tensor.clone().requires_grad_(),
    "of inference mode": _inference,
    "zeros without memory": lambda tensor: torch._efficientzerotensor(tensor.shape, dtype=tensor.dtype),
}
#: These no kernel reads.
OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "a subclass": lambda tensor: tensor.as_subclass(Subclass),
    "on meta": lambda tensor: tensor.to("meta"),
    "fake": lambda tensor: FakeTensorMode().from_tensor(tensor),
    "sparse": lambda tensor: tensor.to_sparse(),
    "sparse rows": lambda tensor: tensor.to_sparse_csr(),
    "of oneDNN": lambda tensor: tensor.to_mkldnn(),
    "quantized": _quantized,
    "nested": lambda tensor: torch.nested.nested_tensor(list(tensor)),
}
FORMS = {**READABLE, **OTHERS}


def made(form: str, tensor: Tensor) -> Tensor:
    """The tensor in this form; the example is left out where torch has no such tensor."""
    try:
        return FORMS[form](tensor)
    except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError):
        reject()


def plain(tensor: Tensor) -> Tensor:
    """The same values, for everyone to read."""
    return torch.zeros(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())


#: More often something unusual than not.
forms = st.sampled_from(sorted(FORMS))
