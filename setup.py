"""Whether the CUDA extension is built, and how, is decided in cuda_build/; all else stands in pyproject.toml."""

import os
import sys
from pathlib import Path

import setuptools

# pip checks this only where it builds in isolation; an older one fails later, at lines of pyproject.toml.
if int(setuptools.__version__.split(".")[0]) < 77:
    sys.exit(f"error: setuptools {setuptools.__version__} is too old: pip install 'setuptools>=77'")

# A build in isolation does not look for modules beside this file.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from cuda_build.plan import make_plan
from cuda_build.toolchain import CannotBuild
from cuda_build.variables import BadVariable

try:
    plan = make_plan(os.environ)
except (BadVariable, CannotBuild) as error:
    sys.exit(f"error: bertfast._C, the CUDA kernels, cannot be built: {error}")

if plan is None:
    setuptools.setup()
else:
    from cuda_build.build_ext import BuildExtension, CudaExtension

    setuptools.setup(ext_modules=[CudaExtension(plan)], cmdclass={"build_ext": BuildExtension})
