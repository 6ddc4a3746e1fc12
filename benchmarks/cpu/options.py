"""Command-line parts that the scripts share: their options, and the folder of exported files."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path


def names_of(allowed: Sequence[str]) -> Callable[[str], list[str]]:
    """A type for argparse: comma-separated names, each once, in the order of ``allowed``; empty means all."""

    def parse(text: str) -> list[str]:
        given = [name.strip() for name in text.split(",") if name.strip()]
        if unknown := [name for name in given if name not in allowed]:
            raise argparse.ArgumentTypeError(f"expected names of {', '.join(allowed)}, got {', '.join(unknown)}")
        return [name for name in allowed if name in given] if given else list(allowed)

    return parse


def at_least(least: int) -> Callable[[str], int]:
    """A type for argparse: an integer from ``least`` on."""

    def parse(text: str) -> int:
        value = int(text) if text.lstrip("-").isdigit() else None
        if value is None or value < least:
            raise argparse.ArgumentTypeError(f"expected an integer of at least {least}, got {text}")
        return value

    return parse


def add_common(parser: argparse.ArgumentParser, precisions: Sequence[str]) -> None:
    """Add the options that every comparison has: precisions, threads, and where files go."""
    parser.add_argument("--precisions", type=names_of(precisions), default=list(precisions), help="default: all")
    parser.add_argument("--threads", type=at_least(1), default=1)
    parser.add_argument("--cache", type=Path, help="keep exported models there; default: a temporary folder")
    parser.add_argument("--json", type=Path, help="write the results there")


@contextlib.contextmanager
def folder_for(model: str, cache: Path | None) -> Iterator[Path]:
    """Where exported files go: a temporary folder, or in ``cache`` one for this model and these versions."""
    if cache is None:
        with tempfile.TemporaryDirectory(prefix="bertfast-compare-") as name:
            yield Path(name)
        return
    packages = ("torch", "transformers", "onnxruntime", "ctranslate2")
    folder = cache / "-".join([model, *(f"{package}{version(package)}" for package in packages)])
    folder.mkdir(parents=True, exist_ok=True)
    yield folder


def version(package: str) -> str:
    """Empty if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
