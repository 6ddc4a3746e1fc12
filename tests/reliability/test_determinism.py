"""The same input gives the same bits, call after call and process after process."""

from __future__ import annotations

import pytest
import torch
from precisions import needs
from processes import printed

from bertfast.linear import missing

_CASES = ["float32", "bfloat16", "bfloat16 products", "int8 products"]

_THREADS = (1, 2)
# Prints a digest for each number of threads of each case.
_SCRIPT = """
import hashlib, sys, torch, transformers, bertfast
config = transformers.BertConfig(
    vocab_size=1000, num_hidden_layers=2, hidden_size=192, num_attention_heads=4, intermediate_size=400
)
for case in sys.argv[1:]:
    name, products, threads = case.split(",")
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    model = transformers.BertModel(config).eval().to(getattr(torch, name))
    bertfast.accelerate(model, precision=products or None, pad_outputs="zero")
    digest = hashlib.sha256()
    with torch.no_grad():
        for lengths in ([5], [70, 3, 31], [200, 17, 17, 90, 1]):
            mask = (torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)).long()
            batch = {"input_ids": torch.randint(1, 1000, mask.shape) * mask, "attention_mask": mask}
            found = [model(**batch).last_hidden_state for _ in range(3)]
            assert all(torch.equal(again, found[0]) for again in found)
            digest.update(found[0].float().numpy().tobytes())
    print(case, digest.hexdigest())
"""


def _argument(case: str, threads: int) -> str:
    name, _, products = case.partition(" ")
    return f"float32,{name},{threads}" if products else f"{name},,{threads}"


@pytest.fixture(scope="module")
def runs() -> list[dict[str, str]]:
    """Digests of two processes. The second goes through the cases backwards: what ran before does not matter."""
    served = [case for case in _CASES if "products" not in case or missing(case.split()[0]) is None]
    arguments = [_argument(case, threads) for case in served for threads in _THREADS]
    lines = [printed("-c", _SCRIPT, *order).splitlines() for order in (arguments, arguments[::-1])]
    return [dict(line.split() for line in of_run) for of_run in lines]


@pytest.mark.slow
@pytest.mark.parametrize("threads", _THREADS)
@pytest.mark.parametrize("case", _CASES)
def test_processes_and_calls(case, threads, runs):
    if "products" in case:
        needs(case.split()[0])
    assert runs[0][_argument(case, threads)] == runs[1][_argument(case, threads)]


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
