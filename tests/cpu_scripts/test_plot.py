"""plot_cpu.py says what it needs."""

from __future__ import annotations

import importlib.util

import plot_cpu
import pytest


def test_without_matplotlib_it_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["plot_cpu.py", str(tmp_path / "record.json"), str(tmp_path / "figure.svg")])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as end:
        plot_cpu.main()
    assert end.value.code == 2
    assert "matplotlib not installed: pip install '.[compare]'" in capsys.readouterr().err
