"""Writes requirements/*.txt, every package with its hashes, from the .in beside each: `make lock`.

What is there already keeps its version, unless the .in says otherwise or --upgrade is given. torch, and the packages of
CUDA that only some builds of it need, are left out: torch.txt says why.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent
# From the first to the last: compare.in reads dev.txt.
_NAMES = ("dev", "transformers4", "cuda", "compare", "tools")
_OLDEST_PYTHON = "3.10"
_BROUGHT_BY_TORCH = re.compile(r"(torch|triton|(nvidia|cuda)-[a-z0-9-]+)(\[.*\])?==")


def without_torch(locked: str) -> str:
    """``locked`` less torch and what only its CUDA build asks for; a package that an .in names stays."""
    # A block is a requirement with its indented hashes and the comments on who asked for it.
    blocks = re.split(r"^(?=[a-z0-9])", locked, flags=re.M)
    kept = [
        block for block in blocks if not _BROUGHT_BY_TORCH.match(block) or re.search(r"-r requirements/\S+\.in", block)
    ]
    return "".join(kept)


def lock(name: str, options: list[str]) -> None:
    source, target = f"requirements/{name}.in", f"requirements/{name}.txt"
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-config", "--universal"]
    command += ["--python-version", _OLDEST_PYTHON, "--generate-hashes", "--no-build"]
    # Which index it was, and where, is nobody else's business.
    command += ["--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "make lock"]
    subprocess.run([*command, *options, "--output-file", target, source], cwd=_FOLDER.parent, check=True)
    path = _FOLDER / f"{name}.txt"
    path.write_text(without_torch(path.read_text()))


def main() -> None:
    for name in _NAMES:
        print(f"==> requirements/{name}.txt", flush=True)
        lock(name, sys.argv[1:])


if __name__ == "__main__":
    main()
