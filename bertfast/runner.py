"""The layers of small batches, in the sizes of a bucket and replayed from captured graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from bertfast.backends import GraphPool
from bertfast.encoder import run_layers
from bertfast.graphs import Bucket, GraphCache, GraphLimits
from bertfast.packing import Sequences
from bertfast.reporting import logger
from bertfast.weights import EncoderWeights


class LayerRunner:
    """Runs the layers on rows and sequences that are filled up to the sizes of a bucket.

    Captured or not, the same launches compute the same bits: only who issues them differs. The memory that they read
    is this object's, and one call at a time has it.
    """

    def __init__(self, weights: EncoderWeights, pool: GraphPool, limits: GraphLimits) -> None:
        self.graphs = GraphCache(pool, limits)
        self._weights = weights
        self._inputs: _Inputs | None = None
        self._busy = False

    @property
    def num_bytes(self) -> int:
        """Memory of the inputs that the launches read."""
        found = self._inputs
        return 0 if found is None else sum(t.nbytes for t in vars(found).values())

    def takes(self, num_rows: int) -> bool:
        """Whether a batch of so many rows is small enough."""
        return num_rows <= self.graphs.limits.max_rows

    def run(self, x: Tensor, sequences: Sequences, first_token_only: bool, replays: bool) -> Tensor:
        """As `run_layers`. x: [T, H]. replays: False issues every launch again."""
        bucket = Bucket.of(len(x), len(sequences), sequences.max_seqlen)
        with self.graphs.pool.exclusive():
            if self._busy:
                # A signal handler that calls the model in the middle of a call of the same thread.
                return run_layers(self._weights, x, sequences, first_token_only)
            try:
                self._busy = True
                inputs = self._allocated().of(bucket)
                inputs.fill(x, sequences)
                launches = inputs.launches(self._weights, bucket, first_token_only)
                rows = self.graphs.run(self._key(bucket, first_token_only), launches) if replays else launches()
                # The next replay writes over these.
                return rows[: len(sequences) if first_token_only else len(x)].clone()
            finally:
                self._busy = False

    def holds(self, bucket: Bucket, first_token_only: bool) -> bool:
        """Whether a bucket's launches are captured."""
        return self._key(bucket, first_token_only) in self.graphs

    def capture(self, bucket: Bucket, first_token_only: bool) -> bool:
        """Capture the launches of a bucket, unless they are; returns whether a graph was made and kept."""
        with self.graphs.pool.exclusive():
            inputs = self._allocated().of(bucket)
            inputs.clear()
            launches = inputs.launches(self._weights, bucket, first_token_only)
            return self.graphs.capture(self._key(bucket, first_token_only), launches)

    def capture_all(self, buckets: Iterable[Bucket], first_token_only: bool) -> int:
        """Capture the launches of buckets before they are met; returns how many graphs were made."""
        made = 0
        for bucket in buckets:
            if self.holds(bucket, first_token_only):
                continue
            kept = len(self.graphs)
            if kept == self.graphs.limits.max_graphs:
                logger.warning("bertfast: %d CUDA graphs are kept, no more; other batches are captured when met", kept)
                break
            made += self.capture(bucket, first_token_only)
        return made

    def give_back(self) -> None:
        """Free all that is kept, unless it is in use; it is made again when it is needed."""
        with self.graphs.pool.exclusive():
            # A signal handler's call ends in the middle of one of the same thread.
            if not self._busy:
                self.graphs.drop_all()
                self._inputs = None

    def _key(self, bucket: Bucket, first_token_only: bool) -> tuple[object, ...]:
        return bucket, first_token_only, self._weights.backend.math_mode()

    def _allocated(self) -> _Inputs:
        if self._inputs is None:
            self._inputs = _Inputs.allocate(self._weights, self.graphs.limits.max_rows)
        inputs = self._inputs
        self._weights.backend.use_on_current_stream(inputs.x, inputs.cu_seqlens, inputs.key_lengths, inputs.first_rows)
        return inputs


@dataclass(frozen=True)
class _Inputs:
    """What the launches read, at addresses that stay. x: [rows, H]; the others as in `Sequences`."""

    x: Tensor
    cu_seqlens: Tensor
    key_lengths: Tensor
    first_rows: Tensor

    @classmethod
    def allocate(cls, weights: EncoderWeights, max_rows: int) -> _Inputs:
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

    def of(self, bucket: Bucket) -> _Inputs:
        """The part that a bucket's launches read."""
        rows, sequences, _ = bucket
        return _Inputs(
            self.x[:rows], self.cu_seqlens[: sequences + 1], self.key_lengths[:sequences], self.first_rows[:sequences]
        )

    def fill(self, x: Tensor, sequences: Sequences) -> None:
        """Put a batch in. Rows beyond ``x`` keep what they held, which no row of the batch reads.

        Sequences beyond the batch's own are empty.
        """
        count = len(sequences)
        self.x[: len(x)].copy_(x)
        self.cu_seqlens[: count + 1].copy_(sequences.cu_seqlens)
        self.key_lengths[:count].copy_(sequences.lengths() if sequences.key_lengths is None else sequences.key_lengths)
        self.first_rows[:count].copy_(sequences.first_rows)
        if count < len(self.first_rows):
            self.cu_seqlens[count + 1 :].copy_(sequences.cu_seqlens[-1:].expand(len(self.first_rows) - count))
            self.key_lengths[count:].zero_()
            self.first_rows[count:].zero_()

    def clear(self) -> None:
        """Put in a batch of no rows."""
        for sizes in (self.cu_seqlens, self.key_lengths, self.first_rows):
            sizes.zero_()

    def launches(self, weights: EncoderWeights, bucket: Bucket, first_token_only: bool) -> Callable[[], Tensor]:
        """The layers on this memory."""
        sequences = Sequences(self.cu_seqlens, self.key_lengths, self.first_rows, bucket.max_seqlen)
        # No closure: the traceback of an error would keep it, and this memory with it.
        return partial(run_layers, weights, self.x, sequences, first_token_only)
