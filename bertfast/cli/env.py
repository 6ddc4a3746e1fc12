"""Versions, devices, the compiled kernels and what would run here: what a bug report needs.

No paths and no names of users are in it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bertfast.environment.describe import describe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, with all that is known")


def run(arguments: argparse.Namespace) -> int:
    found = describe()
    print(json.dumps(found, indent=1) if arguments.json else text(found))
    return 0


def text(found: Mapping[str, Any]) -> str:
    """What `describe` found, for people."""
    lines = [*_versions(found), *_cpu(found["cpu"], found.get("torch"))]
    if found["torch_problem"]:
        lines += ["problem", f"  {found['torch_problem']}"]
    else:
        lines += [*_gpus(found), *_compiled(found["compiled"]), *_paths(found["paths"]), *_precisions(found)]
    variables = [f"  {name}={value}" for name, value in found["variables"].items()]
    return "\n".join([*lines, "environment variables", *(variables or ["  none that matters is set"])])


def _versions(found: Mapping[str, Any]) -> Iterator[str]:
    own = dict(found["versions"])
    yield f"bertfast {own.pop('bertfast')}"
    yield _fields((name, version or "not installed") for name, version in own.items())
    if found["optional"]:
        yield "  also: " + ", ".join(f"{name} {version}" for name, version in found["optional"].items())
    yield from (f"  not served: {problem}" for problem in found["unsupported"])


def _cpu(cpu: Mapping[str, Any], torch: Mapping[str, Any] | None) -> Iterator[str]:
    yield f"CPU: {cpu['name']}"
    cores = f"{cpu['logical']} logical, {cpu['physical'] or '?'} physical, {cpu['usable'] or '?'} usable"
    limit = "" if cpu["limit"] is None else f", time of {cpu['limit']:g} by the cgroup"
    yield f"  cores: {cores}{limit}"
    yield f"  features: {' '.join(cpu['features']) or 'none known'}"
    cap = "" if cpu["memory_limit_bytes"] is None else f", {_gib(cpu['memory_limit_bytes'])} by the cgroup"
    yield f"  memory: {_gib(cpu['memory_bytes'])}{cap}"
    if torch:
        yield (
            f"  torch: {torch['threads']} threads ({torch['interop_threads']} interop), {torch['cpu_capability']}, "
            f"oneDNN {torch['onednn'] or 'not there'}, float32 matmul {torch['float32_matmul']}"
        )


def _gpus(found: Mapping[str, Any]) -> Iterator[str]:
    if not found["gpus"]:
        driver = f"; driver {found['driver']}" if found["driver"] else ""
        yield f"GPU: none ({found['why_no_gpu']}{driver})"
    for index, gpu in enumerate(found["gpus"]):
        yield f"GPU cuda:{index}: {gpu['name']}"
        yield (
            f"  compute capability {gpu['compute_capability']}, {gpu['multiprocessors']} multiprocessors, "
            f"{_gib(gpu['memory_bytes'])}, L2 {gpu['l2_bytes'] / 2**20:.0f} MiB"
        )
    if found["gpus"]:
        torch = found["torch"]
        yield f"  driver {found['driver'] or '?'}, CUDA {torch['cuda']}, cuDNN {torch['cudnn']}"


def _compiled(modules: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for module in modules:
        yield f"{module['module']} ({module['purpose']}): {'loaded' if module['loaded'] else 'not loaded'}"
        if module["reason"]:
            yield f"  {module['reason']}"
        if module["uses"]:
            yield f"  uses: {' '.join(module['uses'])}"
        for name, value in module["build"].items():
            yield f"  {name}: {' '.join(map(str, value)) if isinstance(value, list) else value}"


def _paths(paths: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield "what runs a model of BERT-base's sizes"
    for path in paths:
        who = (
            f"bertfast: dense layers by {path['linear']}, attention by {path['attention']}, "
            f"embedding by {path['ops']}, activation and norm by {path['ops']} or with the dense layers"
        )
        yield f"  {path['device']} {path['dtype']}: {who if path['fast'] else 'stock transformers: ' + path['why_not']}"


def _precisions(found: Mapping[str, Any]) -> Iterator[str]:
    yield "precision= for float32 weights"
    for reduced in found["precisions"]:
        runs = "an error" if reduced["runs"] is None else f"{reduced['runs']}, dense layers by {reduced['linear']}"
        why = f": {reduced['why_not']}" if reduced["why_not"] else ""
        advice = "; bertfast's own kernels could, and are not loaded: see above" if reduced["advice"] else ""
        yield f"  {reduced['device']} {reduced['asked']}: {runs}{why}{advice}"


def _fields(pairs: Iterable[tuple[str, str]]) -> str:
    return "  " + ", ".join(f"{name} {value}" for name, value in pairs)


def _gib(size: int | None) -> str:
    return "? GiB" if size is None else f"{size / 2**30:.1f} GiB"
