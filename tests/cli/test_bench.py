"""``bertfast bench``: what it refuses, and a small run."""

from __future__ import annotations

import importlib.util
import json
import re

import pytest

from .conftest import assert_one_line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--against", "tensorrt"), "--against: expected names of .*compile-static.*, or all, got tensorrt; installed"),
        (("--against", ","), "expected names separated by commas, got ','"),
        (("--precision", "float16"), "--precision: expected names of float32, bfloat16, int8 on cpu, got float16"),
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
    assert "expected one of bert-base, bert-large, minilm-l6, bert-tiny, all-minilm-l6-v2, a folder" in done.err


def test_what_is_not_installed_is_refused_with_the_way_to_install_it(call, monkeypatch):
    real = importlib.util.find_spec
    absent = ("openvino", "matplotlib")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in absent else real(name, *rest))
    done = call("bench", "bert-tiny", "--against", "transformers,openvino")
    assert_one_line(done)
    assert "openvino not installed: pip install" in done.err
    assert "bertfast[compare]" in done.err
    assert re.search("installed here: .*transformers", done.err)
    done = call("bench", "bert-tiny", "--plot", "figures")
    assert_one_line(done)
    assert "--plot: matplotlib is not installed; pip install 'bertfast[plot]'" in done.err


def test_help_imports_neither_torch_nor_transformers(process):
    done = process("bench", "--help")
    assert done.code == 0
    assert "--against" in done.out


@pytest.mark.slow
def test_a_grid(process, tmp_path):
    path = tmp_path / "found.json"
    wanted = ("--batch", "2", "--length", "8,16", "--fill", "1,0.6", "--rounds", "2", "--warmup", "1", "--threads", "1")
    done = process("bench", "bert-tiny", *wanted, "--json", path)
    assert done.code == 0, done.err
    assert done.err == ""
    assert re.search(r"^2x16 60% +\d+/32  bertfast .* \d\.\d\dx", done.out, re.M)
    stored = json.loads(path.read_text())
    assert stored.keys() == {
        *("environment", "command", "model", "device", "rounds", "warmup", "left_out", "results"),
    }
    assert stored["command"].startswith("bertfast bench bert-tiny --batch 2")
    assert str(tmp_path) not in path.read_text()
    assert {"versions", "cpu", "torch", "compiled"} <= stored["environment"].keys()
    assert [row["row"] for row in stored["results"]] == ["2x8", "2x8 60%", "2x16", "2x16 60%"]
    for row in stored["results"]:
        assert row["timings"].keys() == row["tokens_per_s"].keys() == row["accuracy"].keys()
        assert row["timings"].keys() == {"bertfast", "transformers"}
        assert row["accuracy"]["bertfast"]["pooled_error"] < 2e-6
        for timing in row["timings"].values():
            assert 0 < timing["wall_ms"] <= timing["wall_ms_p90"] <= timing["wall_ms_p99"]


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
