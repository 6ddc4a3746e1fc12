"""Everything about the package stands in pyproject.toml.

This file is where the CUDA extension is built from once its bindings land (issue 4).
"""

from setuptools import setup

setup()
