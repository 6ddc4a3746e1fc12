"""BERTFAST_CUDA, BERTFAST_CPU, MAX_JOBS and TORCH_CUDA_ARCH_LIST: what they mean, and what is refused by name."""

from __future__ import annotations

import os

import pytest

from native_build.cuda.architectures import Architecture, choose_architectures
from native_build.variables import BadVariable, max_jobs, mode

_KNOWN = ("75", "80", "86", "87", "89", "90", "100", "103", "120", "121")


@pytest.mark.parametrize(("value", "expected"), [("", "auto"), ("auto", "auto"), ("0", "0"), ("1", "1")])
def test_mode(value, expected):
    assert mode("BERTFAST_CPU", {"BERTFAST_CPU": value, "BERTFAST_CUDA": "1"}) == expected


def test_defaults():
    assert mode("BERTFAST_CUDA", {}) == "auto"
    assert max_jobs({}) == len(os.sched_getaffinity(0))


def test_max_jobs():
    assert max_jobs({"MAX_JOBS": "3"}) == 3


@pytest.mark.parametrize("value", ["yes", "2", "ON", " 1"])
def test_wrong_mode(value):
    with pytest.raises(BadVariable, match=rf"^BERTFAST_CUDA='{value}': expected auto, 0 or 1$"):
        mode("BERTFAST_CUDA", {"BERTFAST_CUDA": value})


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "²"])
def test_wrong_jobs(value):
    with pytest.raises(BadVariable, match=rf"^MAX_JOBS='{value}': expected a whole number above 0$"):
        max_jobs({"MAX_JOBS": value})


def _codes(text, known=_KNOWN):
    return [c for a in choose_architectures({"TORCH_CUDA_ARCH_LIST": text}, known) for c in a.codes]


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("8.0", ["sm_80"]),
        ("8.0;9.0+PTX", ["sm_80", "sm_90", "compute_90"]),
        ("8.0 9.0", ["sm_80", "sm_90"]),
        (" 9.0a ; 8.6;", ["sm_90a", "sm_86"]),
        ("10.0f 12.0a+PTX", ["sm_100f", "sm_120a", "compute_120a"]),
        ("8.0+PTX;8.0", ["sm_80", "compute_80"]),
        ("8.0;8.0+PTX", ["sm_80", "compute_80"]),
        ("9.0 9.0a", ["sm_90", "sm_90a"]),
    ],
)
def test_architectures(text, codes):
    assert _codes(text) == codes


@pytest.mark.parametrize("text", ["", "  "])
def test_default_architectures(text):
    all_of_them = ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120", "compute_120"]
    assert _codes(text) == all_of_them
    assert _codes(text, known=("75", "80", "86", "87", "89", "90")) == [*all_of_them[:5], "compute_90"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Ampere", "without names; not 'Ampere'"),
        ("native", "without names; not 'native'"),
        ("8.0;All", "without names; not 'All'"),
        ("80", "without names; not '80'"),
        ("8.0,9.0", "without names; not '8.0,9.0'"),
        ("9.0b", "without names; not '9.0b'"),
        ("9.0+ptx", r"without names; not '9.0\+ptx'"),
        (";", "without names; not ''"),
        ("7.0", "7.5 or later, which the kernels need; not '7.0'"),
        ("8.0 13.0", "what this nvcc knows: 7.5, .*12.1; not '13.0'"),
        ("8.0a", "no 'a' behind 8.0"),
        ("9.0f", "no 'f' behind 9.0"),
    ],
)
def test_wrong_architectures(text, why):
    with pytest.raises(BadVariable, match=rf"^TORCH_CUDA_ARCH_LIST='.*': expected .*{why}$"):
        _codes(text)


def test_an_nvcc_that_knows_none_of_the_default():
    with pytest.raises(BadVariable, match=r"^TORCH_CUDA_ARCH_LIST='': expected a list of what nvcc knows: 8.7$"):
        _codes("", known=("87",))


def test_options():
    assert Architecture("90a").option == "-gencode=arch=compute_90a,code=[sm_90a]"
    assert Architecture("120", with_ptx=True).option == "-gencode=arch=compute_120,code=[sm_120,compute_120]"
