"""All mutants."""

from __future__ import annotations

from kernels.mutants import attention, layout, rows

MUTANTS = (
    *rows.BIAS_GELU,
    *rows.LAYER_NORM,
    *rows.EMBEDDING,
    *rows.COPIES,
    *layout.UNPAD_INPUT,
    *layout.ID_RANGE,
    *layout.SCAN_LENGTHS,
    *attention.FLASH,
    *attention.SHORT,
    *attention.WARP,
    *attention.SOFTMAX,
    *attention.EXACT,
    *attention.LAUNCH,
    *attention.BOUNDS,
    *attention.FIRST_TOKEN,
)
