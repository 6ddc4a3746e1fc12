"""Where exported models are kept."""

from __future__ import annotations

import shutil

from transformers import BertConfig

from bertfast.bench.exports import folder_for


def test_exported_files_go_to_a_folder_of_their_model_and_versions_or_away(tmp_path):
    with folder_for("bert-tiny", tmp_path) as kept:
        assert kept.parent == tmp_path
        assert kept.name.startswith("bert-tiny-torch")
    with folder_for("bert-tiny", None) as lost:
        assert lost.is_dir()
    assert kept.is_dir()
    assert not lost.exists()


def test_a_checkpoint_that_has_changed_has_another_folder(tmp_path):
    model, cache = tmp_path / "my model", tmp_path / "cache"
    BertConfig().save_pretrained(model)
    (model / "weights").write_text("1")
    with folder_for(str(model), cache) as first, folder_for(str(model), cache) as again:
        assert first == again
        assert first.name.startswith("my-model-")
    (model / "weights").write_text("12")
    with folder_for(str(model), cache) as changed:
        assert changed != first
    other = tmp_path / "other" / "my model"
    shutil.copytree(model, other)
    BertConfig(hidden_size=24).save_pretrained(other)
    with folder_for(str(other), cache) as another:
        assert another != changed
