"""Reports that are pasted in public name no user and no folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from bertfast.environment.privacy import public
from bertfast.environment.variables import relevant_variables


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/opt/work/jane/x/_C.so does not load", ".../_C.so does not load"),
        ("/a/one.so:/b/two.so", ".../one.so:.../two.so"),
        ("dir=/srv/jane/", "dir=.../"),
        ("'/home/jane'", "'...'"),
        ("at /Users/jane, then", "at ..., then"),
        (r"in C:\Users\jane\model.bin: no", "in .../model.bin: no"),
        ("~jane/models/x and ~/y", ".../x and .../y"),
        ("file:///srv/jane/x.py", ".../x.py"),
        ("from /known place/deep/x", "from .../x"),
        ("see https://pytorch.org/get-started and tokens/s, 1 / 2", None),
        ("TORCH_CUDA_ARCH_LIST=9.0 pip install . (docs/building.md)", None),
        ("org/model", None),
    ],
)
def test_folders_are_left_out(text, expected):
    assert public(text, [Path("/known place")]) == (text if expected is None else expected)


def test_this_process_s_own_folders_are_known(tmp_path, monkeypatch):
    folder = tmp_path / "jane s folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert public(f"read {folder}/x.txt") == "read .../x.txt"
    monkeypatch.setenv("HOME", "/nowhere/jane doe")
    assert public("read /nowhere/jane doe/x.txt") == "read .../x.txt"


def test_only_variables_that_matter_are_told():
    found = relevant_variables(
        {
            "OMP_NUM_THREADS": "2",
            "BERTFAST_CPU_LINEAR": "blas",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "CUDA_VISIBLE_DEVICES": "0,1",
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "LD_PRELOAD": "/home/jane/lib/libjemalloc.so",
            "CUDA_HOME": "/home/jane/cuda",
            "HF_TOKEN": "hf_x",
            "TORCH_HUB_TOKEN": "x",
            "BERTFAST_SECRET": "x",
            "HOME": "/home/jane",
            "USER": "jane",
            "PATH": "/bin",
        }
    )
    assert found == {
        "BERTFAST_CPU_LINEAR": "blas",
        "CUDA_HOME": ".../cuda",
        "CUDA_VISIBLE_DEVICES": "0,1",
        "HF_HUB_OFFLINE": "1",
        "LD_PRELOAD": ".../libjemalloc.so",
        "OMP_NUM_THREADS": "2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "TOKENIZERS_PARALLELISM": "false",
    }
