"""Pipelines whose results are made of padding, and calls that ask for less than a result."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tolerances import TOLERANCES, assert_close
from torch import Tensor

from dropin.pipelines import (
    TASKS,
    TEXTS,
    assert_same_result,
    computes_padding,
    drops_padding,
    make_pipes,
)

TOKENS, MASK = TASKS


class CallsNothingSpecial:
    """A tokenizer that pads, and does not tell that padding is special."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        found = self._own(*args, **kwargs, padding="max_length", max_length=30)
        found["special_tokens_mask"] = torch.zeros_like(found["special_tokens_mask"])
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)


def test_padding_that_is_not_called_special_is_read(make_model, tokenizer):
    stock, fast = make_pipes(make_model, tokenizer, TOKENS)
    for pipe in (stock, fast):
        pipe.tokenizer = CallsNothingSpecial(pipe.tokenizer)
    assert_same_result(fast(TEXTS, batch_size=3), stock(TEXTS, batch_size=3))
    computes_padding(fast)


def test_a_mask_token_that_is_padding_is_read(make_model, tokenizer):
    tokenizer.mask_token = tokenizer.pad_token
    stock, fast = make_pipes(make_model, tokenizer, MASK)
    texts = [text.replace("[MASK]", "[PAD]") for text in TEXTS]
    assert_same_result(fast(texts, batch_size=3), stock(texts, batch_size=3))
    computes_padding(fast)


def test_a_pad_token_in_a_text_is_read(make_model, tokenizer):
    stock, fast = make_pipes(make_model, tokenizer, TOKENS)
    texts = [text.replace("[MASK]", "[PAD]") for text in TEXTS]
    assert_same_result(fast(texts, batch_size=3), stock(texts, batch_size=3))
    drops_padding(fast)


def batch_of(pipe: Any) -> dict[str, Any]:
    """A padded batch, as it is given to ``forward``."""
    batch = dict(
        pipe.tokenizer(TEXTS, return_tensors="pt", padding=True, return_special_tokens_mask=pipe.task == TOKENS)
    )
    return {**batch, "sentence": None, "is_last": True} if pipe.task == TOKENS else batch


@pytest.mark.parametrize("name", ["forward", "_forward", "model"])
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a generator that is read"])
@pytest.mark.parametrize("task", TASKS)
def test_the_model_s_own_outputs_hold_padding(make_model, tokenizer, task, inside, name):
    stock, fast = make_pipes(make_model, tokenizer, task)

    def ask(pipe: Any) -> Tensor:
        batch = batch_of(pipe)
        if name == "model":
            batch = {key: batch[key] for key in ("input_ids", "attention_mask", "token_type_ids")}
            return pipe.model(**batch).logits.detach()
        return getattr(pipe, name)(batch)["logits"].detach()

    def texts(pipe: Any, found: list[Tensor]) -> Any:
        for text in TEXTS:
            found.append(ask(pipe))
            yield text

    expected = ask(stock)
    found = [ask(fast)]
    if inside:
        list(fast(texts(fast, found), batch_size=3))
        drops_padding(fast)
    for logits in found:
        assert_close(logits, expected, TOLERANCES[torch.float32].model)
