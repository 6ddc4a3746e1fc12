"""Versions that are not served are warned of when bertfast is imported; newer ones than tested are logged."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import warnings
from importlib import metadata
from pathlib import Path

import pytest

import bertfast
from bertfast.versions import SERVED, check_versions, suspects

_ROOT = Path(__file__).parents[1]


def _installed(**versions: str):
    """A lookup of versions: tested ones but for those given; None for a package that is not there."""
    found = {package: served.tested[-1] for package, served in SERVED.items()} | versions

    def look_up(package: str) -> str:
        if found[package] is None:
            raise metadata.PackageNotFoundError(package)
        return found[package]

    return look_up


@pytest.mark.parametrize(
    ("package", "version"),
    [
        ("transformers", "4.56.2"),
        ("transformers", "4.6.1"),
        ("transformers", "6.0.0"),
        ("transformers", "6.0.0.dev0"),
        ("torch", "2.10.1"),
        ("torch", "2.9.0+cu128"),
        ("torch", "1.13.1"),
        # Before the first, as pip reads the requirement.
        ("torch", "2.11.0rc1"),
        ("torch", "2.11.0a0+git123"),
        ("torch", "2.11.0.dev20260101+cu130"),
        ("transformers", "4.57.0-RC1"),
    ],
)
def test_an_unserved_version_is_warned_of(package, version):
    with pytest.warns(bertfast.UnsupportedVersionWarning) as found:
        check_versions(_installed(**{package: version}))
    [warning] = found
    message = str(warning.message)
    assert re.search(rf"serves {package} .* or later.*, and {re.escape(version)} is installed", message)
    assert f"pip install '{package}>=" in message


@pytest.mark.parametrize(
    ("package", "version"),
    [
        ("transformers", "4.57.0"),
        ("transformers", "4.57.1rc1"),
        ("transformers", "5.0.0"),
        ("transformers", "5.0.0rc2"),
        ("torch", "2.11.0+cpu"),
        ("torch", "2.11.0.post1"),
        ("torch", "2.12"),
        ("torch", "x"),
        *((package, f"{served.tested[-1]}.0.0") for package, served in SERVED.items()),
    ],
)
def test_a_served_version_is_not_mentioned(package, version, caplog):
    with warnings.catch_warnings(), caplog.at_level(logging.INFO, logger="bertfast"):
        warnings.simplefilter("error")
        check_versions(_installed(**{package: version}))
    assert not caplog.records


@pytest.mark.parametrize(("package", "version"), [("transformers", "5.99.1"), ("torch", "2.99.0+cu130")])
def test_a_version_newer_than_tested_is_logged(package, version, caplog):
    with warnings.catch_warnings(), caplog.at_level(logging.INFO, logger="bertfast"):
        warnings.simplefilter("error")
        check_versions(_installed(**{package: version}))
    [record] = caplog.records
    assert record.levelno == logging.INFO
    message = record.getMessage()
    assert f"{package} {version} is newer than the newest version tested, {SERVED[package].tested[-1]}" in message


def test_a_package_without_a_version_is_not_looked_at():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_versions(_installed(torch=None, transformers=None))


@pytest.mark.parametrize(
    ("package", "version", "expected"),
    [
        ("torch", "2.9.0", "bertfast serves torch 2.11 or later, and 2.9.0 is installed: pip install 'torch>=2.11'"),
        (
            "transformers",
            "6.1.0",
            "bertfast serves transformers 4.57 or later, below 6, and 6.1.0 is installed: "
            "pip install 'transformers>=4.57,<6'",
        ),
        (
            "torch",
            "2.99.0+cu130",
            f"torch 2.99.0+cu130 is newer than the newest version tested, {SERVED['torch'].tested[-1]}: "
            f"pip install 'torch=={SERVED['torch'].tested[-1]}'",
        ),
    ],
)
def test_what_an_import_may_have_failed_for(package, version, expected):
    assert suspects(_installed(**{package: version})) == [expected]


def test_tested_versions_are_not_suspected():
    assert suspects(_installed()) == []
    assert suspects(_installed(torch=None, transformers="unknown")) == []


_OF_VERSIONS = [
    AttributeError("module 'torch' has no attribute 'later'"),
    ImportError("no name"),
    TypeError("an unexpected keyword argument"),
    ModuleNotFoundError("No module named 'transformers.later'", name="transformers.later"),
]


@pytest.mark.parametrize("error", _OF_VERSIONS)
@pytest.mark.parametrize("name", ["BertModel", "AutoModel", "BertTokenizerFast", "explain"])
def test_an_import_that_fails_says_what_to_do(name, error, monkeypatch):
    def fail(module):
        raise error

    monkeypatch.setattr(bertfast.importlib, "import_module", fail)
    monkeypatch.setattr(bertfast, "suspects", lambda: suspects(_installed(torch="2.9.0")))
    with pytest.raises(bertfast.errors.UnsupportedVersionError, match=r"torch 2.11 or later, and 2.9.0 is") as raised:
        # Not an AttributeError, of which an import statement would drop the text.
        exec(f"from bertfast import {name}")
    assert isinstance(raised.value, ImportError)
    assert str(error) in str(raised.value)
    assert raised.value.__cause__ is error
    # With tested versions it is somebody else's mistake.
    monkeypatch.setattr(bertfast, "suspects", list)
    with pytest.raises(type(error)) as raised:
        getattr(bertfast, name)
    assert raised.value is error


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("a setting"), ModuleNotFoundError("No module named 'numpy'", name="numpy")]
)
def test_what_no_version_is_to_blame_for_stays_what_it_is(error, monkeypatch):
    def fail(module):
        raise error

    monkeypatch.setattr(bertfast.importlib, "import_module", fail)
    monkeypatch.setattr(bertfast, "suspects", lambda: suspects(_installed(torch="2.9.0")))
    with pytest.raises(type(error)) as raised:
        bertfast.explain  # noqa: B018
    assert raised.value is error


@pytest.mark.parametrize("options", [[], ["-W", "error"]])
def test_importing_warns_once_and_does_not_fail(tmp_path, options):
    folder = tmp_path / "torch-2.9.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.9.0\n")
    paths = [str(tmp_path), str(_ROOT)]
    done = subprocess.run(
        [sys.executable, *options, "-c", "import bertfast\nimport bertfast.errors\nprint(bertfast.__version__)"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    assert done.stderr.count("serves torch 2.11 or later, and 2.9.0 is installed") == 1
    # Who turns warnings into errors gets one.
    assert done.returncode == (1 if options else 0)
    assert (done.stdout.strip() == bertfast.__version__) == (not options)


def test_the_requirements_say_the_same():
    stated = (_ROOT / "pyproject.toml").read_text()
    for package, served in SERVED.items():
        below = "" if served.before is None else f",<{'.'.join(map(str, served.before))}"
        assert f'"{package}>={".".join(map(str, served.oldest))}{below}"' in stated
        assert list(served.tested) == sorted(served.tested, key=lambda v: [int(n) for n in v.split(".")])
    pinned = "".join(path.read_text() for path in (_ROOT / "requirements").glob("*.txt"))
    for package in SERVED:
        for version in re.findall(rf"^{package}==([\d.]+)", pinned, re.M):
            assert version in SERVED[package].tested
