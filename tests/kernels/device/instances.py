"""Instances of kernels in machine code, and what their template arguments say about them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kernels.device.sass import Instructions

_VECTOR_BYTES = 16
_ELEMENT_BYTES = {"float": 4, "__half": 2, "__nv_bfloat16": 2, "unsigned int": 4, "unsigned short": 2}
# Which template arguments of a kernel are the type of an element, and how many of them it loads and stores at once.
# Those of RowLayout and CopyUnit are counted one by one.
VECTOR_ARGUMENTS = {
    "bias_gelu_kernel": (0, 2),
    "embedding_layer_norm_kernel": (0, 2),
    "gather_first_kernel": (1, 2),
    "pad_input_kernel": (1, 2),
    "residual_layer_norm_kernel": (0, 2),
}
# As csrc/kernels/intrinsics_tensor_core.cuh counts them.
TURING, AMPERE = 0, 1


@dataclass(frozen=True)
class Instance:
    """The machine code of one instance of a kernel for one architecture."""

    name: str
    architecture: str
    instructions: Instructions

    @property
    def kernel(self) -> str:
        """Its name without the template arguments."""
        return self.name.partition("<")[0]

    @property
    def arguments(self) -> list[str]:
        """Of the template, those of its arguments' own templates among them."""
        return [argument.strip() for argument in re.findall(r"[^<>,]+", self.name.partition("<")[2])]

    @property
    def is_vectorized(self) -> bool:
        """Whether it loads and stores 16 bytes at once."""
        if self.kernel not in VECTOR_ARGUMENTS:
            return False
        element, width = (self.arguments[i] for i in VECTOR_ARGUMENTS[self.kernel])
        return int(width) * _ELEMENT_BYTES[element] == _VECTOR_BYTES

    @property
    def tensor_cores(self) -> int | None:
        """TURING or AMPERE, for a kernel written for the tensor cores of these."""
        cores = re.search(r"\(TensorCores\)(\d)", self.name)
        return int(cores[1]) if cores else None

    @property
    def is_for_other_devices(self) -> bool:
        """Whether its architecture has other tensor cores than it is written for: it is never launched there."""
        return self.tensor_cores is not None and (self.tensor_cores == TURING) != (self.architecture == "75")

    def __str__(self) -> str:
        return f"{self.name} for sm_{self.architecture}"
