"""``bertfast._C``, the CUDA kernels and their operators."""
