"""``bertfast verify``: what it finds in saved models, what it says, and its exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from precisions import needs
from transformers import AutoTokenizer, DistilBertConfig, DistilBertModel

import bertfast
from bertfast.cli import verifying
from cli.conftest import assert_one_line


@pytest.fixture
def save(tmp_path, minilm, stock_and_fast, make_config):
    """``save("BertModel")``: a folder with a tiny model for 64 tokens at most, and MiniLM's tokenizer."""

    def make(class_name):
        folder = tmp_path / class_name
        config = make_config(vocab_size=30522, attn_implementation="sdpa")
        stock_and_fast(class_name, config).stock.save_pretrained(folder)
        AutoTokenizer.from_pretrained(minilm).save_pretrained(folder)
        return folder

    return make


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("A secret text.\n\n" + "many words " * 90 + "\nAnother text, a little longer than the first.\n" * 3)
    return path


@pytest.fixture
def spoil(monkeypatch):
    """``spoil(change)``: what `bertfast.accelerate` returns is changed before it is compared."""

    def plant(change):
        real = bertfast.accelerate

        def accelerate(model, **options):
            with torch.no_grad():
                change(model)
            return real(model, **options)

        monkeypatch.setattr(verifying.bertfast, "accelerate", accelerate, raising=False)

    return plant


def test_as_a_process(process, save, texts, tmp_path):
    folder, path = save("BertForSequenceClassification"), tmp_path / "found.json"
    done = process("verify", folder, "--texts", texts, "--batch-size", 2, "--json", path)
    assert done.code == 0, done
    stored = json.loads(path.read_text())
    for told in (done.out, path.read_text()):
        assert "secret" not in told, "a text of the user's"
        assert str(folder.parent) not in told
        assert str(Path.home()) not in told
    assert "bertfast verify: PASSED" in done.out
    assert "TRUNCATED: 1 text was longer, and cut to 64 tokens" in done.out
    assert "3 calls fast" in done.out
    assert stored["passed"] is True
    assert stored["texts"] == {"source": "mine.txt", "count": 5, "truncated": 1, "max_length": 64, "batch_size": 2}
    assert stored["calls"] == {"fast": 3}
    assert stored["outputs"]["logits"]["all"]["texts"] == 5
    assert stored["outputs"]["logits"].keys() == {"all", "1-16", "33-64"}
    assert stored["environment"]["versions"]["bertfast"] == bertfast.__version__


@pytest.mark.parametrize(
    ("class_name", "output"),
    [("BertModel", "pooler_output"), ("BertForQuestionAnswering", "end_logits"), ("BertForMaskedLM", "logits")],
)
def test_models_pass(call, save, texts, class_name, output):
    done = call("verify", save(class_name), "--texts", texts)
    assert done.code == 0, done
    assert output in done.out


def test_pairs_have_two_token_types(call, save, tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"text": "a question", "text_pair": "an answer"}\n{"text": "alone"}\n')
    assert call("verify", save("BertModel"), "--texts", path).code == 0


def test_docstrings_are_the_default(call, save):
    done = call("verify", save("BertModel"), "--max-texts", 8, "--hidden-states", "--max-length", 32)
    assert done.code in (0, 1)
    assert "8 of docstrings of Python's standard library" in done.out
    assert "hidden_states[0]" in done.out


def test_another_class_may_be_asked_for_and_what_is_random_is_told(call, save, texts):
    done = call("verify", save("BertModel"), "--texts", texts, "--task", "token-classification")
    assert done.code == 0, done
    assert "PASSED, every output is within the limits, with 2 weights drawn at RANDOM" in done.out.splitlines()[0]
    assert "RANDOM: its files lack 2 weights, classifier.bias ...; equal in both" in done.out
    assert "ran: 1 call fast\n" in done.out


def test_changed_weights_fail(call, save, texts, spoil):
    spoil(lambda model: model.encoder.layer[1].output.dense.weight[0, 0].add_(0.1))
    done = call("verify", save("BertModel"), "--texts", texts)
    assert done.code == 1
    assert "FAILED, outputs are over the limits" in done.out
    assert "last_hidden_state, all texts: relative error" in done.out


