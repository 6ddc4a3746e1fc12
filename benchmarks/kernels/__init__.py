"""Every op and dense layer beside PyTorch's own, by pytest-benchmark. docs/benchmarking.md."""
