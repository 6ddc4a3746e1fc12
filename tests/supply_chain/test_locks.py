"""requirements/*.txt: what the .in beside each asks for, pinned and hashed, and nothing of one machine."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.markers import Environment, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_FOLDER = Path(__file__).resolve().parents[2] / "requirements"
_NAMES = sorted(path.stem for path in _FOLDER.glob("*.in"))
_PYTHONS = ("3.10", "3.11", "3.12", "3.13")
_SYSTEMS = {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}
_PINNED = re.compile(r"[a-z0-9-]+==\d[^ ;]*( ; [^\\]+)? \\")
_HASHED = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")


class Locked(NamedTuple):
    requirement: Requirement
    hashes: int
    # The files and packages that ask for it, in uv's comments.
    asked_by: list[str]


def _locked(name: str) -> list[Locked]:
    blocks = re.split(r"^(?=[a-z0-9])", (_FOLDER / f"{name}.txt").read_text(), flags=re.M)[1:]
    return [
        Locked(
            Requirement(block.split("\\")[0]),
            block.count("--hash=sha256:"),
            re.findall(r"# +(?:via +)?(\S.*)$", block.replace("# via\n", ""), re.M),
        )
        for block in blocks
    ]


def _asked(path: Path) -> list[Requirement]:
    """The requirements of an .in, and of what it includes; torch is installed by itself."""
    found = []
    for line in path.read_text().splitlines():
        if line.startswith("-r ") and line != "-r torch.txt":
            found += _asked(path.parent / line[3:])
        elif line and not line.startswith(("#", "-")):
            found.append(Requirement(line))
    return found


def _environments() -> list[Environment]:
    environments = []
    for python in _PYTHONS:
        for system, platform in _SYSTEMS.items():
            environment = default_environment()
            environment.update(
                python_version=python, python_full_version=f"{python}.1", sys_platform=system, platform_system=platform
            )
            environments.append(environment)
    return environments


def _pins(requirements: list[Requirement], environment: Environment) -> set[str]:
    return {
        f"{canonicalize_name(each.name)}{each.specifier}"
        for each in requirements
        if each.marker is None or each.marker.evaluate(dict(environment))
    }


def test_make_lock_writes_a_lock_of_every_input(monkeypatch):
    monkeypatch.syspath_prepend(str(_FOLDER))
    import lock

    monkeypatch.delitem(sys.modules, "lock")
    written: list[str] = []
    monkeypatch.setattr(lock, "lock", lambda name, options: written.append(name))
    monkeypatch.setattr(sys, "argv", ["lock.py"])
    lock.main()
    assert sorted(written) == _NAMES
    # torch.txt is written by hand.
    assert {path.stem for path in _FOLDER.glob("*.txt")} == {*_NAMES, "torch"}


@pytest.mark.parametrize("name", _NAMES)
def test_a_lock_has_what_its_input_asks_for_and_no_more(name):
    """Where this fails, an .in was changed: `make lock`."""
    direct = [each.requirement for each in _locked(name) if any(by.startswith("-r ") for by in each.asked_by)]
    asked = _asked(_FOLDER / f"{name}.in")
    for environment in _environments():
        assert _pins(direct, environment) == _pins(asked, environment)


@pytest.mark.parametrize("name", _NAMES)
def test_whoever_asks_for_a_package_is_locked_too(name):
    """But torch, which asks for packages that others ask for as well."""
    locked = _locked(name)
    names = {canonicalize_name(each.requirement.name) for each in locked}
    for each in locked:
        packages = [by for by in each.asked_by if not by.startswith("-")]
        assert each.asked_by
        assert {canonicalize_name(by) for by in packages} <= names | {"torch"}


@pytest.mark.parametrize("name", _NAMES)
def test_no_environment_gets_two_versions(name):
    for environment in _environments():
        pins = _pins([each.requirement for each in _locked(name)], environment)
        assert len({pin.split("==")[0] for pin in pins}) == len(pins)


@pytest.mark.parametrize("name", _NAMES)
def test_a_lock_holds_pins_hashes_and_comments_only(name):
    """No index, no path: the one who installs chooses them."""
    text = (_FOLDER / f"{name}.txt").read_text()
    for line in text.splitlines():
        assert line.lstrip().startswith("#") or _PINNED.fullmatch(line) or _HASHED.fullmatch(line), line
    assert not re.search(r"://|/[a-z]+/", text.replace("requirements/", ""))
    assert all(each.hashes for each in _locked(name))


@pytest.mark.parametrize("name", _NAMES)
def test_nothing_of_one_build_of_torch_is_locked(name):
    asked = {canonicalize_name(each.name) for each in _asked(_FOLDER / f"{name}.in")}
    locked = {each.requirement.name for each in _locked(name)}
    assert not [each for each in locked - asked if re.match(r"(torch|triton|nvidia-.*|cuda-.*)$", each)]


def test_what_only_torch_brings_is_left_out(monkeypatch):
    monkeypatch.syspath_prepend(str(_FOLDER))
    from lock import without_torch

    blocks = [
        "# head\n",
        "numpy==2.0 \\\n    --hash=sha256:00\n    # via -r requirements/dev.in\n",
        "nvidia-a-cu13==1 ; sys_platform == 'linux' \\\n    --hash=sha256:01\n    # via torch\n",
        "nvidia-b==1 \\\n    --hash=sha256:02\n    # via\n    #   -r requirements/dev.in\n    #   torch\n",
        "torch==2.13.0 \\\n    --hash=sha256:03\n    # via\n    #   -r requirements/torch.txt\n    #   peft\n",
        "torchvision==1 \\\n    --hash=sha256:04\n    # via peft\n",
    ]
    assert without_torch("".join(blocks)) == "".join(blocks[i] for i in (0, 1, 3, 5))
    sys.modules.pop("lock")
