"""sentence-transformers on MiniLM."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tolerances import TOLERANCES

import bertfast
from compatibility.behaviours import BOTH, behaviour
from compatibility.bench import BOUND, TEXTS, Bench, assert_same

_GROUP = "sentence-transformers (MiniLM)"
_PAIRS = [(TEXTS[0], text) for text in TEXTS]
# Set for worker processes: where they leave what bertfast counted.
_FOLDER = "BERTFAST_TEST_COUNTS"


def _package() -> Any:
    return pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")


def embedder(bench: Bench, **options: Any) -> Any:
    """Stock's SentenceTransformer of MiniLM."""
    return _package().SentenceTransformer(str(bench.minilm), device="cpu", **options)


def _encodes(name: str, encode: Callable[[Any], Any], equal: str = "vectors", **options: Any) -> None:
    @behaviour(_GROUP, name, equal)
    def run(bench: Bench) -> None:
        model = embedder(bench, **options)
        expected = encode(model)
        bertfast.accelerate(model)
        assert_same(encode(model), expected)
        bertfast.restore(model)
        assert_same(encode(model), expected, 0)


_encodes("`encode`, one text or many", lambda m: (m.encode(TEXTS), m.encode(TEXTS[0]), m.encode(TEXTS, batch_size=2)))
_encodes("`encode(normalize_embeddings=True)`", lambda m: m.encode(TEXTS, normalize_embeddings=True))
_encodes("`encode(prompt=...)`", lambda m: m.encode(TEXTS, prompt="query: "))
_encodes(
    "`encode(prompt_name=...)`, `encode_query`, `encode_document`",
    lambda m: (m.encode(TEXTS, prompt_name="query"), m.encode_query(TEXTS), m.encode_document(TEXTS)),
    prompts={"query": "query: ", "document": "passage: "},
)
_encodes("`encode(convert_to_tensor=True)`", lambda m: m.encode(TEXTS, convert_to_tensor=True))
_encodes("`encode(convert_to_numpy=False)`", lambda m: m.encode(TEXTS, convert_to_numpy=False))
_encodes('`encode(output_value="token_embeddings")`', lambda m: m.encode(TEXTS[3:], output_value="token_embeddings"))
_encodes('`encode(precision="binary")`', lambda m: m.encode(TEXTS, precision="binary"), "bytes")
_encodes("`truncate_dim`", lambda m: m.encode(TEXTS), truncate_dim=64)
_encodes("`similarity`", lambda m: m.similarity(m.encode(TEXTS), m.encode(TEXTS)), "similarities")


@behaviour(_GROUP, "`util.semantic_search`, `util.cos_sim`", "hits, scores")
def _search(bench: Bench) -> None:
    util = _package().util
    model = embedder(bench)

    def search() -> Any:
        corpus, queries = model.encode(TEXTS, convert_to_tensor=True), model.encode(TEXTS[:2], convert_to_tensor=True)
        return util.semantic_search(queries, corpus, top_k=2), util.cos_sim(queries, corpus)

    expected = search()
    bertfast.accelerate(model)
    assert_same(search(), expected)


@behaviour(_GROUP, "half precision (`model.half()`, `.bfloat16()`)", "vectors")
def _half(bench: Bench) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        model = embedder(bench).to(dtype)
        expected = model.encode(TEXTS, convert_to_tensor=True)
        bertfast.accelerate(model)
        assert_same(model.encode(TEXTS, convert_to_tensor=True), expected, TOLERANCES[dtype].model)


def _note_counts(module: Any, args: Any, output: Any) -> None:
    """A hook that does not change what is computed: on the pooler, whose output nobody reads."""
    path = Path(os.environ[_FOLDER]) / f"{os.getpid()}.json"
    path.write_text(json.dumps(dict(bertfast.stats())))


