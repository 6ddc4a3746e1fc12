"""Checks of values in a device's memory that no call waits for: what they find is raised by a later call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from torch import Tensor

from bertfast.backends import Backend
from bertfast.errors import InputRangeError
from bertfast.ops.id_range import OUT_OF_RANGE_BITS
from bertfast.ops.unpad_input import PackedCounts
from bertfast.weights import EncoderSpec


class DeferredChecks:
    """Values on their way to the host, and what is to be done about each. Safe to call from several threads."""

    def __init__(self) -> None:
        self._pending: list[tuple[Callable[[], list[Any]], Callable[[list[Any]], None]]] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, backend: Backend, values: Tensor, check: Callable[[list[Any]], None]) -> None:
        """Have ``check(values.tolist())`` called by the next `run`. values: [n]; they may change afterwards."""
        pending = (backend.copy_to_host(values), check)
        with self._lock:
            self._pending.append(pending)

    def run(self) -> None:
        """Wait for the values that were added, which come early in a forward, and check them.

        Raises what a check raises; those after it are left to the next `run`.
        """
        while self._pending:
            with self._lock:
                if not self._pending:
                    return
                values, check = self._pending[0]
                found = values()
                del self._pending[0]
            check(found)


def check_earlier_ids(bits: int, spec: EncoderSpec) -> None:
    """Raises InputRangeError for the tables that ids of an earlier call were outside of. bits: of `id_range`."""
    rows = {
        "input_ids": spec.vocab_size,
        "token_type_ids": spec.num_token_types,
        "position_ids": spec.max_positions,
    }
    wrong = [f"{name} outside of 0 to {rows[name] - 1}" for name, bit in OUT_OF_RANGE_BITS.items() if bits & bit]
    if wrong:
        raise InputRangeError(
            f"an earlier call of this model was given {', '.join(wrong)}, and its outputs are meaningless; "
            "is this the model's own tokenizer?"
        )


def check_earlier_counts(counts: PackedCounts, spec: EncoderSpec) -> None:
    """Raises InputRangeError for what was wrong with the ids or the mask of an earlier call."""
    check_earlier_ids(counts.out_of_range, spec)
    if counts.fewest_keys == 0:
        raise InputRangeError(
            "an earlier call of this model was given an attention_mask with a row without any attended token, and its "
            "outputs there are not those of transformers; leave such rows out of the batch"
        )
