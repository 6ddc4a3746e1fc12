"""Copies, files and other processes: a model that travels arrives as the model that stock would have sent."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers
from parity.heads import CLASSES, call_inputs
from tolerances import assert_same_output
from torch import nn

import bertfast
from dropin.helpers import assert_differ, attention, counted, encoder_of


def _scale(model: nn.Module, factor: float = 1.2) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(factor)


def _torch_save(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "torch.save": _torch_save,
}


@pytest.mark.parametrize("used", ["before the first call", "later"])
@pytest.mark.parametrize("make_copy", COPIES.values(), ids=COPIES)
def test_a_copy_and_its_original_are_independent(pair, batch, backend, make_copy, used):
    if used == "later":
        pair.check(**batch)
    copies = type(pair)(make_copy(pair.stock), make_copy(pair.fast))
    assert type(copies.fast) is bertfast.BertModel
    before = copies.check(**batch)

    _scale(copies.stock)
    _scale(copies.fast)
    assert_differ(copies.check(**batch), before)
    assert_same_output(pair.check(**batch), before, pair.bound)

    _scale(pair.stock, 0.8)
    _scale(pair.fast, 0.8)
    assert_differ(pair.check(**batch), before)
    copies.check(**batch)


@pytest.mark.parametrize("make_copy", COPIES.values(), ids=COPIES)
def test_a_copy_keeps_the_options_and_not_the_counts(pair, batch, make_copy):
    bertfast.accelerate(pair.fast, pad_outputs="exact", on_fallback="raise")
    pair.check(**batch)
    duplicate = make_copy(pair.fast)
    report = bertfast.explain(duplicate)
    assert (report.pad_outputs, report.fast_calls, report.path) == ("exact", 0, "not called yet")
    with pytest.raises(bertfast.FallbackError):
        duplicate.train()(**batch)


def test_a_replica_with_other_modules_uses_them(make_pair, batch):
    """DataParallel's replicas share the original's attributes and have modules of their own."""
    pair = make_pair()
    before = pair.check(**batch)
    replicas = []
    for model in (pair.stock, pair.fast):
        replica = model._replicate_for_data_parallel()
        replica.encoder = copy.deepcopy(model.encoder)
        _scale(replica.encoder)
        replicas.append(replica)
    with torch.no_grad():
        expected, actual = (replica(**batch) for replica in replicas)
    assert_differ(expected, before)
    assert_same_output(actual, expected, pair.bound)
    assert_same_output(pair.check(**batch), before, pair.bound)


@pytest.mark.parametrize(
    "dump", [pickle.dumps, lambda model: pickle.dumps(model.state_dict())], ids=["model", "state dict"]
)
def test_a_pickle_does_not_grow(pair, batch, dump):
    pair.check(**batch)
    assert len(dump(pair.fast)) < 1.05 * len(dump(pair.stock))


@pytest.mark.parametrize("class_name", CLASSES)
def test_state_dicts_and_files_are_equal(make_pair, batch, tmp_path, class_name):
    pair = make_pair(class_name)
    pair.check(**call_inputs(class_name, batch))
    stock, fast = pair.stock.state_dict(), pair.fast.state_dict()
    assert list(fast) == list(stock)
    for name, value in stock.items():
        assert torch.equal(fast[name], value), name

    for model, folder in ((pair.stock, "stock"), (pair.fast, "fast")):
        model.save_pretrained(tmp_path / folder)
        torch.save(model.state_dict(), tmp_path / folder / "state.pt")
    assert _contents(tmp_path / "fast") == _contents(tmp_path / "stock")
    assert f'"{class_name}"' in (tmp_path / "fast" / "config.json").read_text()


def _contents(folder: Path) -> dict[str, Any]:
    """Bytes by file name; a torch file holds addresses, so its tensors are compared by value."""
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    state = torch.load(io.BytesIO(files.pop("state.pt")))
    return {**files, "state.pt": {name: value.tolist() for name, value in state.items()}}


def test_safetensors_takes_the_state_dict(pair, batch, tmp_path):
    pair.check(**batch)
    for model, name in ((pair.stock, "stock"), (pair.fast, "fast")):
        safetensors.torch.save_file(model.state_dict(), tmp_path / name)
    assert (tmp_path / "fast").read_bytes() == (tmp_path / "stock").read_bytes()


def test_safetensors_saves_and_loads_the_model(pair, batch, tmp_path):
    before = pair.check(**batch)
    for model, name in ((pair.stock, "stock"), (pair.fast, "fast")):
        safetensors.torch.save_model(model, tmp_path / name)
        _scale(model)
    assert (tmp_path / "fast").read_bytes() == (tmp_path / "stock").read_bytes()
    pair.check(**batch)
    for model in (pair.stock, pair.fast):
        safetensors.torch.load_model(model, tmp_path / "stock")
    assert_same_output(pair.check(**batch), before, pair.bound)


@pytest.mark.parametrize("class_name", CLASSES)
def test_files_load_both_ways(make_pair, batch, tmp_path, class_name):
    pair = make_pair(class_name)
    inputs = call_inputs(class_name, batch)
    before = pair.check(**inputs)
    pair.stock.save_pretrained(tmp_path / "stock")
    pair.fast.save_pretrained(tmp_path / "fast")
    loaded = type(pair)(
        getattr(transformers, class_name).from_pretrained(tmp_path / "fast").eval(),
        getattr(bertfast, class_name).from_pretrained(tmp_path / "stock").eval(),
    )
    assert type(loaded.stock) is getattr(transformers, class_name)
    assert type(loaded.fast) is getattr(bertfast, class_name)
    assert type(encoder_of(loaded.fast)) is bertfast.BertModel
    assert_same_output(loaded.check(**inputs), before, pair.bound)


def test_from_pretrained_passes_its_arguments(make_pair, batch, tmp_path):
    make_pair("BertForSequenceClassification").stock.save_pretrained(tmp_path)
    options = {"torch_dtype": torch.float64, "num_labels": 5, "ignore_mismatched_sizes": True}
    model, info = bertfast.BertForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True, **options)
    assert model.dtype == torch.float64
    assert model.num_labels == 5
    assert not model.training
    assert len(info["mismatched_keys"]) == 2
    with counted() as calls:
        assert model(**batch).logits.shape == (5, 5)
    assert calls == {"fast": 1}


def test_the_base_model_loads_from_a_head_and_back(make_pair, batch, tmp_path):
    pair = make_pair("BertForSequenceClassification")
    pair.fast.save_pretrained(tmp_path / "head")
    base = type(pair)(
        transformers.BertModel.from_pretrained(tmp_path / "head"),
        bertfast.BertModel.from_pretrained(tmp_path / "head"),
    )
    base.check(**batch)
    base.fast.save_pretrained(tmp_path / "base")
    head = bertfast.BertForSequenceClassification.from_pretrained(tmp_path / "base")
    assert torch.equal(attention(head).query.weight, attention(pair.stock).query.weight)


def _serve(model: nn.Module, connection: Any, inputs: dict[str, Any]) -> None:
    """Answer with the output and the counts, then double a weight in the shared memory."""
    with torch.no_grad(), counted() as calls:
        output = model(**inputs)[0]
    connection.send((output.numpy(), dict(calls)))
    attention(model).query.weight.data.mul_(2)
    connection.send("edited")


def _check_in_a_child(method: str, pair: Any, batch: dict[str, Any]) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    pair.fast.share_memory()
    before = pair.check(**batch)
    context = multiprocessing.get_context(method)
    here, there = context.Pipe()
    child = context.Process(target=_serve, args=(pair.fast, there, batch))
    child.start()
    try:
        assert here.poll(120), "the child has not answered"
        output, calls = here.recv()
        assert here.poll(60)
        assert here.recv() == "edited"
    finally:
        child.join(30)
        if child.is_alive():
            child.kill()
    assert child.exitcode == 0
    assert calls == {"fast": 1}
    assert_same_output(torch.from_numpy(output), before[0], pair.bound)

    attention(pair.stock).query.weight.data.mul_(2)
    assert_differ(pair.check(**batch), before)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("shared", ["before the first call", "later"])
def test_a_forked_process_runs_the_model_and_edits_it(pair, batch, backend, shared):
    if shared == "later":
        pair.check(**batch)
    _check_in_a_child("fork", pair, batch)


@pytest.mark.slow
def test_a_spawned_process_runs_the_model_and_edits_it(pair, batch):
    pair.check(**batch)
    _check_in_a_child("spawn", pair, batch)


def _other_weights(model: nn.Module, kind: type) -> dict[str, torch.Tensor]:
    return {name: kind(p.detach() * 1.1) for name, p in model.named_parameters()}


def test_functional_call_with_the_own_parameters_is_fast(pair, batch):
    before = pair.check(**batch)
    parameters = dict(pair.fast.named_parameters())
    with torch.no_grad(), counted() as calls:
        output = torch.func.functional_call(pair.fast, parameters, (), batch)
    assert calls == {"fast": 1}
    assert_same_output(output, before, pair.bound)


@pytest.mark.parametrize("kind", [torch.Tensor.detach, nn.Parameter], ids=["tensors", "parameters"])
def test_functional_call_with_other_weights_uses_them(pair, batch, kind):
    before = pair.check(**batch)
    with torch.no_grad():
        expected, actual = (
            torch.func.functional_call(model, _other_weights(model, kind), (), batch)
            for model in (pair.stock, pair.fast)
        )
    assert_differ(expected, before)
    assert_same_output(actual, expected, pair.bound)
    assert_same_output(pair.check(**batch), before, pair.bound)


@pytest.mark.parametrize("kind", [lambda t: t.clone().requires_grad_(), nn.Parameter], ids=["tensors", "parameters"])
def test_functional_call_gives_gradients_of_other_weights(pair, batch, kind):
    gradients = []
    for model in (pair.stock, pair.fast):
        weights = _other_weights(model, kind)
        output = torch.func.functional_call(model, weights, (), batch)
        output.last_hidden_state.square().sum().backward()
        gradients.append(weights["encoder.layer.0.output.dense.weight"].grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-4)
