"""``make gpu``: builds, tests and times bertfast on an NVIDIA GPU, in stages that can be chosen. docs/gpu.md."""
