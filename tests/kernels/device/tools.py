"""Where the programs are that read and write device code. None of them needs a GPU."""

from __future__ import annotations

import functools
import importlib.util
import re
import shutil
import subprocess
from pathlib import Path


class MissingTool(Exception):
    """A program that is not here; the message says where it comes from."""


def run(*command: str | Path) -> str:
    """What a program prints. Raises RuntimeError, with all it printed, if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} exited with {done.returncode}:\n{done.stdout}")
    return done.stdout


@functools.cache
def nvcc() -> Path:
    """The CUDA compiler. It preprocesses with g++, even where only device code is wanted."""
    for tool in ("nvcc", "g++"):
        if shutil.which(tool) is None:
            raise MissingTool(f"needs {tool} on the PATH")
    return Path(str(shutil.which("nvcc")))


@functools.cache
def nvdisasm() -> Path:
    """The disassembler: the toolkit's, or else that of the package nvidia-cuda-nvdisasm."""
    on_path = shutil.which("nvdisasm")
    if on_path is not None:
        return Path(on_path)
    package = importlib.util.find_spec("nvidia")
    for directory in (package.submodule_search_locations or ()) if package else ():
        for candidate in sorted(Path(directory).glob("cu*/bin/nvdisasm"), reverse=True):
            return candidate
    raise MissingTool("needs nvdisasm: the CUDA toolkit's, or pip install nvidia-cuda-nvdisasm")


@functools.cache
def nvcc_version() -> str:
    """For example ``"13.0.88"``."""
    version = re.search(r"release [\d.]+, V([\d.]+)", run(nvcc(), "--version"))
    if version is None:
        raise RuntimeError("nvcc --version names no version")
    return version[1]


def demangle(names: list[str]) -> list[str]:
    """Names of kernel instances as the source writes them: ``bias_gelu_kernel<float, (Activation)0, 4>``."""
    if shutil.which("c++filt") is None:
        raise MissingTool("needs c++filt, of binutils, on the PATH")
    done = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True)
    return [_shorten(name) for name in done.stdout.split("\n")[: len(names)]]


def _shorten(name: str) -> str:
    """Without the return type, the parameters, and the project's namespace; the emulation's types by CUDA's names."""
    name = name.replace("bertfast::emulation::BFloat16", "__nv_bfloat16").replace(
        "bertfast::emulation::Float16", "__half"
    )
    name = name.removeprefix("void ").replace("bertfast::", "").replace("(anonymous namespace)::", "")
    head, template, rest = name.partition("<")
    if not template:
        return head.partition("(")[0]
    depth = 1
    for i, character in enumerate(rest):
        depth += (character == "<") - (character == ">")
        if depth == 0:
            return head + template + rest[: i + 1]
    return name
