"""Versions, devices, the compiled kernels and what would run here: what a bug report needs.

No paths and no names of users are in it.
"""

from __future__ import annotations

import argparse
import json

from bertfast.environment.packages import optional_versions, versions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    found = {"versions": versions(), "optional": optional_versions()}
    if arguments.json:
        print(json.dumps(found, indent=1))
        return 0
    for name, version in {**versions(), **optional_versions()}.items():
        print(f"{name}: {version or 'not installed'}")
    return 0
