"""What outlives a call, in any module: it is listed with its limit in ``docs/reliability.md``, and keeps to it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch

import bertfast
from bertfast import cpu_kernels, reporting
from bertfast.linear import MixedLinear, missing
from bertfast.norm import Norm

_PACKAGE = Path(bertfast.__file__).parent
_DOCS = _PACKAGE.parent / "docs" / "reliability.md"
# Commands and benchmarks end, and what they keep with them.
_END = ("cli", "bench", "verification", "environment", "roofline")
_MEMOS = {"cache", "lru_cache", "cached_property"}
_CONTAINERS = {"dict", "list", "set", "Counter", "OrderedDict", "WeakSet", "WeakValueDictionary", "StandIns"}


def _name(node: ast.expr) -> str:
    """The last part of ``a.b[...](...)``: ``b``."""
    while isinstance(node, ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _is_filled_later(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Dict | ast.List):
        return not ast.unparse(value)[1:-1]
    return isinstance(value, ast.Call) and _name(value) in _CONTAINERS


def _kept(path: Path) -> Iterator[str]:
    """Names of memos, and of containers that are empty at first."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any(_name(d) in _MEMOS for d in node.decorator_list):
            yield node.name
    for statement in tree.body:
        if isinstance(statement, ast.AnnAssign) and _is_filled_later(statement.value):
            yield _name(statement.target)
        elif isinstance(statement, ast.Assign) and _is_filled_later(statement.value):
            yield from map(_name, statement.targets)


def test_all_are_listed():
    found = {
        f"{path.relative_to(_PACKAGE).with_suffix('').as_posix().replace('/', '.')}.{name}"
        for path in _PACKAGE.rglob("*.py")
        if path.relative_to(_PACKAGE).parts[0] not in _END
        for name in _kept(path)
    }
    section = _DOCS.read_text().partition("## What is kept")[2].partition("\n## ")[0]
    assert found == set(re.findall(r"^\| `([^`]+)`", section, re.MULTILINE))


def test_answers_are_as_few_as_what_is_asked_about():
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        cpu_kernels.has_attention(dtype)
    for precision in ("bfloat16", "int8"):
        missing(precision)
    dtypes = {getattr(torch, name) for name in dir(torch) if isinstance(getattr(torch, name), torch.dtype)}
    assert cpu_kernels.has_attention.cache_info().currsize <= len(dtypes)
    assert missing.cache_info().currsize <= 2


def test_reasons_are_counted_up_to_a_limit():
    counts = Counter[str]()
    for number in range(3 * reporting.MOST_REASONS):
        reporting.count(reporting.Call(reporting.STOCK, f"number {number}"), counts)
    for found in (counts, bertfast.STATS):
        assert len(found) <= reporting.MOST_REASONS + 2
        assert found["stock"] == 3 * reporting.MOST_REASONS
        assert found["stock: number 0"] == 1
        assert found[f"stock: {reporting.OTHER_REASONS}"] > reporting.MOST_REASONS


class _Noted:
    """oneDNN's product, and what it was asked for: it compiles each combination of shapes and epilogue."""

    def __init__(self, product) -> None:
        self._product, self.met = product, set()

    def __call__(self, x, weight, bias, *epilogue):
        self.met.add((x.shape, weight.shape, bias is None, str(epilogue)))
        return self._product(x, weight, bias, *epilogue)

    def binary(self, x, residual, *others):
        self.met.add((x.shape, residual.shape, "binary"))
        return self._product.binary(x, residual, *others)


def test_products_that_onednn_compiles_are_few(monkeypatch):
    """In float32; in bfloat16 the encoder fills up the rows: ``test_numbers_of_rows_are_few``."""
    noted = _Noted(torch.ops.mkldnn._linear_pointwise)
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", noted)
    monkeypatch.setattr(MixedLinear, "_LARGE_WEIGHT", 0)
    weight, bias = torch.randn(8, 8), torch.randn(8)
    linear = MixedLinear([weight], [bias])
    for rows in range(1, 1025):
        x = torch.randn(rows, 8)
        linear(x)
        linear.activated(x, "erf")
        linear.add_norm(x, x, Norm(bias, bias, 1e-5))
    assert 20 < len(noted.met) <= 60