def test_one_wrong_logit_fails(call, save, texts, spoil):
    spoil(lambda model: model.classifier.bias[1].add_(1e-3))
    done = call("verify", save("BertForSequenceClassification"), "--texts", texts)
    assert done.code == 1
    assert "logits, all texts: relative error" in done.out


def test_nan_fails_and_is_null_in_json(call, save, texts, spoil, tmp_path):
    spoil(lambda model: model.classifier.bias[1].fill_(float("nan")))
    done = call("verify", save("BertForSequenceClassification"), "--texts", texts, "--json", tmp_path / "a.json")
    assert done.code == 1
    assert "relative error nan" in done.out
    stored = json.loads((tmp_path / "a.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert stored["outputs"]["logits"]["all"]["relative_error"] is None
    assert stored["outputs"]["logits"]["all"]["not_finite"] == 5


def test_what_would_be_faster_is_told_without_folders(call, save, texts, tmp_path, monkeypatch):
    needs("int8")
    monkeypatch.setattr("bertfast.backends.cpu.advice", lambda asked: "not there: /home/jane/bertfast has no kernels")
    path = tmp_path / "a.json"
    given = ("--precision", "int8", "--json", path)
    done = call("verify", save("BertModel"), "--texts", texts, *given)
    assert "advice: not there: .../bertfast has no kernels" in done.out
    for told in (done.out, path.read_text()):
        assert "jane" not in told


def test_limits_may_be_given(call, save, texts):
    folder = save("BertForSequenceClassification")
    for given in (("--max-relative-error", "1e-12"), ("--max-abs-error", "1e-12")):
        assert call("verify", folder, "--texts", texts, *given).code == 1
    assert call("verify", folder, "--texts", texts, "--max-abs-error", "1", "--min-agreement", "1").code == 0


def test_stock_is_not_taken_for_the_fast_path(call, save, texts, spoil):
    spoil(lambda model: model.encoder.layer[0].attention.register_forward_hook(lambda *args: None))
    done = call("verify", save("BertModel"), "--texts", texts)
    assert done.code == 1
    assert "bertfast verify: FAILED, nothing was accelerated: the only call ran stock: " in done.out


def test_a_model_of_another_kind_is_not_accelerated(call, minilm, tmp_path, texts):
    config = DistilBertConfig(vocab_size=30522, dim=16, n_layers=1, n_heads=2, hidden_dim=32)
    DistilBertModel(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(minilm).save_pretrained(tmp_path)
    done = call("verify", tmp_path, "--texts", texts)
    assert done.code == 1, done
    assert "nothing was accelerated: DistilBertModel holds no transformers BertModel" in done.out


def test_a_precision_that_runs(call, save, texts):
    needs("bfloat16")
    done = call("verify", save("BertModel"), "--texts", texts, "--precision", "bfloat16", "--max-relative-error", "0.1")
    assert done.code == 0, done
    assert "matrix products in bfloat16" in done.out


def test_a_precision_that_this_cpu_lacks_fails(call, save, texts, cpu_with):
    cpu_with("avx2")
    done = call("verify", save("BertModel"), "--texts", texts, "--precision", "int8")
    assert done.code == 1
    assert "precision int8 was asked for, float32 ran: this CPU has neither AMX-INT8 nor VNNI" in done.out


def test_a_model_in_16_bits_is_compared_with_float32(call, save, texts):
    done = call("verify", save("BertModel"), "--texts", texts, "--dtype", "bfloat16")
    assert done.code == 0, done
    assert "weights in bfloat16 on cpu, with stock transformers in float32" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--texts", "/nosuch.txt"), "No such file"),
        (("--task", "nosuch"), "--task nosuch: expected one of feature-extraction"),
        (("--device", "nosuch"), "--device nosuch: expected cpu, cuda or cuda:N"),
        (("--device", "cuda:99"), "--device cuda:99: torch"),
        (("--max-length", "65"), "--max-length 65: the model has positions for 64"),
        (("--precision", "fp8"), "--precision fp8: expected one of float32, bfloat16, int8, auto\n"),
        (
            ("--precision", "bf16"),
            "--precision bf16: expected one of float32, bfloat16, int8, auto; did you mean bfloat16?",
        ),
        (("--precision", "int8", "--dtype", "float16"), "--dtype float16 was given; leave --dtype out"),
        (("--batch-size", "0"), "--batch-size: expected an integer of at least 1, got 0"),
        (("--max-relative-error", "-1"), "--max-relative-error: expected a number above 0, got -1"),
        (("--min-cosine", "x"), "--min-cosine: expected a number from 0 to 1, got x"),
        (("--dtype", "float8"), "--dtype"),
        (("--json", "/proc/nosuch/a.json"), "--json /proc/nosuch/a.json: "),
    ],
)
def test_bad_input_is_one_line(call, save, texts, arguments, message):
    done = call("verify", save("BertModel"), "--texts", texts, *arguments)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1, done.err
    assert "Traceback" not in done.err


def test_a_variable_that_means_nothing_is_one_line(call, save, texts, monkeypatch):
    monkeypatch.setenv("BERTFAST_CPU_LINEAR", "nosuch")
    done = call("verify", save("BertModel"), "--texts", texts)
    assert_one_line(done)
    assert "BERTFAST_CPU_LINEAR='nosuch': expected one of auto" in done.err


@pytest.mark.parametrize("name", ["/nosuch/folder", "nosuch-model-of-nobody"])
def test_a_model_that_is_not_there(process, name):
    assert_one_line(process("verify", name))


def test_a_folder_without_a_tokenizer(call, save, texts, stock_and_fast, make_config, tmp_path):
    stock_and_fast("BertModel", make_config()).stock.save_pretrained(tmp_path)
    done = call("verify", tmp_path, "--texts", texts)
    # transformers 5 makes one of special tokens alone, to which every word is unknown.
    assert_one_line(done)
    assert "tokenizer" in done.err


def test_the_tokenizer_of_a_larger_model(call, minilm, texts, stock_and_fast, make_config, tmp_path):
    stock_and_fast("BertModel", make_config(vocab_size=1500)).stock.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(minilm).save_pretrained(tmp_path)
    done = call("verify", tmp_path, "--texts", texts)
    assert_one_line(done)
    assert "the model has 1500: expected the model's own tokenizer" in done.err


def test_choices_are_no_texts(call, save, texts):
    done = call("verify", save("BertForMultipleChoice"), "--texts", texts)
    assert_one_line(done)
    assert "takes choices, not texts" in done.err


@pytest.mark.parametrize("name", ["./no-such", "../no-such", "~/no-such"])
def test_a_path_is_not_looked_for_on_the_hub(call, name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    done = call("verify", name)
    assert_one_line(done)
    assert f"{name}: no such folder" in done.err


def test_a_full_stop_of_transformers_is_one(call, tmp_path):
    assert ".. " not in call("verify", tmp_path).err.removeprefix("bertfast verify: error: ")


def test_a_size_of_bench_is_no_model(call, monkeypatch):
    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", lambda *_, **__: pytest.fail("asks the hub"))
    done = call("verify", "bert-base")
    assert_one_line(done)
    assert "bert-base: a size for bertfast bench" in done.err


def test_a_folder_without_a_tokenizer_is_refused(call, save):
    folder = save("BertModel")
    for path in (folder / "tokenizer.json", folder / "vocab.txt"):
        path.unlink(missing_ok=True)
    done = call("verify", folder)
    assert_one_line(done)
    assert "okenizer" in done.err
    assert "unknown" not in done.err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--precision", "fp16"), "--precision fp16: expected .*; did you mean --dtype float16"),
        (("--precision", "float16"), "did you mean --dtype float16"),
        (("--precision", "fp32"), "did you mean float32"),
        (("--dtype", "fp16"), "--dtype fp16: expected one of float32, float16, bfloat16; did you mean float16"),
        (("--dtype", "int8"), "did you mean --precision int8"),
    ],
)
def test_precisions_and_dtypes_are_told_apart(call, given, message):
    done = call("verify", "no-such-folder/at-all", *given)
    assert_one_line(done)
    assert re.search(message, done.err)


def test_nothing_is_said_of_padding(call, save, texts, caplog):
    with caplog.at_level("WARNING", logger="bertfast"):
        assert call("verify", save("BertModel"), "--texts", texts).code == 0
    assert "masked tokens" not in caplog.text
