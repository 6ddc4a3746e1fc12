"""Whether ``bertfast._cpu`` can be built, and how: any C++ compiler, no header and no library of torch."""

from __future__ import annotations

import platform
import runpy
import shlex
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from native_build.cpu.flags import BASE, BY_SUFFIX, OPTIMIZATION, instruction_flags
from native_build.plan import CSRC, ROOT, build_files, constants_source, version_of_bertfast
from native_build.tools import (
    CannotBuild,
    Compiler,
    Package,
    find_compiler,
    find_pybind11,
    find_python_headers,
    run,
)
from native_build.variables import max_jobs

_FOLDER = CSRC / "cpu"
# Run, not imported: the build has no torch.
_SOURCES = runpy.run_path(str(ROOT / "bertfast" / "cpu_sources.py"))


@dataclass(frozen=True)
class CpuPlan:
    """See `Plan`."""

    name = "bertfast._cpu"

    compiler: Compiler
    pybind11: Package
    python_headers: Path
    jobs: int
    optional: bool
    version: str
    sources: list[Path]

    @property
    def dependencies(self) -> list[Path]:
        shared = [CSRC / name for name in _SOURCES["SHARED_HEADERS"]]
        return [*sorted(_FOLDER.glob("*.h")), *shared, *build_files("cpu")]

    def __str__(self) -> str:
        return "\n".join(
            [
                f"  compiler  {self.compiler.version}",
                f"  pybind11  {self.pybind11.version}, {self.pybind11.include}",
                f"  sources   {len(self.sources)}",
                f"  jobs      {self.jobs}",
            ]
        )

    def config_source(self) -> str:
        command = f"By {shlex.join(self.compiler.command)}"
        sources: str = _SOURCES["fingerprint"](CSRC)
        return constants_source(command, "cpu", self.version, self.compiler.version, self.pybind11.version, sources)

    def build(self, config: Path, directory: Path, binary: Path) -> None:
        # The longest first: as a rule the largest.
        sources = sorted([*self.sources, config], key=lambda path: path.stat().st_size, reverse=True)
        with ThreadPoolExecutor(self.jobs) as pool:
            list(pool.map(lambda source: self._compile(source, directory), sources))
        objects = sorted(directory / f"{source.name}.o" for source in sources)
        # Nothing but the module's own entry is seen from outside; else what the standard library's templates become
        # here, with AVX-512, would be.
        exports = directory / "exports.map"
        exports.write_text("{ global: PyInit__cpu; local: *; };\n")
        run(*self.compiler.command, "-shared", f"-Wl,--version-script={exports},--strip-all", "-o", binary, *objects)

    def _compile(self, source: Path, directory: Path) -> None:
        print(f"compiling {source.name}", flush=True)
        run(
            *self.compiler.command,
            *OPTIMIZATION,
            *instruction_flags(source),
            f"-ffile-prefix-map={CSRC}/=",
            *(f"-ffile-prefix-map={path}/=" for path in (self.pybind11.include, self.python_headers)),
            *("-I", CSRC, "-isystem", self.pybind11.include, "-isystem", self.python_headers),
            *("-c", source, "-o", directory / f"{source.name}.o"),
        )


def make_cpu_plan(mode: str, environment: Mapping[str, str]) -> CpuPlan:
    """mode: ``BERTFAST_CPU``. Raises CannotBuild for the first thing that is missing."""
    system, machine = sys.platform, platform.machine()
    if not (system.startswith("linux") and machine in ("x86_64", "AMD64") and sys.maxsize > 2**32):
        raise CannotBuild(f"its kernels are for 64-bit Linux on x86-64, this is {system} on {machine}")
    compiler = find_compiler(environment)
    _compile_nothing(compiler)
    return CpuPlan(
        compiler=compiler,
        pybind11=find_pybind11("pybind11", "torch"),
        python_headers=find_python_headers(),
        jobs=max_jobs(environment),
        optional=mode == "auto",
        version=version_of_bertfast(),
        sources=sorted(_FOLDER.glob("*.cpp")),
    )


def _compile_nothing(compiler: Compiler) -> None:
    """Some compilers are too old for an instruction set, and say so only when they are asked for it."""
    flags = [*BASE, *(flag for flags in BY_SUFFIX.values() for flag in flags)]
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory) / "empty.cpp"
        source.write_text("#include <immintrin.h>\n#include <cstdint>\n")
        try:
            run(*compiler.command, *OPTIMIZATION, *flags, "-c", source, "-o", source.with_suffix(".o"))
        except CannotBuild as error:
            raise CannotBuild(
                f"{compiler.version} does not compile C++17 for AVX-512 and AMX. Install g++ 11, clang 12 or later, "
                f"and name it by CXX. It said:\n{error}"
            ) from error
