"""The same input gives the same bits, call after call and process after process."""

from __future__ import annotations

import pytest
import torch
from precisions import needs
from processes import printed

_CASES = ["float32", "bfloat16", "bfloat16 products", "int8 products"]

_SCRIPT = """
import hashlib, sys, torch, transformers, bertfast
dtype, precision, threads = getattr(torch, sys.argv[1]), sys.argv[2] or None, int(sys.argv[3])
torch.set_num_threads(threads)
torch.manual_seed(0)
config = transformers.BertConfig(num_hidden_layers=2, hidden_size=192, num_attention_heads=4, intermediate_size=400)
model = bertfast.accelerate(transformers.BertModel(config).eval().to(dtype), precision=precision, pad_outputs="zero")
digest = hashlib.sha256()
with torch.no_grad():
    for lengths in ([5], [70, 3, 31], [200, 17, 17, 90, 1]):
        mask = (torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)).long()
        batch = {"input_ids": torch.randint(1, 1000, mask.shape) * mask, "attention_mask": mask}
        found = [model(**batch).last_hidden_state for _ in range(3)]
        assert all(torch.equal(again, found[0]) for again in found)
        digest.update(found[0].float().numpy().tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("case", _CASES)
def test_processes_and_calls(case, threads):
    dtype, products = (case.split()[0], "") if "products" not in case else ("float32", case.split()[0])
    if products:
        needs(products)
    runs = [printed("-c", _SCRIPT, dtype, products, str(threads)) for _ in range(2)]
    assert runs[0] == runs[1] != ""


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("class_name", ["BertModel", "BertForSequenceClassification"])
def test_calls_between_do_not_matter(class_name, dtype, config, stock_and_fast, make_batch):
    """Nor does what memory held before."""
    model = stock_and_fast(class_name, config, dtype, pad_outputs="zero").fast
    batch = make_batch(config)
    with torch.no_grad():
        first = model(**batch)[0].clone()
        for seed, lengths in enumerate([(30, 2), (1,), (60, 60, 7), (17,) * 9]):
            model(**make_batch(config, lengths, seed=seed))
            junk = torch.full((2**16,), float("nan"))
            del junk
            assert torch.equal(model(**batch)[0], first)
