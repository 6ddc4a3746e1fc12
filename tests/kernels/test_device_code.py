"""Static checks of what nvcc makes of each kernel, for each architecture: registers, spills, machine instructions."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from kernels.device.compiler import DeviceCode
from kernels.device.resources import Resources, ResourceTable, parse_report, read_resources
from kernels.device.sass import Instructions, disassemble, parse_disassembly
from kernels.device.table import ALLOWED_REGISTER_GROWTH, RENEW, differences, load_table
from kernels.device.tools import MissingTool, demangle

_VECTOR_BYTES = 16
_ELEMENT_BYTES = {"float": 4, "__half": 2, "__nv_bfloat16": 2, "unsigned int": 4, "unsigned short": 2}
# Which template arguments of a kernel are the type of an element, and how many of them it loads and stores at once.
# Those of RowLayout and CopyUnit are counted one by one.
_VECTOR_ARGUMENTS = {
    "bias_gelu_kernel": (0, 2),
    "embedding_layer_norm_kernel": (0, 2),
    "gather_first_kernel": (1, 2),
    "pad_input_kernel": (1, 2),
    "residual_layer_norm_kernel": (0, 2),
}
# These also read ids or indices, one by one.
_READ_IDS = {"embedding_layer_norm_kernel", "gather_first_kernel", "pad_input_kernel"}


@dataclass(frozen=True)
class Instance:
    """The machine code of one instance of a kernel for one architecture."""

    name: str
    architecture: str
    instructions: Instructions

    @property
    def kernel(self) -> str:
        return self.name.partition("<")[0]

    @property
    def arguments(self) -> list[str]:
        return [argument.strip() for argument in re.findall(r"[^<>,]+", self.name.partition("<")[2])]

    @property
    def is_vectorized(self) -> bool:
        if self.kernel not in _VECTOR_ARGUMENTS:
            return False
        element, width = (self.arguments[i] for i in _VECTOR_ARGUMENTS[self.kernel])
        return int(width) * _ELEMENT_BYTES[element] == _VECTOR_BYTES

    def __str__(self) -> str:
        return f"{self.name} for sm_{self.architecture}"


@pytest.fixture(scope="module")
def resources(device_code: list[DeviceCode]) -> ResourceTable:
    try:
        return read_resources(device_code)
    except MissingTool as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def instances(device_code: list[DeviceCode]) -> list[Instance]:
    try:
        return [
            Instance(name, code.architecture, instructions)
            for code in device_code
            for name, instructions in disassemble(code).items()
        ]
    except MissingTool as missing:
        pytest.skip(str(missing))


@pytest.mark.slow
def test_every_kernel_is_compiled(device_code: list[DeviceCode], resources: ResourceTable) -> None:
    """Each instance exists for each architecture: what one cannot do is compiled to a trap, not left out."""
    architectures = {code.architecture for code in device_code}
    for name, by_architecture in resources.items():
        assert by_architecture.keys() == architectures, name
    kernels = {name.partition("<")[0] for name in resources}
    assert {"bias_gelu_kernel", "residual_layer_norm_kernel"} <= kernels


@pytest.mark.slow
def test_nothing_leaves_the_registers(resources: ResourceTable) -> None:
    for name, by_architecture in resources.items():
        for architecture, needs in by_architecture.items():
            where = f"{name} for sm_{architecture}: {needs}"
            assert needs.stack_bytes == 0, where
            assert needs.spill_bytes == 0, where


@pytest.mark.slow
def test_resources_are_those_of_the_table(resources: ResourceTable) -> None:
    found = differences(resources, load_table())
    assert not found, "\n".join([*found, f"If it has to be so: {RENEW}"])


@pytest.mark.slow
def test_local_memory_is_never_touched(instances: list[Instance], resources: ResourceTable) -> None:
    assert {instance.name for instance in instances} == resources.keys()
    for instance in instances:
        assert instance.instructions.total() > 10, instance
        for access in ("LDL", "STL"):
            assert instance.instructions.number_of(access) == 0, f"{instance}: {access}"


@pytest.mark.slow
def test_vector_instances_move_16_bytes_at_once(instances: list[Instance]) -> None:
    vectorized = [instance for instance in instances if instance.is_vectorized]
    assert {instance.kernel for instance in vectorized} == _VECTOR_ARGUMENTS.keys()
    for instance in vectorized:
        for access in ("LDG", "STG"):
            wide = instance.instructions.number_of(access, "128")
            assert wide > 0, f"{instance}: no {access}.128"
            if access == "STG" or instance.kernel not in _READ_IDS:
                assert wide == instance.instructions.number_of(access), f"{instance}: a narrow {access}"


_REPORT = """\
ptxas info    : Compiling entry function '_Z1av' for 'sm_80'
ptxas info    : Function properties for _Z1av
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 18 registers, used 0 barriers, 400 bytes cmem[0]
ptxas info    : Compile time = 13.891 ms
ptxas info    : Compiling entry function '_Z1bv' for 'sm_80'
ptxas info    : Function properties for _Z1bv
    24 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 24 bytes cumulative stack size, 1024 bytes smem, 400 bytes cmem[0]
"""


def test_report_is_read() -> None:
    assert parse_report(_REPORT) == {"_Z1av": Resources(18, 0, 0, 0), "_Z1bv": Resources(255, 1024, 24, 20)}
    with pytest.raises(ValueError, match="not understood"):
        parse_report(_REPORT.replace("Used 255", "Uses 255"))


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
