"""The launchers' Params structs as ctypes has them, read from the headers so that they cannot drift apart."""

from __future__ import annotations

import ctypes
import functools
import re
from typing import Any

from kernels.device.compiler import KERNEL_DIRECTORY

_TYPES: dict[str, Any] = {
    "int64_t": ctypes.c_int64,
    "int32_t": ctypes.c_int32,
    "int": ctypes.c_int,
    "float": ctypes.c_float,
    "bool": ctypes.c_bool,
}
_STRUCT = re.compile(r"struct (\w+Params) \{(.*?)\n\};", re.DOTALL)
_FIELD = re.compile(r"(?:const )?(\w+)(\*?) (\w+)(?: = [^;]+)?;")
_ENUM = re.compile(r"enum class (\w+)")


@functools.cache
def params_type(op: str) -> type[ctypes.Structure]:
    """The struct that ``launch_<op>`` takes. Pointers are addresses, enumerations their numbers."""
    enums = {name for path in KERNEL_DIRECTORY.glob("*.h") for name in _ENUM.findall(path.read_text())}
    text = re.sub(r"//[^\n]*", "", (KERNEL_DIRECTORY / f"{op}.h").read_text())
    name, body = _STRUCT.findall(text)[0]
    fields = []
    for declaration in filter(None, (line.strip() for line in body.splitlines())):
        match = _FIELD.fullmatch(declaration)
        if match is None or not (match[2] or match[1] in _TYPES or match[1] in enums):
            raise ValueError(f"{op}.h: {name}: {declaration!r} is of no known type")
        kind = ctypes.c_void_p if match[2] else _TYPES.get(match[1], ctypes.c_int)
        fields.append((match[3], kind))
    return type(name, (ctypes.Structure,), {"_fields_": fields})


def make_params(op: str, **values: Any) -> ctypes.Structure:
    """Params with every field named; an array stands for its address, None for a null pointer."""
    kind = params_type(op)
    names = [name for name, _ in kind._fields_]  # type: ignore[misc]
    if sorted(names) != sorted(values):
        raise ValueError(f"{op}: fields are {', '.join(names)}; got {', '.join(values)}")
    return kind(**{name: getattr(value, "ctypes", value) and _plain(value) for name, value in values.items()})


def _plain(value: Any) -> Any:
    return value.ctypes.data if hasattr(value, "ctypes") else value
