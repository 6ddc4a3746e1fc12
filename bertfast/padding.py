"""Which positions of a batch are computed: the rule for padding, and who waits for the numbers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bertfast import compat
from bertfast.families import Refused
from bertfast.inputs import EncoderInputs, check_ranges
from bertfast.ops import unpad_input
from bertfast.ops.unpad_input import MASK_DTYPES, PackedCounts, attended_positions, computed_positions
from bertfast.packing import PackedBatch, pack, pack_dense, packed_on_device
from bertfast.weights import EncoderWeights

NO_KEYS = "a row without any attended token"


@dataclass(frozen=True)
class Layout:
    """A packed batch and what was decided about its padding.

    drops: whether padding is left out. unread: counts of `unpad_input`, [5] int64, that nobody has waited for, or
    None. ids_unchecked: no one has compared the ids with their tables yet.
    """

    batch: PackedBatch
    drops: bool
    unread: Tensor | None = None
    ids_unchecked: bool = False

    def hidden_tokens(self) -> int:
        """How many positions are computed that the mask hides, as far as is known."""
        return 0 if self.drops or self.batch.num_keys is None else self.batch.num_tokens - self.batch.num_keys


def lay_out(inputs: EncoderInputs, weights: EncoderWeights, attention: str, drop: bool, may_wait: bool) -> Layout:
    """Decide what of a checked call is computed.

    attention: transformers' name of the attention implementation. drop: leave padding out. may_wait: values may be
    read from the device; a small batch never waits for that. Raises Refused for a mask that the packed encoder does
    not compute, and InputRangeError for ids outside of their tables where the ids can be read.
    """
    mask, spec, policy = inputs.attention_mask, weights.spec, weights.policy
    on_device = policy.packs_on_device and inputs.device == weights.device
    if not on_device:
        check_ranges(inputs, spec)
    if mask is None:
        batch = pack_dense(inputs.batch_size, inputs.padded_len, weights.device)
        return Layout(batch, drop, ids_unchecked=on_device)
    reason = compat.unusual_mask(mask, weights.dtype, attention)
    if reason is not None:
        raise Refused(reason)
    reading = compat.mask_reading(weights.dtype)
    pad_token_id = spec.pad_token_id if drop else None
    if not on_device:
        attended = attended_positions(mask, reading)
        batch = pack(attended, computed_positions(attended, inputs.input_ids, pad_token_id))
        if batch.fewest_keys == 0:
            raise Refused(NO_KEYS)
        return Layout(batch if inputs.device == weights.device else batch.to(weights.device), drop)

    if mask.dtype not in MASK_DTYPES:
        raise Refused(f"attention_mask of {mask.dtype} on {mask.device}")
    unpadded = unpad_input(
        mask,
        inputs.input_ids,
        inputs.token_type_ids,
        inputs.position_ids,
        spec.vocab_size,
        spec.num_token_types,
        spec.max_positions,
        pad_token_id,
        reading,
    )
    if not may_wait or mask.numel() <= policy.unwaited_slots:
        batch = packed_on_device(unpadded, inputs.padded_len, None)
        return Layout(batch, drop, unread=unpadded.counts, ids_unchecked=True)
    # The one wait of a forward.
    counts = PackedCounts(*unpadded.counts.tolist())
    if counts.out_of_range:
        check_ranges(inputs, spec)
    if counts.fewest_keys == 0:
        raise Refused(NO_KEYS)
    return Layout(packed_on_device(unpadded, inputs.padded_len, counts), drop)


def computed_mask(inputs: EncoderInputs, weights: EncoderWeights, drop: bool) -> Tensor | None:
    """The positions of the batch that are computed: [B, S] bool, or None for all."""
    mask = inputs.attention_mask
    if mask is None or not drop:
        return None
    attended = attended_positions(mask, compat.mask_reading(weights.dtype))
    return computed_positions(attended, inputs.input_ids, weights.spec.pad_token_id).to(weights.device)
