"""Whole encoders beside stock transformers, torch.compile and flash-attention: ``benchmarks.gpu.encoder.bench``."""
