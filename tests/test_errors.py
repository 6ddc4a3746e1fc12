"""Bad input gets an error that names the argument, the value and the limit, of the type that stock raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from dropin.helpers import counted
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tolerances import assert_same_output
from torch import Tensor

import bertfast
from bertfast import InputRangeError, InputShapeError, InputTypeError

# The models here know 97 tokens, 2 token types and 64 positions; the batch is [5, 13].
Batch = dict[str, Any]


@pytest.fixture(scope="module")
def pair(stock_and_fast: Callable[..., Any]) -> Any:
    """A pair of ``BertModel`` that all tests share: an error must not harm it."""
    from transformers import BertConfig

    sizes = {"num_hidden_layers": 2, "hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 80}
    return stock_and_fast("BertModel", BertConfig(vocab_size=97, max_position_embeddings=64, **sizes))


@pytest.fixture
def batch(make_config: Callable[..., Any], make_batch: Callable[..., Any]) -> Batch:
    """Five texts of 1 to 13 tokens."""
    return make_batch(make_config(), (9, 4, 13, 1, 13))


def _put(name: str, value: Any) -> Callable[[Batch], Batch]:
    return lambda batch: {**batch, name: value(batch) if callable(value) else value}


def _with(name: str, value: int) -> Callable[[Batch], Batch]:
    """One entry of ``name`` set to ``value``."""

    def change(batch: Batch) -> Batch:
        changed = batch[name].clone() if name in batch else torch.zeros_like(batch["input_ids"])
        changed[2, 3] = value
        return {**batch, name: changed}

    return change


def _long(batch: Batch) -> Batch:
    return {"input_ids": torch.ones(2, 65, dtype=torch.long), "attention_mask": torch.ones(2, 65)}


def _empty(*size: int) -> Callable[[Batch], Batch]:
    return lambda batch: {"input_ids": torch.zeros(size, dtype=torch.long)}


def _reshaped(change: Callable[[Tensor], Tensor]) -> Callable[[Batch], Batch]:
    """Ids of another rank, without the other arguments."""
    return lambda batch: {"input_ids": change(batch["input_ids"])}


def _cut(name: str) -> Callable[[Batch], Batch]:
    """``name`` one column short."""
    return lambda batch: {**batch, name: batch.get(name, batch["input_ids"])[:, :-1].clamp(max=1)}


def _rows(name: str) -> Callable[[Batch], Batch]:
    """``name`` for two rows of five."""
    return lambda batch: {**batch, name: batch.get(name, batch["input_ids"])[:2].clamp(max=1)}


def _embeds(*size: int, **more: Any) -> Callable[[Batch], Batch]:
    return lambda batch: {"inputs_embeds": torch.zeros(size), **{k: batch[k] for k in more}}


RANGE: dict[str, tuple[Callable[[Batch], Batch], str]] = {
    "a token beyond the vocabulary": (_with("input_ids", 97), r"input_ids.*97.*96"),
    "a token far beyond it": (_with("input_ids", 2**40), rf"input_ids.*{2**40}.*96"),
    "a negative token": (_with("input_ids", -1), r"input_ids.*-1.*96"),
    "an unknown token type": (_with("token_type_ids", 2), r"token_type_ids.*2.*1"),
    "a negative token type": (_with("token_type_ids", -5), r"token_type_ids.*-5.*1"),
    "a position beyond the table": (_with("position_ids", 64), r"position_ids.*64.*63"),
    "a negative position": (_with("position_ids", -1), r"position_ids.*-1.*63"),
}

SHAPE: dict[str, tuple[Callable[[Batch], Batch], str]] = {
    "more tokens than positions": (_long, r"65.*64"),
    "an empty batch": (_empty(0, 5), r"\[0, 5\]"),
    "texts without tokens": (_empty(3, 0), r"\[3, 0\]"),
    "1-D ids": (_reshaped(lambda ids: ids[0]), r"input_ids.*\[13\]"),
    "3-D ids": (_reshaped(lambda ids: ids.unsqueeze(1)), r"input_ids.*\[5, 1, 13\]"),
    "0-D ids": (_reshaped(lambda ids: ids[0, 0]), r"input_ids.*\[\]"),
    "a mask of another length": (_cut("attention_mask"), r"attention_mask.*\[5, 13\].*\[5, 12\]"),
    "a mask of another batch": (_rows("attention_mask"), r"attention_mask.*\[5, 13\].*\[2, 13\]"),
    "token types of another length": (_cut("token_type_ids"), r"token_type_ids.*\[5, 13\].*\[5, 12\]"),
    "token types of another batch": (_rows("token_type_ids"), r"token_type_ids.*\[5, 13\].*\[2, 13\]"),
    "positions of another length": (_cut("position_ids"), r"position_ids.*\[5, 13\].*\[5, 12\]"),
    "positions of another batch": (_rows("position_ids"), r"position_ids.*\[5, 13\].*\[2, 13\]"),
    "both ids and embeddings": (_put("inputs_embeds", torch.zeros(5, 13, 48)), r"input_ids.*inputs_embeds.*both"),
    "neither ids nor embeddings": (
        lambda batch: {"attention_mask": batch["attention_mask"]},
        r"input_ids.*inputs_embeds.*neither",
    ),
    "embeddings of another width": (_embeds(5, 13, 47), r"inputs_embeds.*48.*\[5, 13, 47\]"),
    "2-D embeddings": (_embeds(13, 48), r"inputs_embeds.*\[13, 48\]"),
    "a mask unlike the embeddings": (
        lambda batch: {"inputs_embeds": torch.zeros(5, 12, 48), "attention_mask": batch["attention_mask"]},
        r"attention_mask.*\[5, 12\].*\[5, 13\]",
    ),
}

TYPE: dict[str, tuple[Callable[[Batch], Batch], str]] = {
    "a list of ids": (lambda batch: {"input_ids": batch["input_ids"].tolist()}, "input_ids.*list"),
    "an array of ids": (lambda batch: {"input_ids": batch["input_ids"].numpy()}, "input_ids.*ndarray"),
    "a list as mask": (_put("attention_mask", lambda b: b["attention_mask"].tolist()), "attention_mask.*list"),
    "a list of token types": (_put("token_type_ids", lambda b: b["token_type_ids"].tolist()), "token_type_ids.*list"),
    "a text": (lambda batch: {"input_ids": "a text"}, "input_ids.*str"),
    "float ids": (_put("input_ids", lambda b: b["input_ids"].float()), "input_ids.*torch.float32"),
    "bool ids": (_put("input_ids", lambda b: b["input_ids"].bool()), "input_ids.*torch.bool"),
    "byte ids": (_put("input_ids", lambda b: b["input_ids"].to(torch.uint8)), "input_ids.*torch.uint8"),
    "short ids": (_put("input_ids", lambda b: b["input_ids"].short()), "input_ids.*torch.int16"),
    "float token types": (_put("token_type_ids", lambda b: b["token_type_ids"].float()), "token_type_ids.*float32"),
    "float positions": (_put("position_ids", torch.zeros(5, 13)), "position_ids.*torch.float32"),
}


def _cases(table: dict[str, tuple[Callable[[Batch], Batch], str]], error: type[Exception]) -> list[Any]:
    return [pytest.param(change, message, error, id=name) for name, (change, message) in table.items()]


ALL = [*_cases(RANGE, InputRangeError), *_cases(SHAPE, InputShapeError), *_cases(TYPE, InputTypeError)]


@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no grad"])
@pytest.mark.parametrize(("change", "message", "error"), ALL)
def test_bad_input_is_refused_before_anything_runs(pair, batch, change, message, error, grad):
    bad = change(batch)
    with torch.set_grad_enabled(grad), counted() as calls, pytest.raises(error, match=f"(?s){message}") as raised:
        pair.fast(**bad)
    assert isinstance(raised.value, bertfast.BertfastError)
    assert not calls, "a call was counted"
    pair.check(**batch)

    with pytest.raises(error):
        bertfast.explain(pair.fast, **bad)


@pytest.mark.parametrize(("change", "message", "error"), ALL)
def test_an_except_clause_for_stock_catches_it(pair, batch, change, message, error):
    bad = change(batch)
    try:
        pair.stock(**bad)
    except Exception as stock_error:
        expected = type(stock_error)
    else:
        pytest.skip("the installed transformers computes something for this")
    with pytest.raises(expected) as raised:
        pair.fast(**bad)
    assert isinstance(raised.value, error)


@pytest.mark.parametrize("class_name", ["BertForSequenceClassification", "BertForMaskedLM"])
def test_a_head_reports_it_alike(stock_and_fast, make_config, batch, class_name):
    head = stock_and_fast(class_name, make_config())
    with pytest.raises(InputRangeError, match="input_ids"):
        head.fast(**_with("input_ids", 97)(batch))
    with pytest.raises(InputShapeError, match="attention_mask"):
        head.fast(**_cut("attention_mask")(batch))
    head.check(**batch)


def test_ids_on_another_device_are_refused(pair, batch):
    """A meta tensor is stock's business; anything else must say where it is and where the model is."""
    if not torch.cuda.is_available():
        pytest.skip("there is no other device")
    with pytest.raises(InputTypeError, match=r"input_ids.*cuda.*cpu"):
        pair.fast(input_ids=batch["input_ids"].cuda())


