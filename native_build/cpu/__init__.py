"""``bertfast._cpu``, the CPU kernels."""