@behaviour(_GROUP, "`encode` on a pool of processes (`start_multi_process_pool`)", "vectors", slow=True)
def _pool(bench: Bench) -> None:
    model = embedder(bench)
    texts = TEXTS * 4
    expected = model.encode(texts)
    bertfast.accelerate(model)
    model[0].auto_model.pooler.register_forward_hook(_note_counts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_FOLDER, str(bench.folder))
        pool = model.start_multi_process_pool(["cpu", "cpu"])
        try:
            assert_same(model.encode(texts, pool=pool, chunk_size=4), expected)
        finally:
            model.stop_multi_process_pool(pool)
    for file in bench.folder.glob("*.json"):
        bench.elsewhere += Counter(json.loads(file.read_text()))


@behaviour(_GROUP, "`SentenceTransformer.save`, and loading by stock", "every file, byte for byte; vectors")
def _saved(bench: Bench) -> None:
    model = embedder(bench)
    expected = model.encode(TEXTS)
    model.save(str(bench.folder / "stock"))
    bertfast.accelerate(model)
    assert_same(model.encode(TEXTS), expected)
    model.save(str(bench.folder / "fast"))
    stock, fast = (
        {
            str(f.relative_to(bench.folder / name)): f.read_bytes()
            for f in (bench.folder / name).rglob("*")
            if f.is_file()
        }
        for name in ("stock", "fast")
    )
    assert fast == stock
    assert_same(_package().SentenceTransformer(str(bench.folder / "fast"), device="cpu").encode(TEXTS), expected, 0)


@behaviour(_GROUP, "`bertfast.install()`", "vectors, scores")
def _installed(bench: Bench) -> None:
    model, ranker = embedder(bench), _ranker(bench)
    expected = model.encode(TEXTS), ranker.predict(_PAIRS)
    bertfast.install()
    try:
        assert_same((model.encode(TEXTS), ranker.predict(_PAIRS)), expected)
    finally:
        bertfast.uninstall()


@behaviour(_GROUP, "training with a loss (`MultipleNegativesRankingLoss`), then `encode`", "loss, vectors", BOTH)
def _trained(bench: Bench) -> None:
    _package()
    from sentence_transformers import losses

    results = []
    for accelerated in (False, True):
        model = embedder(bench)
        if accelerated:
            bertfast.accelerate(model)
        loss_of = losses.MultipleNegativesRankingLoss(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        torch.manual_seed(1)
        model.train()
        loss = loss_of([model.tokenize(TEXTS), model.tokenize(TEXTS[::-1])], None)
        loss.backward()
        optimizer.step()
        results.append((loss.item(), model.eval().encode(TEXTS)))
    assert results[1][0] == results[0][0]
    assert_same(results[1], results[0])


def _ranker(bench: Bench) -> Any:
    torch.manual_seed(0)
    return _package().CrossEncoder(str(bench.minilm), num_labels=1, device="cpu")


def _ranks(name: str, call: Callable[[Any], Any], equal: str) -> None:
    @behaviour(_GROUP, name, equal)
    def run(bench: Bench) -> None:
        model = _ranker(bench)
        expected = call(model)
        bertfast.accelerate(model)
        assert_same(_without_numpy(call(model)), _without_numpy(expected), BOUND)


def _without_numpy(result: Any) -> Any:
    """A ranking's scores as one vector: each is compared by the size of all."""
    if isinstance(result, list) and isinstance(result[0], dict):
        scores = np.array([row["score"] for row in result])
        return scores, [{k: v for k, v in row.items() if k != "score"} for row in result]
    return result


_ranks("`CrossEncoder.predict`", lambda m: m.predict(_PAIRS, batch_size=4), "scores")
_ranks("`CrossEncoder.predict(convert_to_tensor=True)`", lambda m: m.predict(_PAIRS, convert_to_tensor=True), "scores")
_ranks("`CrossEncoder.rank`", lambda m: m.rank(TEXTS[0], TEXTS), "order, scores")
_ranks(
    "`CrossEncoder.rank(return_documents=True)`",
    lambda m: m.rank(TEXTS[0], TEXTS, return_documents=True),
    "order, texts",
)
