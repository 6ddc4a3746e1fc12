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
from bertfast.reporting import logger
from bertfast.weights import EncoderWeights

_NO_KEYS = "a row without any attended token"


@dataclass(frozen=True)
class Layout:
    """A packed batch and what was decided about its padding.

    drops: whether padding is left out. ids_unchecked: nobody has compared the ids with their tables yet.
    unread_counts: [5] int64, counts of `unpad_input` that nobody has waited for, or None.
    """

    batch: PackedBatch
    drops: bool
    ids_unchecked: bool = False
    unread_counts: Tensor | None = None

    def hidden_tokens(self) -> int:
        """How many positions are computed that the mask hides, as far as is known."""
        return 0 if self.drops or self.batch.num_keys is None else self.batch.num_tokens - self.batch.num_keys


def lay_out(inputs: EncoderInputs, weights: EncoderWeights, attention: str, drop: bool, may_wait: bool) -> Layout:
    """Decide what of a checked call is computed.

    attention: transformers' name of the attention implementation. drop: leave padding out. may_wait: values may be
    read from the device. Raises Refused for a mask that the packed encoder does not compute, and InputRangeError for
    ids outside of their tables where the ids can be read without waiting, or are waited for.
    """
    on_device = weights.backend.packs_on_device and inputs.device == weights.device
    if not on_device:
        check_ranges(inputs, weights.spec)
    mask = inputs.attention_mask
    if mask is None:
        batch = pack_dense(inputs.batch_size, inputs.padded_len, weights.device)
        return Layout(batch, drop, ids_unchecked=on_device)
    if compat.has_to_read(mask, attention) and on_device and not may_wait:
        raise Refused("an attention_mask whose values have to be read, inside a CUDA graph")
    reason = compat.unusual_mask(mask, weights.dtype, attention)
    if reason is not None:
        raise Refused(reason)
    if not on_device:
        return Layout(_pack_on_host(inputs, mask, weights, drop), drop)
    if mask.dtype not in MASK_DTYPES:
        raise Refused(f"attention_mask of {mask.dtype} on {mask.device}")
    return _lay_out_on_device(inputs, mask, weights, drop, may_wait)


def _pack_on_host(inputs: EncoderInputs, mask: Tensor, weights: EncoderWeights, drop: bool) -> PackedBatch:
    attended = attended_positions(mask, compat.mask_reading(weights.dtype))
    pad_token_id = weights.spec.pad_token_id if drop else None
    batch = pack(attended, computed_positions(attended, inputs.input_ids, pad_token_id))
    if batch.fewest_keys == 0:
        raise Refused(_NO_KEYS)
    return batch if inputs.device == weights.device else batch.to(weights.device)


def _lay_out_on_device(
    inputs: EncoderInputs, mask: Tensor, weights: EncoderWeights, drop: bool, may_wait: bool
) -> Layout:
    spec = weights.spec
    unpadded = unpad_input(
        mask,
        inputs.input_ids,
        inputs.token_type_ids,
        inputs.position_ids,
        spec.vocab_size,
        spec.num_token_types,
        spec.max_positions,
        spec.pad_token_id if drop else None,
        compat.mask_reading(weights.dtype),
    )
    if not may_wait or mask.numel() <= weights.backend.memory_bound_rows(weights.dtype):
        batch = packed_on_device(unpadded, inputs.padded_len, None)
        return Layout(batch, drop, ids_unchecked=True, unread_counts=unpadded.counts)
    # The one wait of a forward.
    counts = PackedCounts(*unpadded.counts.tolist())
    if counts.out_of_range:
        check_ranges(inputs, spec)
    if counts.fewest_keys == 0:
        raise Refused(_NO_KEYS)
    return Layout(packed_on_device(unpadded, inputs.padded_len, counts), drop)


def computed_mask(inputs: EncoderInputs, weights: EncoderWeights, drop: bool) -> Tensor | None:
    """The positions of the batch that are computed: [B, S] bool, or None for all."""
    mask = inputs.attention_mask
    if mask is None or not drop:
        return None
    attended = attended_positions(mask, compat.mask_reading(weights.dtype))
    return computed_positions(attended, inputs.input_ids, weights.spec.pad_token_id).to(weights.device)


def say_hidden(layout: Layout) -> bool:
    """Warn of padding that is computed because somebody may see it; returns whether there was any."""
    hidden, computed = layout.hidden_tokens(), layout.batch.num_tokens
    if hidden > 0:
        logger.warning(
            "bertfast: computing %d masked tokens of %d (%.0f %%), because the outputs there can be seen; "
            "if you do not read them, pad_outputs='zero' drops them, an option of bertfast.accelerate, of bertfast's "
            "from_pretrained and of its pipeline",
            hidden,
            computed,
            100 * hidden / computed,
        )
    return hidden > 0
