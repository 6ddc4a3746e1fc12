"""Builds the source distribution, a wheel from it, installs that, and runs tests on what was installed.

    .venv/bin/python tests/supply_chain/check_wheel.py [arguments to pytest]

The new virtual environment has this one's packages by a .pth file, for torch alone takes minutes and gigabytes: a
folder that is named there is searched for modules, but its own .pth files, and so the editable installation of
bertfast, are not read. The tests, and what they read, are those of the source distribution, without its `bertfast`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_FOLDER = _ROOT / "build" / "wheel-check"
# Of use in a clone only.
_NOT_SHIPPED = (".ci/", ".git", ".editorconfig", ".pre-commit-config.yaml")


# Modules are found as an installation finds them.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _run(*command: str | Path, where: Path = _ROOT) -> str:
    """What a command printed; whatever fails ends the check."""
    done = subprocess.run([str(part) for part in command], cwd=where, env=_ENVIRONMENT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: {' '.join(map(str, command))}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def _build() -> tuple[Path, Path]:
    """The source distribution, and the wheel that `build` makes of it where it is given neither --sdist nor --wheel."""
    shutil.rmtree(_FOLDER, ignore_errors=True)
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", _FOLDER)
    (sdist,), (wheel,) = _FOLDER.glob("*.tar.gz"), _FOLDER.glob("*.whl")
    return sdist, wheel


def _unpack(sdist: Path) -> Path:
    with tarfile.open(sdist) as archive:
        archive.extractall(_FOLDER, filter="data")
    return _FOLDER / sdist.name.removesuffix(".tar.gz")


def _check_sources(unpacked: Path) -> None:
    """Every file of the clone is in the source distribution; outside of a clone, as far as this file can name them."""
    if not (_ROOT / ".git").exists():
        tracked = [
            "LICENSE",
            "csrc/kernels/bias_gelu.cu",
            "csrc/cpu/module.cpp",
            "tests/conftest.py",
            "bertfast/py.typed",
        ]
    else:
        tracked = _run("git", "ls-files").split()
    missing = [name for name in tracked if not name.startswith(_NOT_SHIPPED) and not (unpacked / name).is_file()]
    if missing:
        sys.exit(f"error: not in the source distribution (MANIFEST.in): {', '.join(missing)}")


def _check_wheel(wheel: Path, unpacked: Path) -> None:
    """All of the package, the licence, and no file of anything else."""
    names = zipfile.ZipFile(wheel).namelist()
    package = {str(path.relative_to(unpacked)) for path in (unpacked / "bertfast").rglob("*") if path.is_file()}
    if missing := sorted(package - set(names)):
        sys.exit(f"error: not in the wheel: {', '.join(missing)}")
    if foreign := [name for name in names if not name.startswith(("bertfast/", "bertfast-"))]:
        sys.exit(f"error: in the wheel, but no part of the package: {', '.join(foreign)}")
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in names):
        sys.exit("error: no LICENSE in the wheel")


def _install(wheel: Path) -> Path:
    """The Python of a new virtual environment that has bertfast by the wheel alone."""
    environment = _FOLDER / "venv"
    # Python's own pip may bring an old setuptools, which would come before the pinned one.
    _run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    site = Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    folders = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (site / "pinned.pth").write_text("\n".join(folders) + "\n")
    # With its dependencies, which have to be there already; instead of the one that the .pth shows the metadata of.
    pip: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index"]
    _run(*pip, "--no-deps", "--ignore-installed", wheel)
    _run(*pip, "bertfast")
    return python


def _check_imported(python: Path, where: Path) -> None:
    code = "import bertfast.cli.main, importlib.metadata as m; print(bertfast.__file__); print(m.version('bertfast'))"
    file, version = _run(python, "-c", code, where=where).split()
    if not Path(file).is_relative_to(_FOLDER / "venv") or version not in str(where):
        sys.exit(f"error: the tests would import {file}, version {version}, not the wheel's")
    _run(python.parent / "bertfast", "env", where=where)


def main() -> int:
    sdist, wheel = _build()
    print(f"==> Built {sdist.name}, and {wheel.name} from it", flush=True)
    unpacked = _unpack(sdist)
    _check_sources(unpacked)
    _check_wheel(wheel, unpacked)
    shutil.rmtree(unpacked / "bertfast")
    python = _install(wheel)
    _check_imported(python, unpacked)
    print("==> Tests of the source distribution, on the installed wheel", flush=True)
    return subprocess.run([python, "-m", "pytest", *sys.argv[1:]], cwd=unpacked, env=_ENVIRONMENT).returncode


if __name__ == "__main__":
    sys.exit(main())
