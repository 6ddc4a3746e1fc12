"""The setuptools command that carries plans out, each unless its binary is newer than all it is made from."""

from __future__ import annotations

from pathlib import Path

from setuptools import Extension
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError
from setuptools.modified import newer_group

from native_build.plan import ROOT, Plan
from native_build.tools import CannotBuild


class NativeExtension(Extension):
    """An extension as setuptools sees it."""

    def __init__(self, plan: Plan) -> None:
        # Relative, or a source distribution would hold the paths of this machine.
        super().__init__(plan.name, [str(path.relative_to(ROOT)) for path in plan.sources], optional=plan.optional)
        self.plan = plan


class BuildExtension(build_ext):
    """Builds every `NativeExtension`."""

    def build_extension(self, ext: NativeExtension) -> None:
        """Raises CompileError, which setuptools takes for a warning where the extension is optional."""
        plan, binary = ext.plan, Path(self.get_ext_fullpath(ext.name))
        directory = Path(self.build_temp).absolute() / plan.name
        directory.mkdir(parents=True, exist_ok=True)
        # Changed variables of the environment show in this file.
        config = directory / "build_config.cpp"
        changed = _write_if_changed(config, plan.config_source())
        inputs = [str(path) for path in [*plan.sources, *plan.dependencies, config]]
        if not (self.force or changed or newer_group(inputs, str(binary))):
            print(f"{binary} is up to date", flush=True)
            return
        binary.parent.mkdir(parents=True, exist_ok=True)
        try:
            plan.build(config, directory, binary)
        except (CannotBuild, ValueError) as error:
            raise CompileError(f"{plan.name} could not be built: {error}") from error
        print(f"built {binary}", flush=True)


def _write_if_changed(path: Path, text: str) -> bool:
    if path.exists() and path.read_text() == text:
        return False
    path.write_text(text)
    return True
