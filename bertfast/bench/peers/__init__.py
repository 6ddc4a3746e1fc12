"""The candidates, one file for each library: what it takes to run a model in it.

Each has ``why_not(setup)``, ``prepare(setup, variant)`` and ``load(setup, variant)``, as `candidates.Peer` says.
"""
