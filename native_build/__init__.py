"""Builds ``bertfast._C`` and ``bertfast._cpu``: what setup.py does beyond pyproject.toml, with the standard library
and setuptools only."""
