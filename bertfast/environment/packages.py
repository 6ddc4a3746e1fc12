"""Which versions of which packages are installed."""

from __future__ import annotations

import platform
from importlib import metadata

from bertfast._version import __version__

#: What bertfast runs on.
REQUIRED = ("torch", "transformers", "numpy")
#: What it works with, or is compared with, where it is there.
OPTIONAL = (
    "tokenizers",
    "safetensors",
    "sentence-transformers",
    "peft",
    "accelerate",
    "onnx",
    "onnxruntime",
    "openvino",
    "ctranslate2",
    "flash-attn",
    "triton",
    "matplotlib",
)


def versions() -> dict[str, str | None]:
    """By name: bertfast, Python, the system and its C library, and what is required; None for what is not there."""
    libc, libc_version = platform.libc_ver()
    return {
        "bertfast": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "libc": f"{libc} {libc_version}".strip() or "unknown",
        **{name: installed(name) for name in REQUIRED},
    }


def optional_versions() -> dict[str, str]:
    """Of the optional packages that are installed."""
    found = {name: installed(name) for name in OPTIONAL}
    return {name: version for name, version in found.items() if version is not None}


def installed(package: str) -> str | None:
    """The version of a package; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
