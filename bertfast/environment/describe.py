"""All of it, as a mapping for JSON; and a short form, for the head of a table of figures."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import asdict
from typing import Any

from bertfast.environment.cpu import cpu, cpu_features, cpu_name
from bertfast.environment.packages import installed, optional_versions, versions
from bertfast.environment.privacy import public
from bertfast.environment.variables import relevant_variables
from bertfast.versions import UnsupportedVersionWarning, check_versions


def describe() -> dict[str, Any]:
    """``torch_problem``: why torch cannot be imported, and with it all that needs it is not there; or None."""
    found: dict[str, Any] = {
        "versions": versions(),
        "optional": optional_versions(),
        "unsupported": _unsupported(),
        "cpu": asdict(cpu()),
        "variables": relevant_variables(),
        "torch_problem": torch_problem(),
    }
    return found if found["torch_problem"] else {**found, **_of_torch(found["versions"])}


def torch_problem() -> str | None:
    """Why torch cannot be imported; None if it can."""
    try:
        importlib.import_module("torch")
    except Exception as error:  # a missing library is an OSError, a wrong numpy anything
        return public(f"torch cannot be imported: {type(error).__name__}: {error}")
    return None


def summary() -> dict[str, str]:
    """What a reader must know to compare a figure made on this CPU. Needs torch."""
    import torch

    return {
        "bertfast": versions()["bertfast"] or "",
        "python": (versions()["python"] or "").split()[0],
        "torch": torch.__version__,
        "transformers": installed("transformers") or "",
        "cpu": cpu_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpu_features": " ".join(cpu_features()),
    }


def _of_torch(known: dict[str, Any]) -> dict[str, Any]:
    """known: the versions, of which torch itself knows its own better than its package: with the kind of build."""
    from bertfast.environment.compiled import compiled_modules
    from bertfast.environment.gpus import driver_version, gpus, why_no_gpu
    from bertfast.environment.paths import paths, reduced_precisions
    from bertfast.environment.torch_build import torch_build

    found = gpus()
    devices = ["cpu", *(f"cuda:{index}" for index in range(len(found)))]
    build = torch_build()
    return {
        "versions": {**known, "torch": build.version},
        "torch": asdict(build),
        "gpus": [asdict(gpu) for gpu in found],
        "driver": driver_version(),
        "why_no_gpu": why_no_gpu(),
        "compiled": [asdict(module) for module in compiled_modules()],
        "paths": [asdict(path) for path in paths(devices)],
        "precisions": [asdict(reduced) for reduced in reduced_precisions(devices)],
    }


def _unsupported() -> list[str]:
    """Of versions that are not served: what the import of bertfast warned of, too."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UnsupportedVersionWarning)
        check_versions()
    return [str(warning.message) for warning in caught if warning.category is UnsupportedVersionWarning]
