"""The CPU kernels under sanitizers, in a program of their own: how it is built, and mistakes that it has to notice."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from planted import with_mistake

from native_build.cpu.flags import instruction_flags
from native_build.tools import CannotBuild, Compiler, find_compiler, run

ROOT = Path(__file__).resolve().parents[2]
_CSRC = ROOT / "csrc"
_KEPT = ROOT / "build" / "cpu-sanitized"
# As slow as a test can bear, for exact lines; and the first mistake ends the program.
_FLAGS = ("-std=c++17", "-O1", "-g1", "-fno-omit-frame-pointer", "-ffp-contract=fast", "-fno-sanitize-recover=all")
# They bind kernels to Python.
_BINDINGS = ("module.cpp", "bind_dense.cpp")
_CHECKED = "tests/cpu/checked_intrinsics.h"


@dataclass(frozen=True)
class Mutant:
    """A mistake that leaves results right, or that only memory shows."""

    name: str
    sanitizer: str
    file: str  # of csrc/cpu, no header: only it is compiled anew
    replacements: tuple[tuple[str, str], ...]
    complaint: str

    def text(self) -> str:
        """The file with the mistake. Raises ValueError as `planted.with_mistake` does."""
        return with_mistake(_CSRC / "cpu" / self.file, self.replacements)


MUTANTS = (
    Mutant(
        "one scratch block for all threads",
        "thread",
        "scratch.cpp",
        (("thread_local Block", "Block"),),
        "ThreadSanitizer: ",
    ),
    Mutant(
        "all threads compute all tasks",
        "thread",
        "varlen_attention.cpp",
        (("int64_t i = next.fetch_add(portion)", "int64_t i = 0"), ("i = next.fetch_add(portion)", "i += portion")),
        "ThreadSanitizer: data race",
    ),
    Mutant(
        "every part that fails writes the error",
        "thread",
        "parallel.cpp",
        (("if (!guarded.failed.exchange(true)) ", ""),),
        "ThreadSanitizer: data race",
    ),
    Mutant(
        "half of the scratch memory",
        "address,undefined",
        "varlen_attention.cpp",
        (("thread_block(bytes)", "thread_block(bytes / 2)"),),
        "heap-buffer-overflow",
    ),
    Mutant(
        "scratch memory beside a cache line",
        "address,undefined",
        "varlen_attention.cpp",
        (("thread_block(bytes)", "thread_block(bytes + 64) + 4"),),
        "misaligned address",
    ),
    Mutant(
        "a row too many is normalized",
        "address,undefined",
        "residual_layer_norm.cpp",
        (("parallel_for(0, params.num_tokens,", "parallel_for(0, params.num_tokens + 1,"),),
        "heap-buffer-overflow",
    ),
)


def build(sanitizer: str, mutant: Mutant | None = None) -> Path:
    """The program. sanitizer: as ``-fsanitize`` names it. Raises CannotBuild without a compiler that has it."""
    compiler = find_compiler(os.environ)
    sources = [path for path in sorted((_CSRC / "cpu").glob("*.cpp")) if path.name not in _BINDINGS]
    sources += sorted((_CSRC / "tests" / "cpu").glob("*.cpp"))
    folder = _KEPT / sanitizer.partition(",")[0]
    folder.mkdir(parents=True, exist_ok=True)
    _check_sanitizer(compiler, sanitizer, folder)
    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(lambda source: _compiled(compiler, sanitizer, source, folder, mutant), sources))
    program = folder / ("sanitized" if mutant is None else f"mutant-{MUTANTS.index(mutant)}")
    run(*compiler.command, f"-fsanitize={sanitizer}", "-o", program, *objects, "-lpthread")
    return program


def _check_sanitizer(compiler: Compiler, sanitizer: str, folder: Path) -> None:
    source = folder / "empty.cpp"
    source.write_text("int main() {}\n")
    try:
        run(*compiler.command, f"-fsanitize={sanitizer}", source, "-o", source.with_suffix(""))
    except CannotBuild as error:
        raise CannotBuild(f"needs a compiler that has -fsanitize={sanitizer}: {error}") from error


def _compiled(compiler: Compiler, sanitizer: str, source: Path, folder: Path, mutant: Mutant | None) -> Path:
    """The object of a source, from an earlier build if neither it, nor a header, nor a flag has changed."""
    is_mutant = mutant is not None and mutant.file == source.name
    text = mutant.text() if mutant is not None and is_mutant else source.read_text()
    flags = [*_FLAGS, *instruction_flags(source), f"-fsanitize={sanitizer}", f"-ffile-prefix-map={_CSRC}/="]
    name = f"{source.parent.name}-{source.stem}" + (f"-{MUTANTS.index(mutant)}" if mutant and is_mutant else "")
    key = hashlib.sha256(f"{compiler.version} {flags} {text} {_headers()}".encode()).hexdigest()[:12]
    made = folder / f"{name}-{key}.o"
    if not made.exists():
        for old in folder.glob(f"{name}-????????????.o"):
            old.unlink(missing_ok=True)
        unfinished, written = made.with_suffix(f".{os.getpid()}.o"), made.with_suffix(f".{os.getpid()}.cpp")
        # A name of its own: reports tell the line of the file that it stands for.
        written.write_text(f'#line 1 "{source.relative_to(_CSRC)}"\n{text}')
        includes = ("-I", _CSRC, "-include", _CSRC / _CHECKED)
        run(*compiler.command, *flags, *includes, "-c", written, "-o", unfinished)
        written.unlink()
        unfinished.rename(made)
    return made


def _headers() -> str:
    folders = (_CSRC / "cpu", _CSRC / "tests" / "cpu", _CSRC / "kernels")
    return "".join(path.read_text() for folder in folders for path in sorted(folder.glob("*.h")))
