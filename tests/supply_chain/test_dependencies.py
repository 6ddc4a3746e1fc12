"""What bertfast needs at run time: torch, transformers, numpy, and what those need."""

from __future__ import annotations

import ast
import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from processes import printed

import bertfast

_DEPENDENCIES = ("torch", "transformers", "numpy")
# The names of modules that bertfast asked for and did not get are printed last.
_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
missed = set()

class Missed:
    def find_spec(name, path=None, target=None):
        frame = sys._getframe(1)
        while frame.f_globals.get("__name__", "").startswith("importlib"):
            frame = frame.f_back
        # Its own extensions need not be there.
        if frame.f_globals.get("__name__", "").startswith("bertfast") and not name.startswith("bertfast."):
            missed.add(name)

import torch, transformers
sys.meta_path.append(Missed)
import bertfast
config = transformers.BertConfig(
    vocab_size=97, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
)
model = bertfast.BertForSequenceClassification(config).eval()
ids = torch.tensor([[2, 5, 3, 0], [2, 6, 7, 3]])
with torch.no_grad():
    model(input_ids=ids, attention_mask=(ids != 0).long())
assert bertfast.STATS["fast"] == 1, bertfast.stats()
print(sorted(missed))
"""


def _with_their_own(names: tuple[str, ...]) -> set[str]:
    """The distributions that ``names`` bring with them here, extras that are asked for included."""
    found: set[str] = set()
    to_see = [Requirement(name) for name in names]
    seen: set[str] = set()
    while to_see:
        each = to_see.pop()
        if str(each) in seen:
            continue
        seen.add(str(each))
        found.add(canonicalize_name(each.name))
        for line in metadata.requires(each.name) or ():
            needed = Requirement(line)
            extras = each.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                to_see.append(needed)
    return found


def test_three_run_time_dependencies():
    text = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text()
    stated = re.search(r"^dependencies = (\[.*?^\])", text, re.M | re.S)
    assert stated is not None
    needed = [Requirement(line) for line in ast.literal_eval(stated[1])]
    assert [each.name for each in needed] == list(_DEPENDENCIES)
    assert not [each for each in needed if each.marker or each.extras or each.url]


def _link_top_levels(distribution: metadata.Distribution, folder: Path) -> None:
    for file in distribution.files or ():
        top = file.parts[0]
        # Programs of a distribution lie outside.
        if top in ("..", "__pycache__"):
            continue
        link = folder / top
        if not link.exists():
            link.symlink_to(Path(str(distribution.locate_file(top))))


@pytest.fixture
def minimal_site(tmp_path: Path) -> Path:
    """A folder that holds bertfast, its dependencies and theirs, and no other package."""
    for name in _with_their_own(_DEPENDENCIES):
        _link_top_levels(metadata.distribution(name), tmp_path)
    (tmp_path / "bertfast").symlink_to(Path(bertfast.__file__).parent)
    return tmp_path


def test_a_forward_needs_nothing_else(minimal_site):
    """Isolated from this environment's other packages; what bertfast looks for in vain would be loaded elsewhere."""
    assert printed("-I", "-S", "-c", _PROGRAM, minimal_site).splitlines()[-1] == "[]"
