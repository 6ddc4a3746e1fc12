"""Whether an engine can go on after an error, and what its callers are told."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass

import torch

from bertfast.backends import Backend
from bertfast.errors import BertfastError
from bertfast.faults import DeviceError, OutOfMemoryError, is_out_of_memory
from bertfast.packing import PackedBatch

_END = "Nothing computes on it any more in this process: end it, and start another"


@dataclass(frozen=True)
class Fault:
    """Why a device computes nothing more. error_code: CUDA's, None if it told none."""

    reason: str
    error_code: int | None = None

    def error(self) -> DeviceError:
        return DeviceError(self.reason, self.error_code)


class Health:
    """Of one engine. Safe to use from several threads.

    fault: why its device computes nothing more, None as long as it does. most_tokens: that one of its calls computed.
    """

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.most_tokens = 0

    def went_well(self, num_tokens: int) -> None:
        """A call of so many computed tokens has found its memory."""
        if num_tokens > self.most_tokens:
            self.most_tokens = num_tokens

    def explained(
        self,
        error: BaseException,
        device: torch.device,
        backend: Backend | None,
        batch: PackedBatch | None,
        give_back: Callable[[], None] | None,
    ) -> BertfastError | None:
        """What to raise instead of ``error``, which a call has met; None if there is no more to say of it.

        batch: of the call, None if it was not laid out yet. give_back: frees what the engine can do without, if any.
        """
        if is_out_of_memory(error):
            # The caller may go on with less in its ``except`` clause, where the error would hold the activations.
            traceback.clear_frames(error.__traceback__)
            if give_back is not None:
                give_back()
            return out_of_memory(error, batch, self.most_tokens)
        failed = None if backend is None else backend.failure()
        if failed is None:
            return None
        self.fault = Fault(f"{device} has failed: {_first_line(failed)}. {_END}", getattr(failed, "error_code", None))
        return self.fault.error()


def out_of_memory(error: BaseException, batch: PackedBatch | None, most_tokens: int) -> OutOfMemoryError:
    """The error for a call that ``error`` has ended. most_tokens: that a call of the model has computed so far."""
    cause = _first_line(error)
    if batch is None:
        return OutOfMemoryError(
            "out of memory before anything was computed, while the weights were prepared or the batch was laid out: "
            f"{cause}. The model is unchanged; free memory, or give a smaller batch"
        )
    real = "an uncounted number of" if batch.num_keys is None else batch.num_keys
    given = (
        f"out of memory: a batch of {batch.batch_size} sequences, padded to {[batch.batch_size, batch.padded_len]}, "
        f"of {real} real tokens, of which {batch.num_tokens} were to be computed: {cause}. The model is unchanged"
    )
    if batch.batch_size == 1:
        return OutOfMemoryError(f"{given}; one sequence cannot be split: cut the text, or free memory")
    max_tokens, why = _guidance(batch, most_tokens)
    return OutOfMemoryError(f"{given}; split the batch, {max_tokens} tokens a call at most ({why})", max_tokens)


def _guidance(batch: PackedBatch, most_tokens: int) -> tuple[int, str]:
    """How many tokens to try next, and why."""
    half = batch.num_tokens // 2
    if half < most_tokens < batch.num_tokens:
        return most_tokens, "the largest call of this model that found its memory"
    return half, "half of these: how many fit is not known"


def _first_line(error: BaseException) -> str:
    # CUDA's errors go on with advice for who debugs kernels.
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
