"""The layers of small batches, replayed from recordings; the rest of a forward does not change with its shape."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from bertfast.cuda import math_mode
from bertfast.encoder import run_layers
from bertfast.graphs import Bucket, GraphCache, GraphLimits, Recorder
from bertfast.packing import PackedBatch, Sequences
from bertfast.weights import EncoderWeights

#: Set while a model is warmed up: what is met is recorded at once.
WARMING: ContextVar[bool] = ContextVar("bertfast_warming", default=False)


class LayerRunner:
    """Runs the layers on rows and sequences that are filled up to the sizes of a bucket.

    With or without recordings the same launches compute the same bits: only who issues them differs. The memory that
    they read is this object's, and one call at a time has it.
    """

    def __init__(self, weights: EncoderWeights, recorder: Recorder, limits: GraphLimits | None = None) -> None:
        self.graphs = GraphCache(recorder, limits or GraphLimits())
        self._weights = weights
        self._memory: _Memory | None = None

    def takes(self, num_rows: int) -> bool:
        """Whether a batch of so many rows is small enough."""
        return num_rows <= self.graphs.limits.max_rows

    def __call__(
        self,
        x: Tensor,
        batch: PackedBatch,
        first_token_only: bool,
        finish: Callable[[Tensor], Tensor],
        eager: bool = False,
    ) -> Tensor:
        """``finish`` of the last layer's rows, or of its first tokens. x: [T, H], the embeddings.

        The rows that ``finish`` is given are overwritten by the next call: where it would not copy them, they are
        copied for it. eager: without a recording.
        """
        sequences = batch.sequences
        bucket = Bucket.of(len(x), len(sequences), sequences.max_seqlen)
        num_results = len(sequences) if first_token_only else len(x)
        keeps_rows = batch.order is None if first_token_only else batch.indices is None
        with self.graphs.recorder.exclusive():
            inputs, filled = self._fill(bucket, x, sequences)
            result = self.graphs.run(
                (bucket, first_token_only, math_mode()),
                lambda: run_layers(self._weights, inputs, filled, first_token_only),
                eager,
                WARMING.get(),
            )
            rows = result[:num_results]
            return finish(rows.clone() if keeps_rows else rows)

    def _fill(self, bucket: Bucket, x: Tensor, sequences: Sequences) -> tuple[Tensor, Sequences]:
        """Put the inputs where the launches read them. Rows beyond ``x`` keep what they held: no row reads another's.

        Sequences beyond the batch's own are empty.
        """
        if self._memory is None:
            self._memory = _Memory.allocate(self._weights, self.graphs.limits.max_rows)
        memory, count, num_sequences = self._memory, len(sequences), bucket.num_sequences
        cu_seqlens = memory.cu_seqlens[: num_sequences + 1]
        key_lengths, first_rows = memory.key_lengths[:num_sequences], memory.first_rows[:num_sequences]
        memory.x[: len(x)].copy_(x)
        cu_seqlens[: count + 1].copy_(sequences.cu_seqlens)
        key_lengths[:count].copy_(sequences.lengths() if sequences.key_lengths is None else sequences.key_lengths)
        first_rows[:count].copy_(sequences.first_rows)
        if count < num_sequences:
            cu_seqlens[count + 1 :].copy_(sequences.cu_seqlens[-1:].expand(num_sequences - count))
            key_lengths[count:].zero_()
            first_rows[count:].zero_()
        return memory.x[: bucket.num_rows], Sequences(cu_seqlens, key_lengths, first_rows, bucket.max_seqlen)


@dataclass(frozen=True)
class _Memory:
    """What recorded launches read, at addresses that stay. x: [rows, H]; the others as in `Sequences`."""

    x: Tensor
    cu_seqlens: Tensor
    key_lengths: Tensor
    first_rows: Tensor

    @classmethod
    def allocate(cls, weights: EncoderWeights, max_rows: int) -> _Memory:
        """For any batch of up to ``max_rows`` rows; a sequence has at least one."""
        rows, sequences, _ = Bucket.of(max_rows, max_rows, 1)
        device, dtype = weights.device, weights.dtype
        # Written to in and outside of inference mode.
        with torch.inference_mode(False):
            return cls(
                torch.zeros((rows, weights.spec.hidden_size), dtype=dtype, device=device),
                torch.zeros(sequences + 1, dtype=torch.int32, device=device),
                torch.zeros(sequences, dtype=torch.int32, device=device),
                torch.zeros(sequences, dtype=torch.int64, device=device),
            )
