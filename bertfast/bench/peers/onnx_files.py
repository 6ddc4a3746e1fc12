"""A model as ONNX files: exported, fused by ONNX Runtime's optimizer for transformers, quantised."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import torch

from bertfast.bench.models import build

#: What the optimizer must find in every layer; less is a peer that runs with the brakes on.
_FUSED_BY_LAYER = {"Attention": 1, "BiasGelu": 1, "SkipLayerNormalization": 2}


def exported(model: str, folder: Path) -> Path:
    """From torch, float32, any batch and length."""
    path = folder / "exported.onnx"
    if not path.exists():
        # The optimizer knows eager attention as the TorchScript exporter writes it: of the other exporter's graph, or
        # of sdpa, it fuses no attention.
        module = build(model, attention="eager")
        mask = torch.ones(2, 16, dtype=torch.long)
        mask[0, 9:] = 0
        ids = torch.randint(1000, 30000, mask.shape) * mask
        names: dict[str, Any] = {"input_names": ["input_ids", "attention_mask"], "output_names": ["out"]}
        axes = {"input_ids": {0: "B", 1: "S"}, "attention_mask": {0: "B", 1: "S"}, "out": {0: "B"}}
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module, (ids, mask), str(path), dynamo=False, opset_version=17, dynamic_axes=axes, **names
            )
    return path


def fused(model: str, folder: Path) -> Path:
    """With the operators that ONNX Runtime has for transformers. Fails if they were not found."""
    path = folder / "fused.onnx"
    if not path.exists():
        from onnxruntime.transformers import optimizer

        config = build(model).encoder.config
        heads, hidden = config.num_attention_heads, config.hidden_size
        optimised = optimizer.optimize_model(
            str(exported(model, folder)), model_type="bert", num_heads=heads, hidden_size=hidden, opt_level=1
        )
        found = optimised.get_fused_operator_statistics()
        wanted = {name: count * config.num_hidden_layers for name, count in _FUSED_BY_LAYER.items()}
        missed = {name: f"{found.get(name, 0)} of {n}" for name, n in wanted.items() if found.get(name, 0) < n}
        if missed:
            raise RuntimeError(f"ONNX Runtime's optimizer did not fuse the exported model: {missed}")
        optimised.save_model_to_file(str(path))
    return path


def quantised(source: Path) -> Path:
    """Weights in int8 by channel, over their whole range; activations are quantised at run time."""
    path = source.with_suffix(".int8.onnx")
    if not path.exists():
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        # It advises a pass that the fused graph has had.
        logging.getLogger().setLevel(logging.ERROR)
        quantize_dynamic(
            source,
            path,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=False,
            # ONNX's shape inference does not know the fused operators.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    return path
