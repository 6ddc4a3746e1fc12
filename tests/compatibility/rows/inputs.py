"""What a call can be given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from compatibility.behaviours import FALLBACK, REFUSED, V5, NotInThisVersion, behaviour
from compatibility.bench import TEXTS, Bench, plain

_GROUP = "Inputs"


def _served(name: str, change: Callable[[dict[str, Tensor]], dict[str, Any]], side: str = "right") -> None:
    @behaviour(_GROUP, name, "all outputs")
    def run(bench: Bench) -> None:
        for class_name in ("BertModel", "BertForSequenceClassification"):
            bench.pair(class_name).check(**change(bench.batch(side)))


def _columns(batch: dict[str, Tensor]) -> Tensor:
    return torch.arange(batch["input_ids"].shape[1])


def _embeds(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    embeds = torch.randn(*batch["input_ids"].shape, 48, generator=torch.Generator().manual_seed(1))
    return {"inputs_embeds": embeds, "attention_mask": batch["attention_mask"]}


_served("`input_ids` alone", lambda b: {"input_ids": b["input_ids"]})
_served("`attention_mask` [B, S]", lambda b: {n: b[n] for n in ("input_ids", "attention_mask")})
_served("`attention_mask` of bool", lambda b: {**b, "attention_mask": b["attention_mask"].bool()})
_served("`attention_mask` of float", lambda b: {**b, "attention_mask": b["attention_mask"].float()})
_served("`token_type_ids`", lambda b: {**b, "token_type_ids": b["token_type_ids"].flip(0)})
_served("`position_ids`", lambda b: {**b, "position_ids": _columns(b).flip(0).expand(b["input_ids"].shape)})
_served("`inputs_embeds`", _embeds)
_served("left padding", lambda b: b, "left")
_served("holes in the mask", lambda b: b, "holed")
_served("`int32` ids", lambda b: {name: value.int() for name, value in b.items()})
_served("a batch of one, a text of one token", lambda b: {name: value[3:4, :1] for name, value in b.items()})


@behaviour(_GROUP, "`use_cache`, `return_dict`", "all outputs")
def _options_of_a_call(bench: Bench) -> None:
    for return_dict in (True, False):
        # transformers 4 refuses use_cache as an argument of this head.
        bench.pair("BertForSequenceClassification").check(**bench.batch(), return_dict=return_dict)
        for use_cache in (True, False):
            bench.pair().check(**bench.batch(), return_dict=return_dict, use_cache=use_cache)


@behaviour(_GROUP, "padding to `max_length`", "all outputs")
def _max_length(bench: Bench) -> None:
    stock, fast = bench.real("BertForSequenceClassification")
    batch = bench.tokenizer(TEXTS, padding="max_length", max_length=256, truncation=True, return_tensors="pt")
    bench.same(plain(batch), stock, fast)


@behaviour(_GROUP, "pairs of texts (`tokenizer(questions, contexts)`)", "all outputs")
def _pairs(bench: Bench) -> None:
    stock, fast = bench.real("BertForNextSentencePrediction")
    bench.same(plain(bench.tokens(TEXTS, TEXTS[::-1])), stock, fast)


@behaviour(_GROUP, "a `BatchEncoding` on the model's device (`.to(model.device)`), unpacked", "every real position")
def _batch_encoding(bench: Bench) -> None:
    # At the padding of such short texts, MiniLM's float32 noise alone is beyond the bound, on stock as on bertfast.
    stock, fast = bench.real()
    batch = bench.tokenizer(TEXTS, padding=True, return_tensors="pt")
    real = batch["attention_mask"].bool()
    bench.same(lambda model: plain(batch.to(model.device))(model).last_hidden_state[real], stock, fast)


@behaviour(_GROUP, "positional arguments", "all outputs")
def _positional(bench: Bench) -> None:
    pair, batch = bench.pair(), bench.batch()
    with torch.no_grad():
        values = [batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")]
        bench.same(lambda model: model(*values), pair.stock, pair.fast)


def _square(batch: dict[str, Tensor]) -> Tensor:
    mask = batch["attention_mask"]
    return mask.unsqueeze(1) * mask.new_ones(mask.shape[1], mask.shape[1]).tril()


@behaviour(_GROUP, "`attention_mask` [B, S, S]", "all outputs", REFUSED, v4=FALLBACK)
def _three_d(bench: Bench) -> None:
    pair, batch = bench.pair(), bench.batch()
    call = plain(batch, attention_mask=_square(batch))
    (bench.refused if V5 else bench.same)(call, pair.stock, pair.fast)


@behaviour(_GROUP, "`attention_mask` [B, 1, S, S]", "all outputs", FALLBACK, v4=REFUSED)
def _four_d(bench: Bench) -> None:
    pair, batch = bench.pair(), bench.batch()
    call = plain(batch, attention_mask=_square(batch).unsqueeze(1).bool())
    (bench.same if V5 else bench.refused)(call, pair.stock, pair.fast)


@behaviour(_GROUP, "a row without any real token", "all outputs", FALLBACK)
def _empty_row(bench: Bench) -> None:
    pair, batch = bench.pair(), bench.batch()
    batch["attention_mask"][1] = 0
    bench.same(plain(batch), pair.stock, pair.fast)


@behaviour(_GROUP, "`head_mask`", "all outputs", "not in this version", v4=FALLBACK)
def _head_mask(bench: Bench) -> None:
    if V5:
        raise NotInThisVersion
    pair = bench.pair(attn_implementation="eager")
    bench.same(plain(bench.batch(), head_mask=torch.tensor([0.0, 1, 1, 0])), pair.stock, pair.fast)


@behaviour(_GROUP, "an unknown keyword argument", "all outputs", FALLBACK, v4=REFUSED)
def _unknown(bench: Bench) -> None:
    pair, call = bench.pair(), plain(bench.batch(), no_such_argument=1)
    (bench.same if V5 else bench.refused)(call, pair.stock, pair.fast)


def _wrong(name: str, change: Callable[[dict[str, Tensor]], dict[str, Any]], v4: str | None = None) -> None:
    @behaviour(_GROUP, name, "error", REFUSED, v4)
    def run(bench: Bench) -> None:
        pair, batch = bench.pair(), bench.batch()
        bench.refused(plain(change(batch)), pair.stock, pair.fast)
        # Nothing is left behind.
        assert bench.same(plain(batch), pair.stock, pair.fast) is not None


_wrong("an id outside of the vocabulary", lambda b: {**b, "input_ids": b["input_ids"] + 1000})
_wrong("a text beyond the position table", lambda b: {"input_ids": b["input_ids"].repeat(1, 9)})
_wrong("a mask of another length than the ids", lambda b: {**b, "attention_mask": b["attention_mask"][:, :-1]})
_wrong("an empty batch", lambda b: {name: value[:0] for name, value in b.items()})
_wrong("lists in the place of tensors", lambda b: {"input_ids": b["input_ids"].tolist()})
_wrong("`input_ids` and `inputs_embeds` at once", lambda b: {**_embeds(b), "input_ids": b["input_ids"]})
_wrong("neither `input_ids` nor `inputs_embeds`", lambda b: {"attention_mask": b["attention_mask"]})
