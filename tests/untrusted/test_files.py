"""A damaged checkpoint gives what transformers makes of it: the same model, or the same error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from fuzzing import assert_same_outcome, fuzzer, outcome
from hypothesis import given
from hypothesis import strategies as st
from tolerances import TOLERANCES

import bertfast

Header = dict[str, Any]


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model, in both formats."""
    folder = tmp_path_factory.mktemp("intact")
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 12}
    config = transformers.BertConfig(vocab_size=11, max_position_embeddings=8, **sizes)
    model = transformers.BertModel(config)
    model.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder


def _parse(content: bytes) -> tuple[Header, bytes]:
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def _join(header: Header, data: bytes, size: int | None = None) -> bytes:
    encoded = json.dumps(header).encode()
    return (len(encoded) if size is None else size).to_bytes(8, "little") + encoded + data


_DTYPES = st.sampled_from(["F64", "F32", "F16", "BF16", "I64", "I32", "I8", "U8", "BOOL", "F8_E4M3", "F128", ""])
_NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 7, 8, 9, 12, 16, 2**31, 2**62, 2**63 - 1, 2**64 - 1])


@st.composite
def _damaged_headers(draw: st.DrawFn, content: bytes) -> bytes:
    """The header changed in a few entries, the numbers kept."""
    header, data = _parse(content)
    names = sorted(name for name in header if name != "__metadata__")
    size = None
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(names))
        entry = header.get(name)
        kind = draw(st.sampled_from(["dtype", "shape", "transposed", "offsets", "dropped", "renamed", "junk", "size"]))
        if kind == "size":
            size = draw(st.sampled_from([0, 1, 100, len(content), 2**40, 2**64 - 1]))
        elif kind == "dropped" or not isinstance(entry, dict) or "shape" not in entry:
            header.pop(name, None)
        elif kind == "dtype":
            header[name] = {**entry, "dtype": draw(_DTYPES)}
        elif kind == "shape":
            header[name] = {**entry, "shape": draw(st.lists(_NUMBERS, max_size=3))}
        elif kind == "transposed":
            header[name] = {**entry, "shape": entry["shape"][::-1]}
        elif kind == "offsets":
            header[name] = {**entry, "data_offsets": draw(st.lists(_NUMBERS, min_size=1, max_size=3))}
        elif kind == "renamed":
            header[draw(st.sampled_from([*names, "other", "", "bert." + name]))] = header.pop(name)
        else:
            header[name] = draw(st.sampled_from([None, [], {}, 3, "F32", {"dtype": "F32"}]))
    return _join(header, data, size)


@st.composite
def _damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Cut off, or some bytes changed: mostly at the front, where a file says what it is."""
    changed = bytearray(content)
    if draw(st.integers(0, 2)) == 0:
        return bytes(changed[: draw(st.integers(0, len(changed)))])
    places = st.one_of(st.integers(0, 200), st.integers(0, len(changed) - 1))
    for place, value in draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=3)):
        changed[place] = value
    return bytes(changed)


def _load(library: Any, folder: Path) -> Any:
    # What the file lacks is drawn at random.
    torch.manual_seed(0)
    return library.BertModel.from_pretrained(folder).eval()


def _check(folder: Path) -> None:
    stock, fast = outcome(_load, transformers, folder), outcome(_load, bertfast, folder)
    assert isinstance(fast, Exception) == isinstance(stock, Exception), f"stock gives {stock!r}, bertfast {fast!r}"
    if isinstance(stock, Exception):
        assert type(fast) is type(stock)
        return
    weights, found = stock.state_dict(), fast.state_dict()
    assert list(found) == list(weights)
    for name, weight in weights.items():
        assert found[name].dtype == weight.dtype
        assert torch.equal(found[name].view(torch.uint8), weight.view(torch.uint8)), name
    # Numbers that a changed byte has made huge say nothing of the last digits.
    if all(bool((weight.abs() < 100).all()) for weight in weights.values()):
        ids = torch.tensor([[5, 1, 9, 0], [2, 3, 4, 8], [7, 0, 0, 0]])
        call = {"input_ids": ids, "attention_mask": ids.clamp(max=1)}
        bound = 2 * TOLERANCES[next(fast.parameters()).dtype].model
        assert_same_outcome(outcome(fast, **call), outcome(stock, **call), bound)


def _copy(intact: Path, target: Path, weights: str, content: bytes) -> Path:
    folder = target / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(intact / "config.json", folder)
    (folder / weights).write_bytes(content)
    return folder


@pytest.mark.fuzz
@pytest.mark.parametrize("damage", [_damaged_headers, _damaged_bytes], ids=["header", "bytes"])
def test_a_damaged_safetensors_file(damage, intact, tmp_path):
    @fuzzer(40)
    @given(content=damage((intact / "model.safetensors").read_bytes()))
    def check(content):
        _check(_copy(intact, tmp_path, "model.safetensors", content))

    check()


@pytest.mark.fuzz
def test_a_damaged_pickle(intact, tmp_path):
    @fuzzer(30)
    @given(content=_damaged_bytes((intact / "pytorch_model.bin").read_bytes()))
    def check(content):
        _check(_copy(intact, tmp_path, "pytorch_model.bin", content))

    check()


@st.composite
def _damaged_json(draw: st.DrawFn, content: bytes) -> bytes:
    """A config that is no JSON any more, or asks for other sizes than the checkpoint has."""
    if draw(st.booleans()):
        return draw(_damaged_bytes(content))
    entries = json.loads(content)
    name = draw(st.sampled_from(sorted(entries)))
    entries[name] = draw(st.sampled_from([None, 0, 1, 2, 4, 16, "gelu", "relu", True, 0.5, [], {}, "bert"]))
    return json.dumps(entries).encode()


@pytest.mark.fuzz
def test_a_damaged_config(intact, tmp_path):
    @fuzzer(40)
    @given(content=_damaged_json((intact / "config.json").read_bytes()))
    def check(content):
        folder = _copy(intact, tmp_path, "model.safetensors", (intact / "model.safetensors").read_bytes())
        (folder / "config.json").write_bytes(content)
        if isinstance(outcome(_load, bertfast, folder), bertfast.ConfigError):
            return
        _check(folder)

    check()
