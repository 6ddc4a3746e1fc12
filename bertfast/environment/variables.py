"""Which variables of the environment change what bertfast, torch and the libraries beneath do."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from bertfast.environment.privacy import public

_NAMES = re.compile(
    r"(BERTFAST|OMP|GOMP|KMP|MKL|ONEDNN|DNNL|OPENBLAS|ATEN|CUDA|CUBLAS|CUDNN|PYTORCH|TORCH|TORCHINDUCTOR|TORCHDYNAMO|"
    r"MALLOC)_\w+"
    r"|NVIDIA_TF32_OVERRIDE|NVIDIA_VISIBLE_DEVICES|HF_HUB_OFFLINE|TRANSFORMERS_OFFLINE|TOKENIZERS_PARALLELISM|LD_PRELOAD"
)
_SECRET = re.compile(r"TOKEN(?!IZERS)|KEY|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)


def relevant_variables(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Those that are set, by name, without paths. environment: instead of the process's."""
    found = os.environ if environment is None else environment
    names = sorted(name for name in found if _NAMES.fullmatch(name) and not _SECRET.search(name))
    return {name: public(found[name]) for name in names}