def test_longer_texts_with_explicit_positions_are_fine(pair):
    """Stock needs only that each position is in the table; scripts that pack texts count from 0 several times."""
    ids = torch.randint(1, 97, (2, 80), generator=torch.Generator().manual_seed(0))
    positions = (torch.arange(80) % 40).expand(2, -1)
    pair.check(input_ids=ids, position_ids=positions, token_type_ids=torch.zeros_like(ids))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_both_integer_types_are_fine(pair, batch, dtype):
    inputs = {name: value.to(dtype) for name, value in batch.items()}
    pair.check(**inputs)
    if dtype == torch.int64:
        pair.check(**inputs, position_ids=torch.arange(13).expand(5, -1))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.float32, torch.float64, torch.float16])
def test_any_number_is_a_mask(pair, batch, dtype):
    pair.check(**{**batch, "attention_mask": batch["attention_mask"].to(dtype)})


ROWS = {
    "position_ids": torch.arange(13).flip(0),
    "token_type_ids": torch.arange(13) % 2,
    "attention_mask": (torch.arange(13) < 9).long(),
}


@pytest.mark.parametrize("name", ROWS)
def test_one_row_serves_the_whole_batch_where_stock_says_so(pair, batch, name):
    inputs = {"input_ids": batch["input_ids"], name: ROWS[name].unsqueeze(0)}
    try:
        pair.stock(**inputs)
    except (IndexError, RuntimeError) as error:
        with pytest.raises(type(error)):
            pair.fast(**inputs)
    else:
        # On its fast path or not: a mask of one row is left to stock.
        assert_same_output(_outcome(pair.fast, inputs), _outcome(pair.stock, inputs), pair.bound)


