"""Dense layers of ``bertfast._cpu``: packed copies of weights, and what a layer does after attention as one kernel.

For callers that have asked `serves`, outside of tracing and autograd: nothing is recorded.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bertfast import cpu_extension
from bertfast.cpu_kernels import address
from bertfast.norm import Norm

# What each needs: `bertfast.cpu_extension.features`.
_NEEDED = {"bfloat16": "bf16", "int8": "vnni"}
# Of int8: 255 * 127 times as many are summed in 32 bits.
_LARGEST_K = {"bfloat16": 2**31 - 1, "int8": (2**31 - 1) // (255 * 127)}


def serves(precision: str) -> bool:
    """Whether there are kernels for ``"bfloat16"`` or ``"int8"`` that run on this CPU. Loads them on the first call."""
    return cpu_extension.available() and cpu_extension.features()[_NEEDED[precision]]


class PackedDense:
    """A copy of a dense layer's weight and bias, in the order and the numbers that the kernels multiply.

    bfloat16: rounded. int8: a scale for each output; and in each call a scale and a zero for each row of x, so that its
    256 codes span what the row holds. Sums are float32 or int32, everything after them is float32.
    """

    def __init__(self, weight: Tensor, bias: Tensor, precision: str) -> None:
        """weight: [M, K], bias: [M], float32, in the CPU's memory. precision: one that `serves`.

        Raises ValueError for what does not fit, ExtensionError without the kernels.
        """
        module = cpu_extension.module()
        if not serves(precision):
            raise ValueError(f"precision: {precision!r} needs {_NEEDED[precision]}, which this CPU lacks")
        if weight.dim() != 2 or not 0 < weight.shape[1] <= _LARGEST_K[precision]:
            raise ValueError(f"weight: expected [M, K], K from 1 to {_LARGEST_K[precision]}, got {list(weight.shape)}")
        columns, k = weight.shape
        weight, bias = _one_piece(weight.detach()), _one_piece(bias.detach())
        source = address("weight", weight, (columns, k))
        address("bias", bias, (columns,))
        panels = torch.empty(module.packed_weight_bytes(precision, columns, k), dtype=torch.uint8)
        scales = torch.empty((2, columns if precision == "int8" else 0))
        self._memory = panels, bias.clone(), scales
        self.precision, self.shape = precision, (columns, k)
        self.num_bytes = sum(tensor.nbytes for tensor in self._memory)
        self.native = module.DenseWeight(
            precision, panels.data_ptr(), self._memory[1].data_ptr(), *(s.data_ptr() for s in scales), columns, k
        )
        self.native.pack(source)

    def __call__(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """``x W^T + b``. x: [T, K], float32 or bfloat16, in the CPU's memory -> [T, M], float32 or bfloat16."""
        columns, k = self.shape
        x, source, is_bfloat16 = _rows("x", x, k)
        if dtype not in (torch.float32, torch.bfloat16):
            raise ValueError(f"dtype: expected torch.float32 or torch.bfloat16, got {dtype}")
        out = torch.empty((x.shape[0], columns), dtype=dtype)
        self.native.multiply(source, is_bfloat16, out.data_ptr(), dtype is torch.bfloat16, x.shape[0])
        return out


class PackedTail:
    """``a = LayerNorm(x + attention_output(context))``, then ``LayerNorm(a + output(act(intermediate(a))))``.

    In one pass over blocks of rows: what lies between two products stays in a cache.
    """

    def __init__(
        self, attention_output: PackedDense, intermediate: PackedDense, activation: str, output: PackedDense
    ) -> None:
        """attention_output: H -> H; intermediate: H -> I; output: I -> H; all of one precision.

        activation: ``"erf"``, ``"tanh"`` or ``"relu"``. Raises ValueError for what does not fit.
        """
        self._parts = attention_output, intermediate, output
        hidden, inner = output.shape
        shapes = [part.shape for part in self._parts]
        if shapes != [(hidden, hidden), (inner, hidden), (hidden, inner)]:
            raise ValueError(
                f"weights: expected [H, H], [I, H] and [H, I], got {', '.join(map(str, map(list, shapes)))}"
            )
        precisions = [part.precision for part in self._parts]
        if len(set(precisions)) != 1:
            raise ValueError(f"weights: expected one precision, got {', '.join(precisions)}")
        self._hidden_size = hidden
        self._native = cpu_extension.module().LayerTail(
            attention_output.native, intermediate.native, output.native, activation
        )

    def __call__(self, context: Tensor, x: Tensor, attention_norm: Norm, output_norm: Norm) -> Tensor:
        """context: [T, H], float32 or bfloat16; x: [T, H], norms: [H], float32 -> [T, H], float32; in the CPU's memory.

        Raises ValueError for what does not fit.
        """
        context, source, is_bfloat16 = _rows("context", context, self._hidden_size)
        x, residual, x_is_bfloat16 = _rows("x", x, self._hidden_size)
        if x_is_bfloat16 or x.shape != context.shape:
            raise ValueError(f"x: expected {list(context.shape)}, float32, got {list(x.shape)}, {x.dtype}")
        out = torch.empty_like(x)
        _attention, attention_vectors = _vectors("attention_norm", attention_norm, self._hidden_size)
        _output, output_vectors = _vectors("output_norm", output_norm, self._hidden_size)
        self._native.run(
            source,
            is_bfloat16,
            residual,
            *attention_vectors,
            attention_norm.eps,
            *output_vectors,
            output_norm.eps,
            out.data_ptr(),
            x.shape[0],
        )
        return out


def _one_piece(tensor: Tensor) -> Tensor:
    """A copy where it is none; what cannot be is left for `address` to refuse."""
    return tensor.contiguous() if tensor.layout is torch.strided else tensor


# Copies have to live until the kernel has read them: what is returned holds them.
def _rows(name: str, x: Tensor, size: int) -> tuple[Tensor, int, bool]:
    """x in one piece, where it is, and whether it is bfloat16."""
    is_bfloat16 = x.dtype is torch.bfloat16
    if x.dim() != 2 or x.shape[1] != size or not (is_bfloat16 or x.dtype is torch.float32):
        raise ValueError(
            f"{name}: expected [T, {size}], float32 or bfloat16, on cpu, got {list(x.shape)}, {x.dtype}, on {x.device}"
        )
    x = _one_piece(x)
    return x, address(name, x, (x.shape[0], size), x.dtype), is_bfloat16


def _vectors(name: str, norm: Norm, size: int) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    """weight and bias, in one piece each, and where they are."""
    weight, bias, shape = _one_piece(norm.weight), _one_piece(norm.bias), (size,)
    return (weight, bias), (address(f"{name}.weight", weight, shape), address(f"{name}.bias", bias, shape))
