"""Which extensions are built, and how, is decided in native_build/; all else stands in pyproject.toml."""

import os
import sys
from pathlib import Path

import setuptools

# pip checks this only where it builds in isolation; an older one fails later, at lines of pyproject.toml.
if int(setuptools.__version__.split(".")[0]) < 77:
    sys.exit(f"error: setuptools {setuptools.__version__} is too old: pip install 'setuptools>=77'")

# A build in isolation does not look for modules beside this file.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from native_build.build_ext import BuildExtension, NativeExtension
from native_build.decide import make_plans
from native_build.tools import CannotBuild
from native_build.variables import BadVariable

try:
    plans = make_plans(os.environ)
except (BadVariable, CannotBuild) as error:
    sys.exit(f"error: {error}")

setuptools.setup(ext_modules=[NativeExtension(plan) for plan in plans], cmdclass={"build_ext": BuildExtension})
