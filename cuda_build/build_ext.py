"""The setuptools command that carries a plan out: nvcc for kernels, the host compiler for bindings, one link."""

from __future__ import annotations

import shlex
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError
from setuptools.modified import newer_group

from cuda_build.plan import CSRC, ROOT, Plan
from cuda_build.resources import kernel_table_source, parse_report
from cuda_build.toolchain import OLDEST_TORCH, CannotBuild, run

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


class CudaExtension(Extension):
    """``bertfast._C`` as setuptools sees it."""

    def __init__(self, plan: Plan) -> None:
        # Relative, or a source distribution would hold the paths of this machine.
        super().__init__("bertfast._C", [str(path.relative_to(ROOT)) for path in plan.sources], optional=plan.optional)
        self.plan = plan


class BuildExtension(build_ext):
    """Builds a `CudaExtension`, unless the binary is newer than all it is made from."""

    def build_extension(self, ext: CudaExtension) -> None:
        """Raises CompileError, which setuptools takes for a warning where the extension is optional."""
        binary = Path(self.get_ext_fullpath(ext.name))
        directory = Path(self.build_temp).absolute()
        directory.mkdir(parents=True, exist_ok=True)
        # Changed variables of the environment show in this file.
        config = directory / "build_config.cpp"
        changed = _write_if_changed(config, _build_config_source(ext.plan))
        inputs = [str(path) for path in [*ext.plan.sources, *ext.plan.dependencies, config]]
        if not (self.force or changed or newer_group(inputs, str(binary))):
            print(f"{binary} is up to date", flush=True)
            return
        binary.parent.mkdir(parents=True, exist_ok=True)
        try:
            _build(ext.plan, directory, binary)
        except (CannotBuild, ValueError) as error:
            raise CompileError(f"bertfast._C could not be built: {error}") from error
        print(f"built {binary}", flush=True)


def _build(plan: Plan, directory: Path, binary: Path) -> None:
    def compile_one(source: Path) -> str:
        print(f"compiling {source.name}", flush=True)
        return (
            _compile_kernels(plan, source, directory) if source.suffix == ".cu" else _compile(plan, source, directory)
        )

    # The longest first. As a rule that is the largest; kernels of attention have many instances in few lines.
    order = sorted(plan.kernels, key=lambda path: ("attention" in path.name, path.stat().st_size), reverse=True)
    sources = [*order, *plan.bindings, directory / "build_config.cpp"]
    with ThreadPoolExecutor(plan.jobs) as pool:
        reports = list(pool.map(compile_one, sources))
    table = directory / "kernel_table.cpp"
    table.write_text(kernel_table_source(row for report in reports[: len(order)] for row in parse_report(report)))
    _compile(plan, table, directory)
    _link(plan, [directory / f"{source.name}.o" for source in [*sources, table]], binary)


def _compile_kernels(plan: Plan, source: Path, directory: Path) -> str:
    """Returns what ptxas reports of them. No header of torch is read here: it would take minutes."""
    tools = plan.tools
    visible = ["-static-global-template-stub=false"] if tools.nvcc.release >= _NVCC_WITH_STATIC_STUBS else []
    return run(
        tools.nvcc.path,
        *("-ccbin", tools.host_compiler[0]),
        *("-std=c++17", "-O3", "-DNDEBUG", "-Xptxas=-v", "-Xcompiler=-fPIC,-fvisibility=hidden", *visible),
        *(architecture.option for architecture in plan.architectures),
        *("-I", CSRC, "-c", source, "-o", directory / f"{source.name}.o"),
    )


def _compile(plan: Plan, source: Path, directory: Path) -> str:
    tools = plan.tools
    python = sysconfig.get_paths()["include"]
    includes = [tools.torch.include, tools.pybind11.include, tools.nvcc.home / "include", Path(python)]
    return run(
        *tools.host_compiler,
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


def _link(plan: Plan, objects: list[Path], binary: Path) -> None:
    """By nvcc, which knows where its static runtime is: the binary then loads where no CUDA is installed.

    Only libtorch_cpu is named: every torch has it. What else is needed is looked up when it is (launch_device.cpp).
    """
    tools = plan.tools
    run(
        tools.nvcc.path,
        *("-ccbin", tools.host_compiler[0], "-shared", "-cudart=static", "--no-device-link"),
        *("-o", binary, *objects, "-L", tools.torch.path / "lib", "-ltorch_cpu"),
        # Nothing but the module's own entry is seen from outside.
        *("-Xlinker=--exclude-libs,ALL", "-Xlinker=--strip-all"),
        f"-Xlinker=-rpath-link,{tools.torch.path / 'lib'}",
    )


def _build_config_source(plan: Plan) -> str:
    tools = plan.tools
    return "\n".join(
        [
            f"// By {shlex.join(tools.host_compiler)}",
            '#include "bindings/build_config.h"',
            "",
            "namespace bertfast::bindings {",
            "",
            "const BuildConfig kBuildConfig = {",
            *(
                f"    {_c_string(text)},"
                for text in (
                    plan.version,
                    tools.nvcc.version,
                    tools.torch.version,
                    "{}.{}".format(*OLDEST_TORCH),
                    tools.host_version,
                    " ".join(plan.codes),
                )
            ),
            "};",
            "",
            "}  // namespace bertfast::bindings",
            "",
        ]
    )


def _c_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _write_if_changed(path: Path, text: str) -> bool:
    if path.exists() and path.read_text() == text:
        return False
    path.write_text(text)
    return True
