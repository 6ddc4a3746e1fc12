"""Which positions of a batch are computed: the rule for padding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bertfast import compat
from bertfast.families import Refused
from bertfast.inputs import EncoderInputs
from bertfast.ops.unpad_input import computed_positions
from bertfast.packing import PackedBatch, pack, pack_dense


@dataclass(frozen=True)
class Layout:
    """A packed batch and what was decided about its padding.

    computed: [B, S] bool, the positions of the batch, None for all. needed: [B, S] bool, the positions that are no
    padding, None for all.
    """

    batch: PackedBatch
    computed: Tensor | None
    needed: Tensor | None

    def padding_tokens(self) -> int:
        """How many of the computed positions are padding."""
        return 0 if self.needed is None else max(0, self.batch.num_tokens - int(self.needed.sum()))


def lay_out(inputs: EncoderInputs, attention: str, pad_token_id: int | None, dtype: torch.dtype, drop: bool) -> Layout:
    """Decide what of a checked call is computed, for activations of ``dtype``.

    attention: transformers' name of the attention implementation. drop: leave padding out. Raises Refused for a mask
    that the packed encoder does not compute.
    """
    mask = inputs.attention_mask
    if mask is None:
        return Layout(pack_dense(inputs.batch_size, inputs.padded_len, inputs.device), None, None)
    reason = compat.unusual_mask(mask, dtype, attention)
    if reason is not None:
        raise Refused(reason)
    attended = compat.attended(mask, dtype)
    needed = computed_positions(attended, inputs.input_ids, pad_token_id)
    batch = pack(attended, needed if drop else torch.ones_like(attended))
    if batch.fewest_keys == 0:
        raise Refused("a row without any attended token")
    return Layout(batch, needed if drop else None, needed)
