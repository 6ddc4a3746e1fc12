"""What a call may meet that is no mistake in it: memory that is short, a device that has failed.

Apart from `bertfast.errors` because of torch's own classes, which these derive from.
"""

from __future__ import annotations

import torch

from bertfast.errors import BertfastError

# Of errors that have no type of their own: torch's allocator on a CPU, C++ inside of torch, CUDA and cuBLAS.
_OUT_OF_MEMORY = ("DefaultCPUAllocator: ", "std::bad_alloc", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


class OutOfMemoryError(BertfastError, torch.OutOfMemoryError, MemoryError):
    """A forward found too little memory. The model is as it was, and what the forward had allocated is free.

    max_tokens: how many computed tokens to put into a call at most, next time, never fewer than the longest sequence
    has; None where nothing was laid out yet, and for a single sequence.
    """

    def __init__(self, message: str, max_tokens: int | None = None) -> None:
        super().__init__(message)
        self.max_tokens = max_tokens


class DeviceError(BertfastError, torch.AcceleratorError):
    """The device of a model has failed, and computes nothing more in this process: it has to be ended.

    error_code: CUDA's, as of `torch.AcceleratorError`; None where CUDA's error had none.
    """

    def __init__(self, message: str, error_code: int | None = None) -> None:
        super().__init__(message)
        self.error_code = error_code


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was short, on the host or on a device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # A class of somebody's own means what it is called, whatever its text.
    return type(error) in (RuntimeError, torch.AcceleratorError) and any(sign in str(error) for sign in _OUT_OF_MEMORY)
