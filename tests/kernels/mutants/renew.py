"""Asks the readers about all mutants and writes caught.json anew: ``python tests/kernels/mutants/renew.py``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from kernels.mutants.catalogue import MUTANTS
from kernels.mutants.readers import first_to_notice
from kernels.mutants.table import PATH, save_table

if __name__ == "__main__":
    table = {}
    for mutant in MUTANTS:
        catch = first_to_notice(mutant)
        print(f"{mutant.op}: {mutant.name}: {catch.reader}", flush=True)
        if catch.reader is None or mutant.complaint not in catch.complaint:
            sys.exit(f"expected {mutant.complaint!r}, got:\n{catch.complaint}")
        table[mutant.name] = catch.reader
    save_table(table)
    print(f"{PATH}: {len(table)} mutants")
