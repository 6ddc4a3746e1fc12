"""Builds of the emulated kernels, kept in ``build/``: inside of each only what has changed is compiled again."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from kernels.device.tools import MissingTool, run

ROOT = Path(__file__).resolve().parents[2]
_OPTIMIZE = "-DCMAKE_CXX_FLAGS_RELEASE=-O1"


@functools.cache
def build_on_host(name: str, target: str, *options: str, key: str = "") -> Path:
    """The directory of an up-to-date build, one for each name, compiler, set of options and key."""
    missing = [tool for tool in ("cmake", "g++") if shutil.which(tool) is None]
    if missing:
        raise MissingTool(f"needs {' and '.join(missing)} on the PATH")
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    configure = ["-DBERTFAST_DEVICE_KERNELS=OFF", "-DCMAKE_CXX_COMPILER=g++", *generator, *options]
    identity = f"{ROOT} {configure} {key} {run('g++', '--version')}"
    directory = ROOT / "build" / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run("cmake", "-S", ROOT, "-B", directory, *configure)
        # Half of the processors: others may be in use.
        jobs = max(2, len(os.sched_getaffinity(0)) // 2)
        run("cmake", "--build", directory, "--target", target, "--parallel", str(jobs))
    return directory


def build_emulated(target: str = "all") -> Path:
    """The emulated kernels, with what is linked to them: their C++ tests, the launch recorder, torch's ops.

    One tree, so that each kernel is compiled once for all readers. The ops are part of it where torch is; nothing
    else in it knows torch.
    """
    torch = importlib.util.find_spec("torch")
    if torch is None or torch.origin is None:
        return build_on_host("emulated", target, _OPTIMIZE)
    where = f"-DBERTFAST_TORCH={Path(torch.origin).parent}"
    return build_on_host("emulated", target, _OPTIMIZE, where, key=importlib.metadata.version("torch"))


def build_sanitized(name: str) -> Path:
    """The same with a sanitizer, as ``-fsanitize`` names it."""
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "empty.cpp"
        program.write_text("int main() {}")
        try:
            run("g++", f"-fsanitize={name}", program, "-o", program.with_suffix(""))
        except FileNotFoundError as error:
            raise MissingTool("needs g++ on the PATH") from error
        except RuntimeError as error:
            raise MissingTool(f"needs a g++ that has -fsanitize={name}") from error
    return build_on_host(f"sanitized-{name.split(',')[0]}", "all", f"-DBERTFAST_SANITIZE={name}", _OPTIMIZE)
