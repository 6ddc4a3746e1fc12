"""The readers of nvcc's reports and of machine code, on small texts."""

from __future__ import annotations

import pytest

from kernels.device.resources import Resources, ResourceTable
from kernels.device.sass import parse_disassembly
from kernels.device.table import ALLOWED_REGISTER_GROWTH, differences
from kernels.device.tools import MissingTool, demangle


def test_disassembly_is_read() -> None:
    text = """
.text._Z1av:
        /*0000*/                   IMAD.MOV.U32 R1, RZ, RZ, c[0x0][0x28] ;
        /*0010*/              @!P1 LDG.E.128 R4, [R6.64] ;
        /*0020*/              @UP0 LDG.E.128.CONSTANT R4, desc[UR6][R6.64] ;
        /*0030*/                   LDGSTS.E.BYPASS.128 [R3], [R6.64] ;
        /*0040*/                   STL [R1], R4 ;
.text._Z1bv:
        /*0000*/                   EXIT ;
"""
    functions = parse_disassembly(text)
    assert functions["_Z1bv"] == {"EXIT": 1}
    instructions = functions["_Z1av"]
    assert instructions.number_of("LDG", "128") == 2
    assert instructions.number_of("LDGSTS") == 1
    assert instructions.number_of("STL") == 1
    assert instructions.number_of("LDL") == 0


def test_table_notices_every_change() -> None:
    def table(needs: Resources, name: str = "kernel<float>", architecture: str = "80") -> ResourceTable:
        return {name: {architecture: needs}}

    committed = table(Resources(32, 0, 0, 0))
    assert differences(committed, committed) == []
    assert differences(table(Resources(32 + ALLOWED_REGISTER_GROWTH, 0, 0, 0)), committed) == []
    assert differences(table(Resources(20, 0, 0, 0)), committed) == []
    changed = (
        table(Resources(33 + ALLOWED_REGISTER_GROWTH, 0, 0, 0)),
        table(Resources(32, 16, 0, 0)),
        table(Resources(32, 0, 8, 0)),
        table(Resources(32, 0, 0, 4)),
        table(Resources(32, 0, 0, 0), architecture="120"),
    )
    for other in changed:
        assert len(differences(other, committed)) == 1, other
    assert len(differences(table(Resources(32, 0, 0, 0), name="other"), committed)) == 2


def test_names_are_those_of_the_source() -> None:
    try:
        names = demangle(
            [
                "_ZN8bertfast16bias_gelu_kernelI6__halfLNS_10ActivationE0ELi8EEEvNS_14BiasGeluParamsE",
                "_ZN8bertfast16bias_gelu_kernelINS_9emulation7Float16ELNS_10ActivationE0ELi8EEEvNS_14BiasGeluParamsE",
                "_ZN8bertfast10pad_kernelENS_9PadParamsE",
            ]
        )
    except MissingTool as missing:
        pytest.skip(str(missing))
    assert names == ["bias_gelu_kernel<__half, (Activation)0, 8>"] * 2 + ["pad_kernel"]
