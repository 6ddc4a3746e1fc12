"""Reduced precisions on machines with less: float32 is used, and right, where instructions are missing or shut off."""

from __future__ import annotations

import pytest
from processes import printed

# A product of the largest codes, whose sums of two do not fit into 16 bits, and a text long enough for packed keys.
_SCRIPT = """
import torch, transformers, bertfast
torch.manual_seed(0)
config = transformers.BertConfig(hidden_size=64, num_attention_heads=2, intermediate_size=128, num_hidden_layers=2)
ids = {"input_ids": torch.randint(5, 999, (2, 300)), "attention_mask": torch.ones(2, 300, dtype=torch.long)}
stock = transformers.BertModel(config).eval()
with torch.no_grad():
    for layer in stock.encoder.layer:
        layer.output.dense.weight.fill_(0.02)
    expected = stock(**ids).last_hidden_state
    for precision, bound in (("bfloat16", 2e-2), ("int8", 5e-2), ("auto", 2e-2)):
        model = bertfast.accelerate(stock, precision=precision)
        found = model(**ids).last_hidden_state
        error = ((found - expected).norm() / expected.norm()).item()
        assert bertfast.explain(model).path == "fast"
        assert error <= bound, (precision, bertfast.explain(model).matmul_precision, error)
        print(precision, bertfast.explain(model).matmul_precision)
        bertfast.restore(model)
"""


# Each shuts off something else: bfloat16, VNNI, sums of int8 in 32 bits; PyTorch's own AVX-512.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ONEDNN_MAX_CPU_ISA", "AVX2", "bfloat16 float32"),
        ("ONEDNN_MAX_CPU_ISA", "AVX2_VNNI", ""),
        ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE", ""),
        ("ATEN_CPU_CAPABILITY", "default", "bfloat16 float32"),
    ],
)
def test_less_than_the_cpu_has(name, value, expected):
    """Of oneDNN and PyTorch: bertfast's own kernels do not ask them."""
    assert expected in printed("-c", _SCRIPT, BERTFAST_CPU_KERNELS="0", **{name: value})