def test_one_text_with_one_token(pair):
    pair.check(input_ids=torch.tensor([[5]]))
    pair.check(input_ids=torch.tensor([[5]]), attention_mask=torch.tensor([[1]]))


@pytest.mark.parametrize("value", [2, -1, 0.5])
def test_a_mask_of_other_numbers_means_what_the_installed_version_says(pair, batch, value):
    """4.57 masks what is not 1, 5.x what is 0."""
    mask = batch["attention_mask"].float()
    mask[:, 1] *= value
    pair.check(**{**batch, "attention_mask": mask})


# ---- Fuzzing: shapes, dtypes and values at random.

_IDS = (torch.int64, torch.int32, torch.int16, torch.uint8, torch.bool, torch.float32)
_MASKS = (torch.int64, torch.bool, torch.float32, torch.float64, torch.int8)


@st.composite
def _inputs(draw: st.DrawFn) -> Batch:
    """Arguments that mostly fit each other, and mostly the model."""
    batch_size, length = draw(st.integers(0, 4)), draw(st.sampled_from((0, 1, 2, 5, 13, 64, 65)))
    seed = draw(st.integers(0, 99))
    generator = torch.Generator().manual_seed(seed)

    def size() -> list[int]:
        usual = [batch_size, length]
        odd = st.sampled_from(
            ([length], [1, length], [batch_size, 1], [batch_size, length + 1], [batch_size, 1, length])
        )
        return draw(odd) if draw(st.integers(0, 9)) == 0 else usual

    def tensor(limit: int, dtypes: tuple[torch.dtype, ...], low: int = 0) -> Tensor:
        dtype = draw(st.sampled_from(dtypes)) if draw(st.integers(0, 4)) == 0 else dtypes[0]
        stray = draw(st.integers(0, 19)) == 0
        return torch.randint(low - stray, limit + stray, size(), generator=generator).to(dtype)

    inputs: Batch = {}
    if draw(st.integers(0, 9)):
        inputs["input_ids"] = tensor(97, _IDS)
    if draw(st.integers(0, 9)) == 0 or "input_ids" not in inputs:
        width = 48 if draw(st.integers(0, 4)) else 47
        dtype = draw(st.sampled_from((torch.float32, torch.float32, torch.float64, torch.bfloat16)))
        inputs["inputs_embeds"] = torch.randn(*size(), width, generator=generator).to(dtype)
    if draw(st.booleans()):
        inputs["attention_mask"] = tensor(2, _MASKS)
    if draw(st.integers(0, 3)) == 0:
        inputs["token_type_ids"] = tensor(2, _IDS)
    if draw(st.integers(0, 3)) == 0:
        inputs["position_ids"] = tensor(64, _IDS)
    return inputs


def _outcome(model: Any, inputs: Batch) -> Any:
    with torch.no_grad():
        try:
            return model(**inputs)
        except Exception as error:
            return error


def _check_any(pair: Any, inputs: Batch) -> None:
    """A right result, an error of stock's type, or one of bertfast's own. Never a result where stock has none."""
    expected, actual = _outcome(pair.stock, inputs), _outcome(pair.fast, inputs)
    if isinstance(actual, bertfast.BertfastError):
        # Of several mistakes at once, either may name another first; but there must be one.
        assert isinstance(expected, Exception) or _is_odd(inputs)
    elif isinstance(actual, Exception):
        assert type(actual) is type(expected)
    else:
        assert not isinstance(expected, Exception), f"stock raises {expected!r}"
        assert_same_output(actual, expected, 2 * pair.bound)


def _is_odd(inputs: Batch) -> bool:
    """Arguments of different sizes. Stock broadcasts, cuts or fills up some of them; refusing them aloud is fine."""
    sizes = {tuple(value.shape[:2]) for value in inputs.values()}
    return len(sizes) > 1


_RELAXED = {"suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


@settings(max_examples=120, **_RELAXED)
@given(inputs=_inputs())
def test_any_input_is_computed_rightly_or_refused(pair, inputs):
    _check_any(pair, inputs)


@pytest.mark.slow
@settings(max_examples=1500, **_RELAXED)
@given(inputs=_inputs())
def test_any_input_is_computed_rightly_or_refused_at_length(pair, inputs):
    _check_any(pair, inputs)
