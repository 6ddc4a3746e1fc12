"""From the text of a PTX module to kernels."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from kernels.ptx.code import (
    Address,
    Immediate,
    Instruction,
    Kernel,
    Operand,
    Register,
    Sink,
    Special,
    Symbol,
    Variable,
    Vector,
)
from kernels.ptx.errors import Unsupported
from kernels.ptx.kinds import Array, num_bytes
from kernels.ptx.statements import Statement, outside_of_bodies, split_body, without_comments

_ENTRY = re.compile(r"\.entry\s+(\w+)\s*\(([^)]*)\)([^{;]*)\{")
_PARAM = re.compile(r"\.param\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+(?:\.ptr\b[^,]*?\s)?(\w+)(?:\[(\d+)\])?")
_VARIABLE = re.compile(r"\.shared\s+\.align\s+(\d+)\s+\.(\w+)\s+(\w+)(?:\[(\d*)\])?")
_CONSTANT = re.compile(r"\.global\s+\.align\s+(\d+)\s+\.b8\s+([$\w]+)\[(\d+)\]\s*(=?)")
_INSTRUCTION = re.compile(r"(?:@(!?)([%\w$]+)\s+)?([a-z][\w.:]*)\s*(.*)")
_OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|[^,\s][^,]*")
_SPECIAL = re.compile(r"%(?:n?tid|n?ctaid)\.[xyz]|%laneid|%warpid")
_FLOAT_BITS = re.compile(r"0[fF]([0-9a-fA-F]{8})|0[dD]([0-9a-fA-F]{16})")
_INTEGER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|\d+)U?")
_IGNORED = (".loc", ".pragma", ".file")


class Module:
    """The kernels of one PTX file by their mangled names. Each is parsed when it is asked for."""

    def __init__(self, text: str) -> None:
        self._text = without_comments(text)
        self._entries = {entry[1]: entry for entry in _ENTRY.finditer(self._text)}
        outside = outside_of_bodies(self._text)
        self._variables = [_variable(match) for match in _VARIABLE.finditer(outside)]
        self._constants = dict(_constant(match) for match in _CONSTANT.finditer(outside))
        self._kernels: dict[str, Kernel] = {}

    @property
    def names(self) -> list[str]:
        """Of its kernels."""
        return list(self._entries)

    def __getitem__(self, name: str) -> Kernel:
        """Raises Unsupported for what the parser does not know."""
        if name not in self._kernels:
            self._kernels[name] = self._parse(self._entries[name])
        return self._kernels[name]

    def _parse(self, entry: re.Match[str]) -> Kernel:
        kernel = Kernel(entry[1], variables=list(self._variables), constants=self._constants)
        _parse_params(kernel, entry[2])
        if bound := re.search(r"\.maxntid\s+(\d+)", entry[3]):
            kernel.max_threads = int(bound[1])
        body = _Body(kernel)
        for statement in split_body(self._text, entry.end()):
            body.add(statement)
        return kernel


def _variable(match: re.Match[str]) -> Variable:
    alignment, kind, name, length = match.groups()
    count = 1 if length is None else int(length) if length else None
    return Variable(name, int(alignment), None if count is None else count * num_bytes(kind))


def _constant(match: re.Match[str]) -> tuple[str, Array]:
    """nvcc makes arrays of zeros, where a value may be a load or zero. Others are not known here."""
    alignment, name, length, initializer = match.groups()
    if initializer:
        raise Unsupported(f"{name}: global memory with content")
    raw = np.zeros(int(length) + int(alignment), np.uint8)
    array = raw[-raw.ctypes.data % int(alignment) :][: int(length)]
    array.flags.writeable = False
    return name, array


def _parse_params(kernel: Kernel, text: str) -> None:
    for declaration in filter(None, (piece.strip() for piece in text.split(","))):
        match = _PARAM.fullmatch(declaration)
        if match is None:
            raise Unsupported(f"{kernel.name}: parameter {declaration!r}")
        alignment, kind, name, count = match.groups()
        unit = int(alignment or num_bytes(kind))
        offset = (kernel.params_bytes + unit - 1) // unit * unit
        size = num_bytes(kind) * int(count or 1)
        kernel.params[name] = (offset, size)
        kernel.params_bytes = offset + size


class _Body:
    """Takes the statements of one kernel in turn."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def add(self, statement: Statement) -> None:
        kernel, text = self._kernel, statement.text
        if text.endswith(":"):
            kernel.labels[text[:-1]] = len(kernel.instructions)
        elif text.startswith(".reg"):
            for name, kind in _declared_registers(text):
                kernel.registers[_scoped(name, statement.scopes[-1])] = kind
        elif variable := _VARIABLE.match(text):
            kernel.variables.append(_variable(variable))
        elif not text.startswith(_IGNORED):
            kernel.instructions.append(self._instruction(statement))

    def _instruction(self, statement: Statement) -> Instruction:
        match = _INSTRUCTION.fullmatch(statement.text)
        if match is None:
            raise Unsupported(f"line {statement.line}: {statement.text}")
        negation, guard, opcode, rest = match.groups()
        operands = tuple(self._operand(piece.strip(), statement) for piece in _OPERAND.findall(rest))
        guard_register = self._register(guard, statement) if guard else None
        return Instruction(
            opcode,
            operands,
            guard_register.name if guard_register else None,
            negation == "!",
            statement.line,
            statement.text,
        )

    def _register(self, name: str, statement: Statement) -> Register | None:
        """The register of this name in the innermost scope that has one."""
        for scope in reversed(statement.scopes):
            if _scoped(name, scope) in self._kernel.registers:
                return Register(_scoped(name, scope))
        return None

    def _operand(self, text: str, statement: Statement) -> Operand:
        if text.startswith("{"):
            return Vector(tuple(self._operand(piece.strip(), statement) for piece in text[1:-1].split(",")))
        if text.startswith("["):
            base, sign, offset = re.fullmatch(r"\[\s*([^+\s\]-]+)\s*([+-]?)\s*(-?\w*)\s*\]", text).groups()  # type: ignore[union-attr]
            distance = int(offset or "0", 0) * (-1 if sign == "-" else 1)
            return Address(self._operand(base, statement), distance)  # type: ignore[arg-type]
        if "|" in text:
            return Vector(tuple(self._operand(piece.strip(), statement) for piece in text.split("|")))
        if text == "_":
            return Sink()
        if bits := _FLOAT_BITS.fullmatch(text):
            return Immediate(int(bits[1] or bits[2], 16))
        if _INTEGER.fullmatch(text):
            return Immediate(int(text.rstrip("U"), 0))
        if _SPECIAL.fullmatch(text):
            return Special(text)
        register = self._register(text, statement)
        if register is not None:
            return register
        if re.fullmatch(r"[$A-Za-z_][$\w]*", text):
            return Symbol(text)
        raise Unsupported(f"line {statement.line}: {statement.text}: operand {text!r}")


def _scoped(name: str, scope: int) -> str:
    return f"{name}@{scope}" if scope else name


def _declared_registers(text: str) -> Iterator[tuple[str, str]]:
    match = re.fullmatch(r"\.reg\s+\.(\w+)\s+(.*)", text)
    if match is None:
        raise Unsupported(f"declaration {text!r}")
    for name in match[2].split(","):
        if numbered := re.fullmatch(r"\s*([%\w$]+)<(\d+)>\s*", name):
            yield from ((f"{numbered[1]}{i}", match[1]) for i in range(int(numbered[2])))
        else:
            yield name.strip(), match[1]
