"""Options that do not exist are refused, with a hint where it is plain what was meant."""

from __future__ import annotations

import pytest
import torch

from bertfast.options import Options
from bertfast.precision import PRECISIONS


@pytest.mark.parametrize("precision", PRECISIONS)
def test_known_precisions(precision):
    assert Options(precision=precision).precision == precision


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("bf16", "bfloat16"),
        ("BFloat16", "bfloat16"),
        ("fp32", "float32"),
        ("torch.bfloat16", "bfloat16"),
        (torch.bfloat16, "bfloat16"),
        (torch.float32, "float32"),
        (torch.int8, "int8"),
        (torch.qint8, "int8"),
    ],
)
def test_other_names_of_a_precision_get_a_hint(asked, meant):
    with pytest.raises(ValueError, match=f"expected one of None, .*did you mean '{meant}'"):
        Options(precision=asked)


@pytest.mark.parametrize("asked", ["fp16", "float16", "half", torch.float16])
def test_a_dtype_of_the_model_gets_another_hint(asked):
    with pytest.raises(ValueError, match=r"convert it and leave precision out: model\.to\(torch\.float16\)"):
        Options(precision=asked)


@pytest.mark.parametrize("asked", ["fp8", "", 8, ["int8"], True])
def test_what_is_not_a_precision_gets_no_hint(asked):
    with pytest.raises(ValueError, match=r"expected one of None, 'float32', 'bfloat16', 'int8', 'auto'$"):
        Options(precision=asked)


@pytest.mark.parametrize("name", ["pad_outputs", "on_fallback"])
def test_other_options_name_what_is_allowed(name):
    with pytest.raises(ValueError, match=f"{name}='none': expected one of"):
        Options(**{name: "none"})


@pytest.mark.parametrize("name", ["cuda_graphs", "keep_original"])
@pytest.mark.parametrize("value", ["no", 0, None], ids=repr)
def test_what_is_true_or_false_is_nothing_else(name, value):
    with pytest.raises(ValueError, match=f"{name}={value!r}: expected True or False"):
        Options(**{name: value})
