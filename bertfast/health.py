"""Whether calls can go on after an error that nobody has foreseen, and what their callers are told."""

from __future__ import annotations

import traceback
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import nn

from bertfast.backends import Backend
from bertfast.faults import DeviceError, OutOfMemoryError
from bertfast.packing import PackedBatch

_END = "Nothing computes on it any more in this process: end it, and start another"


@dataclass(frozen=True)
class Fault:
    """Why a device computes nothing more. error_code: CUDA's, None if it told none."""

    reason: str
    error_code: int | None = None

    def error(self) -> DeviceError:
        """To raise in each call from now on: a new one, as a traceback grows in each."""
        return DeviceError(self.reason, self.error_code)


# Of the process, as the failed context is: a model gets other engines whenever its options change.
_faults: dict[torch.device, Fault] = {}


def device_of(model: nn.Module) -> torch.device:
    """Where a model's weights are, or the first of them."""
    return next(model.parameters()).device


def fault_of(model: nn.Module) -> Fault | None:
    """Why the device of a model's weights computes nothing more; None as long as no call has met that."""
    # Every call comes by here.
    return _faults.get(device_of(model)) if _faults else None


def find_fault(device: torch.device, backend: Backend | None) -> Fault | None:
    """Ask a device whether it still computes; from then on it is known not to, if so."""
    failed = None if backend is None else backend.failure()
    if failed is None:
        return None
    fault = Fault(f"{device} has failed: {_first_line(failed)}. {_END}", getattr(failed, "error_code", None))
    return _faults.setdefault(device, fault)


def free_locals(error: BaseException) -> None:
    """Free what the frames of bertfast and torch that ``error`` has come through hold: activations.

    Its receiver may go on with less in an ``except`` clause. The frames of others are theirs: a debugger may want to
    see them, and a generator would be closed.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).partition(".")[0] in ("bertfast", "torch"):
            # It may still run.
            with suppress(RuntimeError):
                frame.clear()


def out_of_memory(error: BaseException, batch: PackedBatch | None) -> OutOfMemoryError:
    """The error for a call that ``error`` has ended. batch: of the call, None if it was not laid out yet."""
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
    max_tokens, why = _guidance(batch)
    return OutOfMemoryError(f"{given}; split the batch, {max_tokens} tokens a call at most ({why})", max_tokens)


def _guidance(batch: PackedBatch) -> tuple[int, str]:
    """How many tokens to try next, and why: fewer than the batch has, and every sequence fits."""
    half, longest = batch.num_tokens // 2, batch.sequences.max_seqlen
    if half < longest:
        return longest, "those of the longest sequence: if it finds no memory alone, cut that text, or free memory"
    return half, "half of these: how many fit is not known"


def _first_line(error: BaseException) -> str:
    # CUDA's errors go on with advice for who debugs kernels.
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
