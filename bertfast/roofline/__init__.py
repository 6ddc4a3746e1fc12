"""How fast the CUDA kernels could be at best: what they have to do, and what GPUs have. Nothing here is measured."""
