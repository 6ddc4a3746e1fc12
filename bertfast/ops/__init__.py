"""The packed encoder's operators, as ``torch.ops.bertfast.*`` and as the functions below.

Each file holds one op: the public function, its plain PyTorch reference (the CPU implementation), its fake
(shapes without data) and its schema. They are inference ops: none has a derivative.

In half precision a reference rounds where PyTorch's own ops do, as transformers does on a CPU: ``x + residual`` before
its LayerNorm, for example. The kernels compute in float32 and round once, at the end; docs/kernels-accuracy.md shows
what that makes of the errors.
"""

from bertfast.ops.bias_gelu import bias_gelu
from bertfast.ops.embedding_layer_norm import embedding_layer_norm
from bertfast.ops.first_token_attention import first_token_attention
from bertfast.ops.gather_first import gather_first
from bertfast.ops.pad_input import pad_input
from bertfast.ops.residual_layer_norm import residual_layer_norm
from bertfast.ops.unpad_input import unpad_input
from bertfast.ops.varlen_attention import varlen_attention

__all__ = [
    "bias_gelu",
    "embedding_layer_norm",
    "first_token_attention",
    "gather_first",
    "pad_input",
    "residual_layer_norm",
    "unpad_input",
    "varlen_attention",
]
