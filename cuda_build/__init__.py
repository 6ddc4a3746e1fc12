"""Builds ``bertfast._C``: what setup.py does beyond pyproject.toml, with the standard library and setuptools only."""
