"""The committed table of resources, tests/kernels/device/resources.json, and how far a compiler may stray from it."""

from __future__ import annotations

import json
from pathlib import Path

from kernels.device.resources import Resources, ResourceTable

PATH = Path(__file__).with_name("resources.json")
RENEW = "python tests/kernels/device/renew.py"
# Half of the unit in which a multiprocessor gives registers to threads: another version of nvcc may take one or two
# more, an accident with an unrolled loop takes dozens.
ALLOWED_REGISTER_GROWTH = 4


def save_table(table: ResourceTable, nvcc_version: str) -> None:
    """One line an instance, so that a change of one shows as one line."""
    lines = []
    for name, by_architecture in table.items():
        columns = {
            architecture: [needs.registers, needs.static_smem_bytes, needs.stack_bytes, needs.spill_bytes]
            for architecture, needs in by_architecture.items()
        }
        lines.append(f"    {json.dumps(name)}: {json.dumps(columns)}")
    columns_line = json.dumps(["registers", "static_smem_bytes", "stack_bytes", "spill_bytes"])
    PATH.write_text(
        f'{{\n  "nvcc": {json.dumps(nvcc_version)},\n  "columns": {columns_line},\n'
        '  "instances": {\n' + ",\n".join(lines) + "\n  }\n}\n"
    )


def load_table(path: Path = PATH) -> ResourceTable:
    """The table as it was saved last."""
    instances = json.loads(path.read_text())["instances"]
    return {
        name: {architecture: Resources(*numbers) for architecture, numbers in by_architecture.items()}
        for name, by_architecture in instances.items()
    }


def differences(table: ResourceTable, committed: ResourceTable) -> list[str]:
    """What is wrong with ``table``, a line each: nothing may be new, missing, or need more than was committed."""
    found = [f"{name} is not in the table" for name in table.keys() - committed.keys()]
    found += [f"{name} is in the table, but no longer in the sources" for name in committed.keys() - table.keys()]
    for name in table.keys() & committed.keys():
        for architecture, needs in table[name].items():
            had = committed[name].get(architecture)
            where = f"{name} for sm_{architecture}"
            if had is None:
                found.append(f"{where} is not in the table")
            elif needs.registers > had.registers + ALLOWED_REGISTER_GROWTH:
                found.append(f"{where}: {needs.registers} registers, had {had.registers}")
            elif _exact(needs) != _exact(had):
                found.append(f"{where}: (shared, stack, spilled) bytes are {_exact(needs)}, were {_exact(had)}")
    return sorted(found)


def _exact(needs: Resources) -> tuple[int, int, int]:
    return needs.static_smem_bytes, needs.stack_bytes, needs.spill_bytes
