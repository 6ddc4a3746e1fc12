"""What outlives a call, in any module: it is listed with its limit in ``docs/reliability.md``, and keeps to it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import bertfast
from bertfast import reporting
from bertfast.engine import Engine
from bertfast.linear import MixedLinear
from bertfast.norm import Norm

_PACKAGE = Path(bertfast.__file__).parent
_DOCS = _PACKAGE.parent / "docs" / "reliability.md"
# Commands and benchmarks end, and what they keep with them.
_END = ("cli", "bench", "verification", "environment", "roofline")
_MEMOS = {"cache", "lru_cache", "cached_property"}
_CONTAINERS = {
    *("dict", "list", "set", "Counter", "OrderedDict", "defaultdict", "deque", "ChainMap", "StandIns"),
    *("WeakSet", "WeakKeyDictionary", "WeakValueDictionary"),
}
_FILLING = {"add", "append", "appendleft", "extend", "insert", "setdefault", "update"}


def _name(node: ast.expr) -> str:
    """The last part of ``a.b[...](...)``: ``b``."""
    while isinstance(node, ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _filled_by_functions(tree: ast.Module) -> set[str]:
    """Names that a function stores an item in, or calls a method of that does."""
    nodes = [node for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for node in ast.walk(f)]
    items = {_name(n.value) for n in nodes if isinstance(n, ast.Subscript) and isinstance(n.ctx, ast.Store)}
    methods = {_name(n.value) for n in nodes if isinstance(n, ast.Attribute) and n.attr in _FILLING}
    return items | methods


def _is_filled_later(value: ast.expr | None) -> bool:
    """Whether what it makes is a container that is made to be filled: by its class, or empty."""
    if isinstance(value, ast.Dict | ast.List):
        return not ast.unparse(value)[1:-1]
    return isinstance(value, ast.Call) and _name(value) in _CONTAINERS


def _containers(tree: ast.Module) -> Iterator[str]:
    filled = _filled_by_functions(tree)
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            yield from (name for name in map(_name, targets) if _is_filled_later(statement.value) or name in filled)


def _memos(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any(_name(d) in _MEMOS for d in node.decorator_list):
            yield node


def _of_one_answer(memo: ast.FunctionDef) -> bool:
    return ast.unparse(memo.args) == ""


def _kept(tree: ast.Module) -> tuple[set[str], set[str]]:
    """Names of what is kept, and of the memos of one answer."""
    memos = list(_memos(tree))
    trivial = {memo.name for memo in memos if _of_one_answer(memo)}
    return {*_containers(tree), *(memo.name for memo in memos)} - trivial, trivial


def test_all_are_listed():
    kept, trivial = set[str](), set[str]()
    for path in _PACKAGE.rglob("*.py"):
        relative = path.relative_to(_PACKAGE)
        if relative.parts[0] not in _END:
            module = relative.with_suffix("").as_posix().replace("/", ".")
            found = _kept(ast.parse(path.read_text()))
            for names, new in zip((kept, trivial), found, strict=True):
                names.update(f"{module}.{name}" for name in new)
    section = _DOCS.read_text().partition("## What is kept")[2].partition("\n## ")[0]
    assert kept == set(re.findall(r"^\| `([^`]+)`", section, re.MULTILINE))
    line = section.partition("Memos of one answer: ")[2].partition("\n\n")[0]
    assert trivial == set(re.findall(r"`([^`]+)`", line))


@pytest.mark.parametrize(
    "code",
    [
        "kept = defaultdict(list)",
        "kept: deque[int] = collections.deque(maxlen=3)",
        "kept = weakref.WeakKeyDictionary()",
        "kept = {1: 2}\ndef keep(x):\n    kept[x] = x",
        "kept = [0]\ndef keep(x):\n    kept.append(x)",
        "@lru_cache(maxsize=None)\ndef kept(x):\n    return x",
    ],
)
def test_recognised(code):
    assert _kept(ast.parse(code)) == ({"kept"}, set())


@pytest.mark.parametrize("code", ["kept = {1: 2}\ndef get(x):\n    return kept[x]", "@cache\ndef one():\n    return 1"])
def test_told_apart(code):
    assert not _kept(ast.parse(code))[0]


def test_reasons_are_counted_up_to_a_limit():
    counts = Counter[str]()
    for number in range(3 * reporting.MOST_REASONS):
        reporting.count(reporting.Call(reporting.STOCK, f"number {number}"), counts)
    for found in (counts, bertfast.STATS):
        assert len(found) <= reporting.MOST_REASONS + 2
        assert found["stock"] == 3 * reporting.MOST_REASONS
        assert found["stock: number 0"] == 1
        assert found[f"stock: {reporting.OTHER_REASONS}"] > reporting.MOST_REASONS


def test_new_reasons_are_logged_beyond_that_limit(caplog):
    """Once each, as long as no more than that come between."""
    engine, model = Engine(), torch.nn.Linear(1, 1)
    reasons = [f"number {number}" for number in range(2 * reporting.MOST_REASONS)]
    for reason in reasons:
        engine.fall_back(model, reason)
        engine.fall_back(model, reason)
    assert caplog.messages == [f"bertfast: Linear runs stock transformers: {reason}" for reason in reasons]
    assert len(engine._said._reasons) == reporting.MOST_REASONS
    engine.fall_back(model, reasons[0])
    assert len(caplog.messages) == len(reasons) + 1


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
