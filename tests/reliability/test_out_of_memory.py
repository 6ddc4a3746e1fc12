"""Address space that ends, in processes of their own: torch's allocator and the CPU kernels really fail."""

from __future__ import annotations

import sys

import pytest
from precisions import REDUCED
from processes import printed

from bertfast import cpu_dense
from bertfast.linear import missing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and RLIMIT_AS")

_LIMIT = """
import resource, sys, warnings
warnings.simplefilter("ignore")
import torch
torch.manual_seed(0)
torch.set_num_threads(2)

def allow(more_bytes):
    pages = int(open("/proc/self/statm").read().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = hard if more_bytes is None else pages * resource.getpagesize() + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
"""

_MODEL = f"""{_LIMIT}
import bertfast
config = bertfast.BertConfig(
    vocab_size=97, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128
)
small, large = torch.randint(1, 97, (2, 16)), torch.randint(1, 97, (256, 128))

@torch.no_grad()
def check(precision):
    model = bertfast.accelerate(bertfast.BertModel(config).eval(), precision=precision, on_fallback="raise")
    expected = model(small).last_hidden_state
    allow(2**22)
    for _ in range(2):
        try:
            model(large)
        except bertfast.OutOfMemoryError as error:
            # Also inside of the clause, while the error is held.
            assert torch.equal(model(small).last_hidden_state, expected)
            print(error, error.max_tokens, sep="\\n")
    allow(None)
    return model

# Only then with memory, of which the process keeps some.
for model in [check(precision) for precision in sys.argv[1:]]:
    with torch.no_grad():
        assert model(large).last_hidden_state.isfinite().all()
"""

_KERNEL = f"""{_LIMIT}
from bertfast.cpu_dense import PackedDense, PackedTail
from bertfast.norm import Norm

def tail(hidden, inner):
    def dense(m, k):
        return PackedDense(torch.randn(m, k), torch.zeros(m), "bfloat16")

    run = PackedTail(dense(hidden, hidden), dense(inner, hidden), "erf", dense(hidden, inner))
    norm = Norm(torch.ones(hidden), torch.zeros(hidden), 1e-12)
    return lambda x: run(x, x, norm, norm)

# What lies between the products of the second takes each thread many times what is left.
narrow, wide = tail(16, 64), tail(16, 2**19)
x = torch.randn(512, 16)
expected = narrow(x)
allow(2**22)
for rows in (x[:1], x):
    try:
        wide(rows)
    except MemoryError as error:
        print(error)
    assert torch.equal(narrow(x), expected)
allow(None)
assert wide(x).isfinite().all()
"""


def test_a_model_goes_on():
    precisions = ["float32", *(name for name in REDUCED if missing(name) is None)]
    lines = printed("-c", _MODEL, *precisions).splitlines()
    assert len(lines) == 4 * len(precisions), "a call has found its memory"
    for message, max_tokens in zip(lines[::2], lines[1::2], strict=True):
        assert "a batch of 256 sequences, padded to [256, 128], of 32768 real tokens, of which 32768" in message
        assert "can't allocate memory" in message
        assert "split the batch, 16384 tokens a call at most" in message
        assert max_tokens == "16384"


def test_a_kernel_goes_on():
    """On the calling thread, and on threads of torch's pool."""
    if not cpu_dense.serves("bfloat16"):
        pytest.skip("needs bertfast._cpu and AVX512-BF16")
    assert printed("-c", _KERNEL).splitlines() == ["std::bad_alloc"] * 2
