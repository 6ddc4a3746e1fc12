"""What the engine asks of a kind of device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor

from bertfast.linear import Linear
from bertfast.packing import Sequences
from bertfast.precision import Choice


class CaptureError(RuntimeError):
    """Launches that no graph can hold, or not now. By themselves they may well work."""


class CapturedGraph(Protocol):
    """Launches that can be repeated."""

    def replay(self) -> Tensor:
        """Run them again, on the current stream; the result lies where the first one did."""


class GraphPool(Protocol):
    """Captures graphs that share their memory."""

    def capture(self, run: Callable[[], Tensor]) -> CapturedGraph:
        """The launches of ``run()``, which has been run before. Raises what that raises, CaptureError if no graph can
        hold them, and torch.OutOfMemoryError or RuntimeError where memory is short."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Inside, no other thread and no other stream replays a graph of this pool."""

    def num_bytes(self) -> int:
        """Device memory of the pool: graphs that are dropped leave theirs to later ones."""

    def reset(self) -> None:
        """Start a new pool; the memory of the old one goes back with the last of its graphs."""


class Backend(Protocol):
    """How encoders are run on a device."""

    #: Masks and ids lie in the device's memory, and to read a value from there means to wait for the device.
    packs_on_device: bool
    #: Who computes bertfast's ops, for people; but for attention, see `attention_by`.
    ops: str

    def resolve(self, asked: str | None, dtype: torch.dtype) -> Choice:
        """In what to multiply weights of this dtype. asked: one of `bertfast.precision.PRECISIONS`.

        Raises PrecisionError if it cannot be made from them here.
        """

    def linear(self, dtype: torch.dtype, precision: str | None = None, invariant: bool = False) -> type[Linear]:
        """Who multiplies matrices of this dtype. precision: ``reduced`` of `resolve`.

        invariant: a row's result may not depend on the others; raises InvarianceError if nobody is like that.
        """

    def attention(self, qkv: Tensor, sequences: Sequences, scale: float) -> Tensor:
        """Of each sequence over its own keys: see `bertfast.ops.varlen_attention`. qkv: [T, 3, N, D] -> [T, N, D]."""

    def attention_by(self, dtype: torch.dtype) -> str:
        """Who computes `attention` of qkv in this dtype, for people."""

    def first_token_attention(self, query: Tensor, key_value: Tensor, sequences: Sequences, scale: float) -> Tensor:
        """See `bertfast.ops.first_token_attention`. query: [B, N, D]; key_value: [T, 2, N, D] -> [B, N, D]."""

    def block_rows(self, precision: str | None) -> int | None:
        """Rows of one step of what follows attention, whose activations stay in a cache; None for all."""

    def padded_rows(self, num_rows: int, dtype: torch.dtype, precision: str | None) -> int:
        """How many rows to compute in the place of so many: at least these."""

    def memory_bound_rows(self, dtype: torch.dtype) -> int:
        """Up to so many rows a dense layer takes as long as reading its weight: padding costs nothing there."""

    def unserved(self, dtype: torch.dtype, hidden_size: int, head_size: int) -> str | None:
        """Why models of this kind are not run on the device, or None if they are."""

    def is_capturing(self) -> bool:
        """Whether the caller captures a graph of its own: nothing may wait for the device then."""

    def failure(self) -> Exception | None:
        """What every use of the device raises until the process ends, or None. Waits for it; asked after an error."""

    def copy_to_host(self, values: Tensor) -> Callable[[], list[Any]]:
        """Start copying ``values`` to the host; the function that is returned waits for them. values: [n]."""

    def use_on_current_stream(self, *tensors: Tensor) -> None:
        """Keep their memory, once it is given back, until what the current stream does with it is done."""

    def math_mode(self) -> tuple[object, ...]:
        """The settings of torch that choose how matrices are multiplied: a captured graph holds for one of them."""

    def float32_precision(self) -> str:
        """In what torch multiplies float32 matrices here: ``"float32"``, ``"tf32"`` or ``"bf16"``."""

    def make_graph_pool(self) -> GraphPool | None:
        """A pool for graphs of a model's launches; None where launches cost nothing."""
