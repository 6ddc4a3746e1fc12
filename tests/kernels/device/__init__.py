"""What nvcc makes of csrc/kernels, read without a GPU: PTX, registers and shared memory, machine code."""
