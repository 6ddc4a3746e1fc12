"""Whether ``bertfast._C`` can be built, from what and for which architectures."""

from __future__ import annotations

from collections.abc import Mapping

from native_build.cuda.architectures import choose_architectures
from native_build.cuda.build import CudaPlan
from native_build.cuda.toolchain import find_toolchain, has_cuda_build_of_torch
from native_build.plan import CSRC, version_of_bertfast
from native_build.tools import CannotBuild
from native_build.variables import max_jobs

# The bindings that only the emulated ops have: they are a library of their own.
_EMULATED_ONLY = {"launch_emulated.cpp", "schema.cpp"}


def make_cuda_plan(mode: str, environment: Mapping[str, str]) -> CudaPlan:
    """mode: ``BERTFAST_CUDA``. Raises CannotBuild, with ``auto`` also where nobody could use the extension."""
    if mode == "auto" and not has_cuda_build_of_torch():
        raise CannotBuild(
            "no CUDA build of torch here that could use it. pip sees the one that is installed with "
            "--no-build-isolation only; BERTFAST_CUDA=1 builds for any torch"
        )
    tools = find_toolchain(environment)
    return CudaPlan(
        tools=tools,
        architectures=choose_architectures(environment, tools.nvcc.architectures),
        jobs=max_jobs(environment),
        optional=mode == "auto",
        version=version_of_bertfast(),
        kernels=sorted((CSRC / "kernels").glob("*.cu")),
        bindings=sorted(p for p in (CSRC / "bindings").glob("*.cpp") if p.name not in _EMULATED_ONLY),
    )
