"""How candidates look in figures."""

from __future__ import annotations

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
#: The same bytes from the same figures: no random ids, no date, text as text.
RC = {"svg.hashsalt": "bertfast", "svg.fonttype": "none", "font.size": 8}
