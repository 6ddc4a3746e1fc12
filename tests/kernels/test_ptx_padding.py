"""unpad_input, pad_input and gather_first as nvcc compiled them, run by the interpreter: bit for bit what they mean."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.comparison import ARCHITECTURES, normal
from kernels.device_runs import DeviceRuns
from kernels.elements import ELEMENTS, Element
from kernels.ptx.kinds import Array

pytestmark = pytest.mark.slow

_PAD_TOKEN = 0
# In the order of csrc/kernels/mask.h: the bits of a mask of 1 and 0 in each of its types.
_MASKS = {"bool": (0, np.uint8), "int64": (5, np.int64), "float32": (8, np.float32), "float64": (9, np.float64)}


def _batch(batch_size: int, padded_len: int) -> tuple[Array, Array]:
    """A mask with holes, of a row without any key, too; and ids of which some are there without being keys."""
    random = np.random.default_rng(batch_size)
    mask = random.random((batch_size, padded_len)) < 0.6
    mask[-1] = False
    ids = np.where(mask | (random.random(mask.shape) < 0.3), random.integers(1, 99, mask.shape), _PAD_TOKEN)
    return mask, ids


def _layout(mask: Array, ids: Array) -> dict[str, Array]:
    """What unpad_input.h says, position by position."""
    sequences, lengths, dropped = [], [], []
    for row, (keys, row_ids) in enumerate(zip(mask, ids, strict=True)):
        positions = row * mask.shape[1] + np.arange(mask.shape[1])
        is_computed = keys | (row_ids != _PAD_TOKEN)
        is_computed[0] = True
        sequences.append(np.concatenate([positions[keys], positions[is_computed & ~keys]]))
        lengths.append(sequences[-1].size)
        dropped.append(positions[~is_computed])
    packed = np.concatenate(sequences)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    first = [np.nonzero(packed == row * mask.shape[1])[0][0] for row in range(len(mask))]
    num_keys = mask.sum(axis=1)
    counts = [packed.size, max(lengths), num_keys.sum(), num_keys.min(), 0]
    return {
        "indices": np.concatenate([packed, *dropped]),
        "cu_seqlens": offsets.astype(np.int32),
        "key_lengths": num_keys.astype(np.int32),
        "first_rows": np.array(first),
        "counts": np.array(counts),
    }


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("mask_name", _MASKS)
@pytest.mark.parametrize("id_dtype", [0, 1], ids=["int32", "int64"])
@pytest.mark.parametrize(("batch_size", "padded_len"), [(4, 40), (2, 1100)])
def test_unpad_input(
    runs: DeviceRuns, architecture: str, mask_name: str, id_dtype: int, batch_size: int, padded_len: int
) -> None:
    mask, ids = _batch(batch_size, padded_len)
    id_type = (np.int32, np.int64)[id_dtype]
    all_ids = {"input_ids": ids, "token_type_ids": ids % 2, "position_ids": np.arange(mask.size) % padded_len}
    want = _layout(mask, ids)
    if mask_name == "bool":  # of one mask, in padding: both extremes of the type
        all_ids["token_type_ids"][-1, -1] = np.iinfo(id_type).min
        all_ids["position_ids"][-2] = np.iinfo(id_type).max
        want["counts"][4] = 2 | 4
    outputs = {name: np.empty_like(array) for name, array in want.items()}
    number, storage = _MASKS[mask_name]
    runs.run(
        "unpad_input",
        architecture,
        {"attention_mask": mask.astype(storage), **{name: array.astype(id_type) for name, array in all_ids.items()}},
        outputs,
        num_words=99,
        num_token_types=2,
        num_positions=padded_len,
        pad_token_id=_PAD_TOKEN,
        has_pad_token=True,
        batch_size=batch_size,
        padded_len=padded_len,
        mask_dtype=number,
        mask_reading=0,
        model_dtype=0,
        id_dtype=id_dtype,
    )
    for name, array in outputs.items():
        assert array.tolist() == want[name].tolist(), name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("element", ELEMENTS, ids=str)
@pytest.mark.parametrize("hidden_size", [768, 5])
def test_pad_input(runs: DeviceRuns, architecture: str, element: Element, hidden_size: int) -> None:
    mask, ids = _batch(3, 6)
    layout = _layout(mask, ids)
    num_tokens = int(layout["counts"][0])
    x = normal(element, 1, (num_tokens, hidden_size))
    out = element.empty((mask.size, hidden_size))
    runs.run(
        "pad_input",
        architecture,
        {"x": x, "indices": layout["indices"], "num_tokens": layout["cu_seqlens"][-1:]},
        {"out": out},
        num_rows=num_tokens,
        num_positions=mask.size,
        hidden_size=hidden_size,
        dtype=element.number,
    )
    want = np.zeros_like(out)
    want[layout["indices"][:num_tokens]] = x
    assert out.tobytes() == want.tobytes()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("element", ELEMENTS, ids=str)
@pytest.mark.parametrize("hidden_size", [768, 5])
def test_gather_first(runs: DeviceRuns, architecture: str, element: Element, hidden_size: int) -> None:
    x, first_rows = normal(element, 1, (9, hidden_size)), np.array([0, 4, 8, 2])
    out = element.empty((first_rows.size, hidden_size))
    runs.run(
        "gather_first",
        architecture,
        {"x": x, "first_rows": first_rows},
        {"out": out},
        num_tokens=len(x),
        batch_size=first_rows.size,
        hidden_size=hidden_size,
        dtype=element.number,
    )
    assert out.tobytes() == x[first_rows].tobytes()
