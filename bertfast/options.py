"""What a user may choose about an encoder, and what its caller reads of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from bertfast.precision import check_name

PAD_OUTPUTS = ("auto", "exact", "zero")
ON_FALLBACK = ("log", "silent", "raise")


class Reads(Enum):
    """What the caller of an encoder reads of its last hidden state."""

    EVERYTHING = "all positions, padding too"
    TOKENS = "no padding"
    FIRST_TOKEN = "only the pooled output"


@dataclass(frozen=True)
class Options:
    """How an encoder is to be run.

    pad_outputs: ``"auto"`` drops padding where it cannot be seen and computes it elsewhere, ``"exact"`` never drops,
    ``"zero"`` always drops and returns zeros there. on_fallback: what to do when stock transformers must run.
    cuda_graphs: replay captured launches of small batches on a GPU. precision: one of `bertfast.precision.PRECISIONS`.
    keep_original: whether weights that were copied in another precision stay in memory. invariant: a text's result is
    the same to the bit in any batch. Raises ValueError for any other value.
    """

    pad_outputs: str = "auto"
    on_fallback: str = "log"
    cuda_graphs: bool = True
    precision: str | None = None
    keep_original: bool = True
    invariant: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (("pad_outputs", PAD_OUTPUTS), ("on_fallback", ON_FALLBACK)):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name}={value!r}: expected one of {', '.join(allowed)}")
        for name in ("cuda_graphs", "keep_original", "invariant"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise ValueError(f"{name}={value!r}: expected True or False")
        check_name(self.precision)

    def drops_padding(self, unseen: bool) -> bool:
        """Whether padding is left out. unseen: nobody can see the outputs there."""
        return {"auto": unseen, "exact": False, "zero": True}[self.pad_outputs]
