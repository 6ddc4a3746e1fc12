"""Planted bugs: each a small change to a kernel that at least one of the readers has to notice."""
