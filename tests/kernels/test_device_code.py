"""Static checks of what nvcc makes of each kernel, for each architecture: registers, spills, machine instructions."""

from __future__ import annotations

import pytest

from kernels.device.compiler import DeviceCode
from kernels.device.instances import AMPERE, VECTOR_ARGUMENTS, Instance
from kernels.device.resources import ResourceTable
from kernels.device.table import RENEW, differences, load_table

pytestmark = pytest.mark.slow

# These also read ids or indices, one by one.
_READ_IDS = {"embedding_layer_norm_kernel", "gather_first_kernel", "pad_input_kernel"}


def test_every_kernel_is_compiled(device_code: list[DeviceCode], resources: ResourceTable) -> None:
    """Each instance exists for each architecture: what one cannot do is compiled to a trap, not left out."""
    architectures = {code.architecture for code in device_code}
    for name, by_architecture in resources.items():
        assert by_architecture.keys() == architectures, name
    kernels = {name.partition("<")[0] for name in resources}
    assert {"bias_gelu_kernel", "residual_layer_norm_kernel"} <= kernels


def test_nothing_leaves_the_registers(resources: ResourceTable) -> None:
    for name, by_architecture in resources.items():
        for architecture, needs in by_architecture.items():
            where = f"{name} for sm_{architecture}: {needs}"
            assert needs.stack_bytes == 0, where
            assert needs.spill_bytes == 0, where


def test_resources_are_those_of_the_table(resources: ResourceTable) -> None:
    found = differences(resources, load_table())
    assert not found, "\n".join([*found, f"If it has to be so: {RENEW}"])


def test_local_memory_is_never_touched(instances: list[Instance], resources: ResourceTable) -> None:
    assert {instance.name for instance in instances} == resources.keys()
    for instance in instances:
        assert instance.instructions.total() > 0, instance
        for access in ("LDL", "STL"):
            assert instance.instructions.number_of(access) == 0, f"{instance}: {access}"


def test_vector_instances_move_16_bytes_at_once(instances: list[Instance]) -> None:
    vectorized = [instance for instance in instances if instance.is_vectorized]
    assert {instance.kernel for instance in vectorized} == VECTOR_ARGUMENTS.keys()
    for instance in vectorized:
        for access in ("LDG", "STG"):
            wide = instance.instructions.number_of(access, "128")
            assert wide > 0, f"{instance}: no {access}.128"
            if access == "STG" or instance.kernel not in _READ_IDS:
                assert wide == instance.instructions.number_of(access), f"{instance}: a narrow {access}"


def test_attention_uses_tensor_cores(instances: list[Instance]) -> None:
    """Products, their operands from shared memory, asynchronous copies since Ampere; and whole vectors go out."""
    on_tensor_cores = [instance for instance in instances if instance.tensor_cores is not None]
    assert {instance.kernel for instance in on_tensor_cores} == {
        "varlen_attention_flash_kernel",
        "varlen_attention_short_kernel",
    }
    for instance in on_tensor_cores:
        count = instance.instructions.number_of
        if instance.is_for_other_devices:
            assert count("BPT", "TRAP") > 0, f"{instance}: no trap"
            assert count("HMMA") == 0, f"{instance}: more than a trap"
            continue
        assert count("HMMA") > 0, f"{instance}: no HMMA"
        assert count("LDSM") > 0, f"{instance}: no LDSM"
        assert (count("LDGSTS", "128") > 0) == (instance.tensor_cores == AMPERE), f"{instance}: LDGSTS"
        assert count("STG", "128") == count("STG") > 0, f"{instance}: a narrow STG"


def test_only_other_devices_are_refused(instances: list[Instance]) -> None:
    for instance in instances:
        is_trap = instance.instructions.number_of("BPT", "TRAP") > 0
        assert is_trap == instance.is_for_other_devices, instance


def test_first_token_attention_reads_16_bytes_at_once(instances: list[Instance]) -> None:
    """Its keys and values, wherever they lie as they should; the result is small and leaves by elements."""
    found = [instance for instance in instances if instance.kernel == "first_token_attention_kernel"]
    assert found
    for instance in found:
        width = int(instance.arguments[2])
        assert (instance.instructions.number_of("LDG", "128") > 0) == (width > 1), instance
