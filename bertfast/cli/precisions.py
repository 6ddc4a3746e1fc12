"""Names of precisions that a user types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bertfast.cli.errors import UsageError
from bertfast.precision import PRECISIONS, usual_name

#: What ``--precision`` takes; left out, the dtype of the model decides.
NAMES = tuple(name for name in PRECISIONS if name is not None)


def check_precisions(given: Iterable[str], allowed: Sequence[str] = NAMES, where: str = "") -> None:
    """Raise UsageError for the first name that is not allowed. where: of a device, to say so."""
    for name in given:
        if name not in allowed:
            meant = usual_name(name)
            hint = f"; did you mean {meant}?" if meant in allowed else ""
            raise UsageError(f"--precision {name}: expected one of {', '.join(allowed)}{where}{hint}")
