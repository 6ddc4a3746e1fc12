"""Every kernel beside PyTorch's op: ``benchmarks.gpu.kernels.bench``."""
