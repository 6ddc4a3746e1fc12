"""``bertfast bench``: what it refuses, and a small run."""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import sys

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, DistilBertConfig

from bertfast.bench.candidates import CANDIDATES
from bertfast.bench.models import SIZES
from bertfast.cli import bench_run
from bertfast.cli.bench_choices import candidates, precisions
from bertfast.model_names import MINILM

from .conftest import assert_one_line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--against", "tensorrt"),
            "--against tensorrt: expected names of .*, compiled-static.*, or all; installed here",
        ),
        (("--against", ","), "--against: expected names separated by commas, got ','"),
        (("--precision", "float16"), "--precision float16: expected one of float32, bfloat16, int8, auto on cpu"),
        (("--precision", "float32,bf16"), "--precision bf16: expected .*; did you mean bfloat16"),
        (("--device", "gpu"), "--device gpu: expected cpu, cuda or cuda:N"),
        (("--length", "600"), "--length: this model takes at most 512 tokens, got 600"),
        (("--texts", "nosuchfile"), "nosuchfile: No such file or directory; expected a file with one text a line"),
        (("--texts", "--fill", "0.5"), "--texts: texts have their own lengths; leave --length and --fill out"),
        (("--limit", "3"), "--limit and --tokenizer: of --texts, which is not given"),
        (("--rounds", "1"), "argument --rounds: expected an integer of at least 2, got 1"),
        (("--fill", "2"), "argument --fill: expected numbers above 0 and up to 1, got 2"),
    ],
)
def test_what_is_refused(call, arguments, message):
    done = call("bench", "bert-tiny", *arguments)
    assert_one_line(done)
    assert re.search(message, done.err)


def test_a_model_that_is_not_there_is_refused_with_those_built_in(call):
    done = call("bench", "no-such-folder/at-all")
    assert_one_line(done)
    assert "or one that is built in: bert-base, bert-large, minilm-l6, bert-tiny, all-minilm-l6-v2" in done.err


def test_what_is_not_installed_is_refused_with_the_way_to_install_it(call, monkeypatch):
    real = importlib.util.find_spec
    absent = ("openvino", "matplotlib")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in absent else real(name, *rest))
    done = call("bench", "bert-tiny", "--against", "transformers,openvino")
    assert_one_line(done)
    assert "openvino not installed: pip install" in done.err
    assert ".[compare]" in done.err
    assert re.search("installed here: .*transformers", done.err)
    done = call("bench", "bert-tiny", "--plot", "figures")
    assert_one_line(done)
    assert "--plot: matplotlib is not installed; pip install '.[plot]'" in done.err


def test_help_imports_neither_torch_nor_transformers(process):
    done = process("bench", "--help")
    assert done.code == 0
    assert "--against" in done.out


def test_help_names_every_candidate_and_every_model_as_the_tables_do(call):
    words = set(re.findall(r"[\w-]+", call("bench", "--help").out))
    assert CANDIDATES.keys() <= words
    assert {*SIZES, MINILM} <= words


def test_torch_compile_may_be_called_compile():
    assert candidates("compile,compile-static,compiled") == ["bertfast", "compiled", "compiled-static"]


def test_what_auto_stands_for_is_measured_once(cpu_with):
    cpu_with("avx512_bf16")
    assert precisions("bfloat16,auto,int8", torch.device("cpu")) == ["bfloat16", "int8"]


def test_a_tokenizer_of_more_words_than_the_model_has_is_refused(call, minilm, tmp_path):
    BertConfig(vocab_size=100).save_pretrained(tmp_path)
    done = call("bench", tmp_path, "--texts", "--tokenizer", minilm)
    assert_one_line(done)
    assert "the model has 100: expected the model's own tokenizer" in done.err


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            DistilBertConfig(architectures=["DistilBertForMaskedLM"]),
            r"m \(DistilBertForMaskedLM\): .*its encoder is DistilBertModel, .* BertModel alone; bertfast verify",
        ),
        (BertConfig(hidden_act="silu"), r"m \(model_type bert\): .*intermediate_act_fn is a .*SiLUActivation"),
        (BertConfig(is_decoder=True), "decoder"),
    ],
)
def test_a_model_that_stock_would_run_is_refused_before_it_is_timed(call, tmp_path, config, message):
    config.save_pretrained(tmp_path / "m")
    done = call("bench", tmp_path / "m")
    assert_one_line(done)
    assert re.search(message, done.err)


