"""Whether tensors that were copied have changed since."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

# Each costs a line of the cache for every call.
_SAMPLES = 16


class Copied:
    """What tensors held when they were copied: how often they had been written to, and a few of their values.

    A change that autograd counts is seen (optimizers, ``load_state_dict``, whatever is written under ``no_grad``). Of
    changes through ``.data`` or numpy, which nobody counts, those of a whole tensor are.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        tensors = [tensor.detach() for tensor in tensors if tensor.numel()]
        # Inference tensors count nothing.
        self._counted = [tensor for tensor in tensors if not tensor.is_inference()]
        self._samples = [_sample(tensor) for tensor in tensors]
        self._versions, self._values = self._look()

    def unchanged(self) -> bool:
        """Whether they are as they were."""
        versions, values = self._look()
        return versions == self._versions and torch.equal(values, self._values)

    def _look(self) -> tuple[list[int], Tensor]:
        # As integers: NaN equals itself.
        values = torch.cat(self._samples) if self._samples else torch.empty(0)
        return [tensor._version for tensor in self._counted], values.view(torch.int32)


def _sample(tensor: Tensor) -> Tensor:
    """Values from all over ``tensor``, in its memory: [about 16]. Raises RuntimeError for layouts that need a copy."""
    flat = (tensor if tensor.is_contiguous() else tensor.t()).view(-1)
    return flat[:: max(1, flat.numel() // _SAMPLES)]
