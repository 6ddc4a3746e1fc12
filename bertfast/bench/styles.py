"""How figures look, candidates in them, and how they are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
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
#: The same bytes from the same figures: no random ids, no date, text as text.
RC = {"svg.hashsalt": "bertfast", "svg.fonttype": "none", "font.size": 8}


@contextmanager
def svg(path: Path) -> Iterator[Any]:
    """matplotlib's pyplot; the figure made by it is written in the end. Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    with matplotlib.rc_context(RC):
        try:
            yield pyplot
            path.parent.mkdir(parents=True, exist_ok=True)
            pyplot.savefig(path, format="svg", metadata={"Date": None})
        finally:
            pyplot.close()


def legend_of(axes: Iterable[Any]) -> dict[str, Any]:
    """What has been drawn, by its label, each once."""
    return {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
