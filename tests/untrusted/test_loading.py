"""Checkpoints are loaded by transformers alone: bertfast reads no file, unpickles nothing and runs no remote code."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import pytest
import torch
import transformers

import bertfast

_PACKAGE = Path(bertfast.__file__).parent
_LOADERS = ("BertModel", "AutoModel")


def _calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the package, by the dotted name of what is called."""
    for file in sorted(_PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                yield f"{file.relative_to(_PACKAGE)}: {ast.unparse(node.func)}", node


def test_nothing_in_the_package_unpickles_evaluates_or_trusts():
    unsafe = []
    for place, call in _calls():
        name = place.rsplit(": ", 1)[1]
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if (
            name in ("eval", "exec", "compile", "torch.jit.load", "yaml.load")
            or name.rsplit(".", 1)[0] in ("pickle", "cPickle", "dill", "joblib", "marshal", "shelve")
            or (name == "torch.load" and options.get("weights_only") != "True")
            or "trust_remote_code" in options
            or options.get("shell") == "True"
        ):
            unsafe.append(f"{place}(line {call.lineno})")
    assert not unsafe


def _imported(node: ast.AST) -> list[str]:
    """The modules that a statement imports."""
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def test_no_module_reads_weights_by_itself():
    """What parses a checkpoint is imported nowhere; the one torch.load is of a head that a benchmark has saved."""
    imported = {
        name
        for file in _PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        for name in _imported(node)
    }
    # Whether the hub is offline is asked to explain an error.
    reading = {"safetensors", "pickle", "zipfile", "h5py", "huggingface_hub", "requests", "urllib"}
    assert {name for name in imported if name.split(".")[0] in reading} <= {"huggingface_hub.constants"}
    loads = [place for place, _ in _calls() if place.endswith(("torch.load", "safe_open", "load_file"))]
    assert [place.split(":")[0] for place in loads] == ["bench/peers/ctranslate2.py"]


@pytest.fixture
def stock(make_config: Any) -> Any:
    torch.manual_seed(0)
    return transformers.BertModel(make_config("gelu-1x2x32")).eval()


@pytest.fixture
def legacy(stock: Any, tmp_path: Path) -> Path:
    """A folder with a pickled checkpoint, as files were before safetensors."""
    stock.config.save_pretrained(tmp_path)
    torch.save(stock.state_dict(), tmp_path / "pytorch_model.bin")
    return tmp_path


@pytest.mark.parametrize("loader", _LOADERS)
def test_a_pickled_checkpoint_is_loaded_with_weights_only(loader, stock, legacy, monkeypatch):
    load, asked = torch.load, []

    def record(*args, **kwargs):
        asked.append(kwargs.get("weights_only"))
        return load(*args, **kwargs)

    monkeypatch.setattr(torch, "load", record)
    model = getattr(bertfast, loader).from_pretrained(legacy)
    assert asked
    assert set(asked) == {True}
    assert all(torch.equal(found, stock.state_dict()[name]) for name, found in model.state_dict().items())


class _Attack:
    """Unpickled, it makes a file."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> Any:
        return Path.touch, (self.victim,)


@pytest.mark.parametrize("loader", _LOADERS)
def test_code_in_a_pickled_checkpoint_does_not_run(loader, stock, legacy):
    victim = legacy / "victim"
    torch.save({**stock.state_dict(), "attack": _Attack(victim)}, legacy / "pytorch_model.bin")
    torch.load(legacy / "pytorch_model.bin", weights_only=False)
    assert victim.exists(), "the attack does not work"
    victim.unlink()
    # transformers 4.57 puts another error before torch's own.
    with pytest.raises((OSError, UnpicklingError)):
        getattr(bertfast, loader).from_pretrained(legacy)
    assert not victim.exists()


@pytest.mark.parametrize("loader", _LOADERS)
def test_safetensors_come_first(loader, stock, legacy):
    stock.save_pretrained(legacy, safe_serialization=True)
    (legacy / "pytorch_model.bin").write_bytes(b"not a checkpoint")
    model = getattr(bertfast, loader).from_pretrained(legacy)
    assert all(torch.equal(found, stock.state_dict()[name]) for name, found in model.state_dict().items())


def _with_remote_code(folder: Path, model_type: str) -> Path:
    """Code beside the checkpoint that makes a file when it is imported."""
    victim = folder / "victim"
    config = transformers.BertConfig.from_pretrained(folder)
    entries = {**config.to_dict(), "model_type": model_type, "architectures": ["Attack"]}
    entries["auto_map"] = {"AutoConfig": "attack.AttackConfig", "AutoModel": "attack.Attack"}
    transformers.BertConfig.from_dict({}).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(entries, default=str))
    (folder / "attack.py").write_text(f"from pathlib import Path\nPath({str(victim)!r}).touch()\n")
    return victim


@pytest.mark.parametrize("loader", ["AutoModel", "BertModel"])
def test_remote_code_is_not_run_unasked(loader, stock, tmp_path):
    stock.save_pretrained(tmp_path)
    victim = _with_remote_code(tmp_path, "bert")
    model = getattr(bertfast, loader).from_pretrained(tmp_path)
    assert type(model) is bertfast.BertModel
    assert not victim.exists()


def test_a_model_of_remote_code_alone_is_refused(stock, tmp_path):
    stock.save_pretrained(tmp_path)
    victim = _with_remote_code(tmp_path, "attack")
    with pytest.raises(ValueError, match="trust_remote_code"):
        bertfast.AutoModel.from_pretrained(tmp_path)
    assert not victim.exists()
