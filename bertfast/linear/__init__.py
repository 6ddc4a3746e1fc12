"""Dense layers of the encoder, behind one interface that hides who multiplies the matrices.

The backend of a device chooses who does, once, when the weights are prepared.
"""

from bertfast.linear.bfloat16 import BFloat16Linear
from bertfast.linear.blas import BlasLinear
from bertfast.linear.fixed_rows import BLOCK_ROWS, FixedRowsPortable, check_rows_alike, in_blocks, in_pieces, is_one_row
from bertfast.linear.int8 import Int8Linear
from bertfast.linear.interface import Linear, Tail
from bertfast.linear.mixed import MixedLinear
from bertfast.linear.native import NativeBFloat16Linear, NativeInt8Linear, fuse_tail
from bertfast.linear.onednn import FusedLinear, OneDnnLinear
from bertfast.linear.portable import PortableLinear
from bertfast.linear.rows import filled_up, padded_rows
from bertfast.linear.select import advice, missing, select_cpu_linear, select_invariant_cpu_linear
from bertfast.norm import Norm

__all__ = [
    "BLOCK_ROWS",
    "BFloat16Linear",
    "BlasLinear",
    "FixedRowsPortable",
    "FusedLinear",
    "Int8Linear",
    "Linear",
    "MixedLinear",
    "NativeBFloat16Linear",
    "NativeInt8Linear",
    "Norm",
    "OneDnnLinear",
    "PortableLinear",
    "Tail",
    "advice",
    "check_rows_alike",
    "filled_up",
    "fuse_tail",
    "in_blocks",
    "in_pieces",
    "is_one_row",
    "missing",
    "padded_rows",
    "select_cpu_linear",
    "select_invariant_cpu_linear",
]
