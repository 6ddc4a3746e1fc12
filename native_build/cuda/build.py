"""How ``bertfast._C`` is built: nvcc for kernels, the host compiler for bindings, one link."""

from __future__ import annotations

import shlex
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from native_build.cuda.architectures import Architecture
from native_build.cuda.resources import kernel_table_source, parse_report
from native_build.cuda.toolchain import OLDEST_TORCH, Toolchain
from native_build.plan import CSRC, build_files, constants_source
from native_build.tools import run

# The one that knows Python, and nothing of torch: pybind11, as some versions of torch bring it, refuses to be
# compiled where TORCH_TARGET_VERSION is defined.
_MODULE = "module.cpp"
# From here on nvcc hides, unless told otherwise, the host's functions for kernels that are templates: the table of
# kernels refers to them.
_NVCC_WITH_STATIC_STUBS = (12, 8)
_OPS_DEFINITIONS = (
    "-DTORCH_TARGET_VERSION=0x{:02x}{:02x}000000000000".format(*OLDEST_TORCH),
    "-DBERTFAST_LIBRARY=bertfast",
    "-DBERTFAST_DISPATCH_KEY=CUDA",
)


@dataclass(frozen=True)
class CudaPlan:
    """See `Plan`."""

    name = "bertfast._C"

    tools: Toolchain
    architectures: list[Architecture]
    jobs: int
    optional: bool
    version: str
    kernels: list[Path]
    bindings: list[Path]

    @property
    def sources(self) -> list[Path]:
        return [*self.kernels, *self.bindings]

    @property
    def dependencies(self) -> list[Path]:
        headers = [path for name in ("kernels", "bindings") for path in (CSRC / name).glob("*.*h")]
        return [*sorted(headers), *build_files("cuda")]

    @property
    def codes(self) -> list[str]:
        """What the binary will hold: machine code (``sm_90``) and PTX (``compute_120``)."""
        return [code for architecture in self.architectures for code in architecture.codes]

    def __str__(self) -> str:
        tools = self.tools
        return "\n".join(
            [
                f"  nvcc           {tools.nvcc.version}, {tools.nvcc.path}",
                f"  host compiler  {tools.host.version}",
                f"  torch          {tools.torch.version}, {tools.torch.path}",
                f"  pybind11       {tools.pybind11.version}, {tools.pybind11.include}",
                f"  architectures  {' '.join(self.codes)}",
                f"  sources        {len(self.kernels)} of kernels, {len(self.bindings)} of bindings",
                f"  jobs           {self.jobs}",
            ]
        )

    def config_source(self) -> str:
        tools = self.tools
        return constants_source(
            f"By {shlex.join(tools.host.command)}",
            "bindings",
            self.version,
            tools.nvcc.version,
            tools.torch.version,
            "{}.{}".format(*OLDEST_TORCH),
            tools.host.version,
            " ".join(self.codes),
        )

    def build(self, config: Path, directory: Path, binary: Path) -> None:
        _build(self, config, directory, binary)


def _build(plan: CudaPlan, config: Path, directory: Path, binary: Path) -> None:
    def compile_one(source: Path) -> str:
        print(f"compiling {source.name}", flush=True)
        compile_it = _compile_kernels if source.suffix == ".cu" else _compile
        return compile_it(plan, source, directory)

    # The longest first. As a rule that is the largest; kernels of attention have many instances in few lines.
    order = sorted(plan.kernels, key=lambda path: ("attention" in path.name, path.stat().st_size), reverse=True)
    sources = [*order, *plan.bindings, config]
    with ThreadPoolExecutor(plan.jobs) as pool:
        reports = list(pool.map(compile_one, sources))
    table = directory / "kernel_table.cpp"
    table.write_text(kernel_table_source(row for report in reports[: len(order)] for row in parse_report(report)))
    _compile(plan, table, directory)
    _link(plan, [directory / f"{source.name}.o" for source in [*sources, table]], binary)


def _compile_kernels(plan: CudaPlan, source: Path, directory: Path) -> str:
    """Returns what ptxas reports of them. No header of torch is read here: it would take minutes."""
    tools = plan.tools
    visible = ["-static-global-template-stub=false"] if tools.nvcc.release >= _NVCC_WITH_STATIC_STUBS else []
    return run(
        tools.nvcc.path,
        *("-ccbin", tools.host.command[0]),
        *("-std=c++17", "-O3", "-DNDEBUG", "-Xptxas=-v", "-Xcompiler=-fPIC,-fvisibility=hidden", *visible),
        *(architecture.option for architecture in plan.architectures),
        *("-I", CSRC, "-c", source, "-o", directory / f"{source.name}.o"),
    )


def _compile(plan: CudaPlan, source: Path, directory: Path) -> str:
    tools = plan.tools
    includes = [tools.torch.include, tools.pybind11.include, tools.nvcc.home / "include", tools.python_headers]
    return run(
        *tools.host.command,
        # torch's stable types are hidden, and what holds one may not be less so.
        *("-std=c++17", "-O2", "-DNDEBUG", "-fPIC", "-fvisibility=hidden"),
        *(_OPS_DEFINITIONS if source.name != _MODULE else ()),
        # torch names its headers in errors: as they are called, not where they were.
        *(f"-ffile-prefix-map={include}/=" for include in includes),
        f"-ffile-prefix-map={CSRC}/=",
        *("-I", CSRC),
        *(option for include in includes for option in ("-isystem", include)),
        *("-c", source, "-o", directory / f"{source.name}.o"),
    )


def _link(plan: CudaPlan, objects: list[Path], binary: Path) -> None:
    """By nvcc, which knows where its static runtime is: the binary then loads where no CUDA is installed.

    Only libtorch_cpu is named: every torch has it. What else is needed is looked up when it is (launch_device.cpp).
    """
    tools = plan.tools
    run(
        tools.nvcc.path,
        *("-ccbin", tools.host.command[0], "-shared", "-cudart=static", "--no-device-link"),
        *("-o", binary),
        *objects,
        *("-L", tools.torch.path / "lib", "-ltorch_cpu"),
        # Nothing but the module's own entry is seen from outside.
        *("-Xlinker=--exclude-libs,ALL", "-Xlinker=--strip-all"),
        f"-Xlinker=-rpath-link,{tools.torch.path / 'lib'}",
    )
