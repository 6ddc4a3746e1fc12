"""How candidates look in figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

#: A colour and a name for each, in the order of legends.
STYLES = {
    "bertfast": ("#d62728", "bertfast"),
    "bertfast-released": ("#ff9896", "bertfast, originals freed"),
    "transformers": ("#7f7f7f", "transformers, sdpa"),
    "compiled": ("#bcbd22", "torch.compile"),
    "compiled-static": ("#8c8a14", "torch.compile, one shape"),
    "onnxruntime": ("#1f77b4", "ONNX Runtime, fused"),
    "onnxruntime-plain": ("#6baed6", "ONNX Runtime"),
    "openvino": ("#9467bd", "OpenVINO"),
    "ctranslate2": ("#2ca02c", "CTranslate2"),
}


def legend_of(axes: Iterable[Any]) -> dict[str, Any]:
    """What has been drawn, by its label, each once."""
    return {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