@pytest.fixture
def stored(monkeypatch, tmp_path):
    """A run that measures nothing: what is printed and stored, but for results."""
    monkeypatch.setattr(bench_run, "run", lambda comparison, step: iter([(comparison.sections()[0], None)]))
    return tmp_path / "found.json"


def test_of_a_folder_the_last_name_alone_is_told(call, stored, monkeypatch, tmp_path):
    folder = tmp_path / "a client's" / "my model"
    BertConfig().save_pretrained(folder)
    given = ("bench", str(folder), "--json", str(stored))
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "bertfast", *given])
    done = call(*given)
    assert done.out.startswith("my model, 20 rounds")
    for told in (done.out, stored.read_text()):
        assert "client" not in told
    assert json.loads(stored.read_text())["model"] == "my model"
    assert json.loads(stored.read_text())["command"] == "python -m bertfast bench '.../my model' --json .../found.json"


def test_where_the_roofline_is_told(call, stored, tmp_path):
    pytest.importorskip("matplotlib")
    done = call("bench", "bert-tiny", "--plot", tmp_path)
    assert "no figure of roofline: it is of the CUDA kernels: bertfast kernels --plot FILE" in done.out


def test_on_a_gpu_the_roofline_is_drawn(stored, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    bench_run._plot(argparse.Namespace(plot=tmp_path, device="cuda:0", model="bert-tiny", rounds=2, warmup=1), [])
    assert (tmp_path / "roofline.svg").stat().st_size > 0
    assert f"wrote {tmp_path / 'roofline.svg'}" in capsys.readouterr().out


@pytest.mark.slow
def test_a_grid(process, tmp_path):
    path = tmp_path / "found.json"
    wanted = ("--batch", "2", "--length", "8,16", "--fill", "1,0.6", "--rounds", "2", "--warmup", "1", "--threads", "1")
    done = process("bench", "bert-tiny", *wanted, "--json", path)
    assert done.code == 0, done.err
    assert done.err == ""
    assert re.search(r"^2x16 59% +\d+/32  bertfast .* \d\.\d\dx", done.out, re.M)
    stored = json.loads(path.read_text())
    assert stored.keys() == {
        *("environment", "command", "model", "device", "rounds", "warmup", "left_out", "results"),
    }
    assert stored["command"].startswith("python -m bertfast bench bert-tiny --batch 2")
    assert str(tmp_path) not in path.read_text()
    assert {"versions", "cpu", "torch", "compiled"} <= stored["environment"].keys()
    assert [row["row"] for row in stored["results"]] == ["2x8", "2x8 69%", "2x16", "2x16 59%"]
    for row in stored["results"]:
        assert row["timings"].keys() == row["tokens_per_s"].keys() == row["accuracy"].keys()
        assert row["timings"].keys() == {"bertfast", "transformers"}
        assert row["accuracy"]["bertfast"]["pooled_error"] < 2e-6
        for timing in row["timings"].values():
            assert 0 < timing["wall_ms"] <= timing["wall_ms_p90"] <= timing["wall_ms_p99"]


def test_of_what_a_checkpoint_holds_beside_the_encoder_nothing_is_said(process, tmp_path):
    config = BertConfig(vocab_size=97, num_hidden_layers=1, hidden_size=32, num_attention_heads=2, intermediate_size=64)
    BertForMaskedLM(config).save_pretrained(tmp_path)
    wanted = ("--batch", "1", "--length", "8", "--rounds", "2", "--warmup", "1", "--threads", "1")
    done = process("bench", tmp_path, *wanted)
    assert (done.code, done.err) == (0, "")


@pytest.mark.slow
def test_texts_on_a_checkpoint(process, tmp_path, minilm):
    path, texts = tmp_path / "found.json", tmp_path / "texts.txt"
    texts.write_text("One text.\n\nAnother, longer text of a few words.\nA third.\n")
    wanted = ("--texts", texts, "--limit", "2", "--batch", "1,2", "--rounds", "2", "--warmup", "1", "--threads", "1")
    done = process("bench", minilm, *wanted, "--json", path)
    assert done.code == 0, done.err
    one, two = json.loads(path.read_text())["results"]
    assert (one["batches"], one["real_tokens"], two["batches"]) == (2, one["padded_slots"], 1)
    assert two["real_tokens"] < two["padded_slots"]
    assert two["accuracy"]["bertfast"]["pooled_error"] < 2e-6
    assert two["accuracy"]["bertfast"]["logits_error"] is None
