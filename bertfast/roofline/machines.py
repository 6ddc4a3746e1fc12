"""GPUs and their multiprocessors: what the makers state, for rooflines and occupancy. Nothing here is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Multiprocessor:
    """What one multiprocessor has for the blocks that are on it at a time.

    CUDA C++ Programming Guide 13.0, "Technical Specifications per Compute Capability"; the last four also by
    cuda_occupancy.h of the toolkit.
    """

    compute_capability: str
    max_warps: int
    max_blocks: int
    smem_bytes: int
    reserved_smem_bytes: int  # of each block, by the system
    smem_unit_bytes: int = 128
    registers: int = 65536
    register_unit: int = 256  # a warp
    partitions: int = 4  # each with its share of the registers


MULTIPROCESSORS = {
    "75": Multiprocessor("7.5", 32, 16, 64 << 10, 0, smem_unit_bytes=256),
    "80": Multiprocessor("8.0", 64, 32, 164 << 10, 1024),
    "86": Multiprocessor("8.6", 48, 16, 100 << 10, 1024),
    "89": Multiprocessor("8.9", 48, 24, 100 << 10, 1024),
    "90a": Multiprocessor("9.0", 64, 32, 228 << 10, 1024),
    "100": Multiprocessor("10.0", 64, 32, 228 << 10, 1024),
    "120": Multiprocessor("12.0", 48, 24, 100 << 10, 1024),
}


@dataclass(frozen=True)
class Gpu:
    """Peaks of the data sheet: dense, boost clock. ``tensor_flops``: 16-bit factors, float32 sums."""

    name: str
    architecture: str
    source: str
    multiprocessors: int
    float_lanes: int  # of one multiprocessor
    bytes_per_s: float
    float_flops: float
    tensor_flops: float

    @property
    def special_ops(self) -> float:
        """exp2, rsqrt and the like a second: 16 a clock and multiprocessor (the guide's table of throughputs)."""
        clock = self.float_flops / (2 * self.float_lanes * self.multiprocessors)
        return 16 * clock * self.multiprocessors


GPUS = (
    Gpu("A100 SXM 80 GB", "80", "NVIDIA A100 data sheet, 2021", 108, 64, 2.039e12, 19.5e12, 312e12),
    Gpu("L4", "89", "NVIDIA L4 data sheet, 2023", 58, 128, 0.300e12, 30.3e12, 121e12),
    Gpu("H100 SXM", "90a", "NVIDIA H100 data sheet, 2023", 132, 128, 3.35e12, 67e12, 989e12),
    Gpu("H200 SXM", "90a", "NVIDIA H200 data sheet, 2024", 132, 128, 4.8e12, 67e12, 989e12),
)
