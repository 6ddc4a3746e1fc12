"""Whether ``bertfast._C`` is built, from what and for what: decided, and printed, before anything is compiled."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cuda_build.architectures import Architecture, choose_architectures
from cuda_build.toolchain import CannotBuild, Toolchain, find_toolchain, has_cuda_build_of_torch
from cuda_build.variables import cuda_mode, max_jobs

ROOT = Path(__file__).resolve().parents[1]
CSRC = ROOT / "csrc"
# The bindings that only the emulated ops have: they are a library of their own.
_EMULATED_ONLY = {"launch_emulated.cpp", "schema.cpp"}


@dataclass(frozen=True)
class Plan:
    """A build that can be done. ``optional``: bertfast is installed without the extension should it fail."""

    tools: Toolchain
    architectures: list[Architecture]
    jobs: int
    optional: bool
    version: str
    kernels: list[Path]
    bindings: list[Path]

    @property
    def sources(self) -> list[Path]:
        """What is compiled."""
        return [*self.kernels, *self.bindings]

    @property
    def dependencies(self) -> list[Path]:
        """What else, if it changes, makes the binary old."""
        headers = [path for path in sorted(CSRC.rglob("*")) if path.suffix in {".h", ".cuh"}]
        return [*headers, *sorted(Path(__file__).parent.glob("*.py"))]

    @property
    def codes(self) -> list[str]:
        """What the binary will hold: machine code (``sm_90``) and PTX (``compute_120``)."""
        return [code for architecture in self.architectures for code in architecture.codes]

    def __str__(self) -> str:
        tools = self.tools
        return "\n".join(
            [
                "bertfast._C, the CUDA kernels: will be built",
                f"  nvcc           {tools.nvcc.version}, {tools.nvcc.path}",
                f"  host compiler  {tools.host_version}",
                f"  torch          {tools.torch.version}, {tools.torch.path}",
                f"  pybind11       {tools.pybind11.version}, {tools.pybind11.include}",
                f"  architectures  {' '.join(self.codes)}",
                f"  sources        {len(self.kernels)} of kernels, {len(self.bindings)} of bindings",
                f"  jobs           {self.jobs}",
            ]
        )


def make_plan(environment: Mapping[str, str]) -> Plan | None:
    """The plan, or None where bertfast is built without the extension; what was decided is printed.

    Raises BadVariable for a variable of the environment that means nothing, and CannotBuild where
    ``BERTFAST_CUDA=1`` asks for what is not possible.
    """
    mode, jobs = cuda_mode(environment), max_jobs(environment)
    try:
        tools = _find_useful_tools(mode, environment)
    except CannotBuild as error:
        if mode == "1":
            raise
        print(f"bertfast._C, the CUDA kernels: will not be built: {error}", flush=True)
        return None
    plan = Plan(
        tools=tools,
        architectures=choose_architectures(environment, tools.nvcc.architectures),
        jobs=jobs,
        optional=mode == "auto",
        version=_version(),
        kernels=sorted((CSRC / "kernels").glob("*.cu")),
        bindings=sorted(p for p in (CSRC / "bindings").glob("*.cpp") if p.name not in _EMULATED_ONLY),
    )
    print(plan, flush=True)
    return plan


def _find_useful_tools(mode: str, environment: Mapping[str, str]) -> Toolchain:
    if mode == "0":
        raise CannotBuild("BERTFAST_CUDA=0")
    if mode == "auto" and not has_cuda_build_of_torch():
        raise CannotBuild(
            "no CUDA build of torch here that could use it. pip sees the one that is installed with "
            "--no-build-isolation only; BERTFAST_CUDA=1 builds for any torch"
        )
    return find_toolchain(environment)


def _version() -> str:
    text = (ROOT / "bertfast" / "_version.py").read_text()
    return str(re.findall(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)[0])
