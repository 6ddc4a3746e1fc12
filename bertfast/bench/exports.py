"""Where the files go that peers make of a model."""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bertfast.bench.models import SIZES, config_of
from bertfast.environment.packages import installed
from bertfast.model_names import path_of

_PACKAGES = ("torch", "transformers", "onnxruntime", "ctranslate2")


@contextlib.contextmanager
def folder_for(model: str, cache: Path | None) -> Iterator[Path]:
    """A temporary folder, or in ``cache`` one for this model and these versions."""
    if cache is None:
        with tempfile.TemporaryDirectory(prefix="bertfast-bench-") as name:
            yield Path(name)
        return
    versions = [f"{package}{installed(package) or ''}" for package in _PACKAGES]
    folder = cache / "-".join([_key(model), *versions])
    folder.mkdir(parents=True, exist_ok=True)
    yield folder


def _key(model: str) -> str:
    """Another one as soon as the model's files change."""
    if model in SIZES:
        return model
    config = config_of(model)
    parts = [config.to_json_string(), str(getattr(config, "_commit_hash", None))]
    folder = Path(path_of(model))
    if folder.is_dir():
        stats = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
        parts += [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9._]+', '-', folder.name)}-{digest}"
