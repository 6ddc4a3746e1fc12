"""Calls every op once for each way through its launcher, and little else: what compute-sanitizer watches.

    PYTHONPATH=.:tests python -m gpu.sanitizer_probe [--device cuda] [--every 1]

Inputs are made on the CPU and copied, so that nearly all kernels that run on the GPU are bertfast's.
"""

from __future__ import annotations

import argparse

import torch

from gpu.op_cases import KERNEL_DTYPES, OpCase, cases, on_device, results


def chosen(every: int) -> list[OpCase]:
    """One of ``every`` cases, but at least one of each op in each dtype."""
    met: set[tuple[str, torch.dtype]] = set()
    kept = []
    for i, case in enumerate(cases(KERNEL_DTYPES)):
        if i % every == 0 or (case.op, case.dtype) not in met:
            met.add((case.op, case.dtype))
            kept.append(case)
    return kept


def main() -> None:
    """An error of CUDA ends the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--every", type=int, default=1, help="one of so many cases")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    print(launch(chosen(arguments.every), device))


def launch(selected: list[OpCase], device: torch.device) -> str:
    """Run them; says how many were run, and how many the device does not take."""
    taken = [case for case in selected if _takes(device, case.dtype)]
    for case in taken:
        for part in results(case, on_device(case.make(), device)):
            part.cpu()
    said = f"launched every kernel: {len(taken)} calls of {len({case.op for case in taken})} ops"
    left_out = len(selected) - len(taken)
    return f"{said}; left out {left_out} in bfloat16, which takes compute capability 8.0" if left_out else said


def _takes(device: torch.device, dtype: torch.dtype) -> bool:
    return device.type == "cpu" or dtype != torch.bfloat16 or torch.cuda.get_device_capability(device) >= (8, 0)


if __name__ == "__main__":
    main()
