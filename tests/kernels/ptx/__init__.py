"""An interpreter of PTX, the code that nvcc makes of kernels, in numpy: all threads of a block at once.

It runs what a GPU would run, the device branches of csrc/kernels/intrinsics*.cuh included, which the emulation on
the host cannot see. Whatever it does not know is an error that names the line.
"""

from kernels.ptx.errors import Fault, Unsupported
from kernels.ptx.launch import Launch, run_launch
from kernels.ptx.memory import GlobalMemory
from kernels.ptx.parser import Module

__all__ = ["Fault", "GlobalMemory", "Launch", "Module", "Unsupported", "run_launch"]
