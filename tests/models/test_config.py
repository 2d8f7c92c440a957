"""A model's config.json is read, and models of remote code are refused."""

import json
from pathlib import Path

import pytest

from segkit.errors import ModelError
from segkit.models import config
from tests.conftest import Models

CUSTOM = {"auto_map": {"AutoConfig": "code.Config"}}


def write(folder: Path, content: object) -> Path:
    """Write config.json."""
    (folder / "config.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_the_configuration_is_loaded(models: Models) -> None:
    """The shipped networks' types are recognised."""
    assert config.load(models.oneformer, "segmenter").model_type == "oneformer"
    assert config.load(models.blip, "captioner").model_type == "blip"


@pytest.mark.parametrize("content", ["{", "[]", {"model_type": "nonsense"}])
def test_a_damaged_configuration_is_one_line(tmp_path: Path, content: object) -> None:
    """Broken JSON, another structure and an unknown type name the role and the folder."""
    with pytest.raises(ModelError, match=r"config\.json cannot be used \(") as refused:
        config.load(write(tmp_path, content), "captioner")

    assert str(refused.value).startswith(f"captioner {tmp_path}: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("role", config.SUPPORTED)
def test_remote_code_is_refused(tmp_path: Path, role: str) -> None:
    """The message suggests the short names of the role, and no code is run."""
    folder = write(tmp_path, {"model_type": "mine", **CUSTOM})
    (folder / "code.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n")

    with pytest.raises(ModelError, match="needs remote code, which segkit never runs") as refused:
        config.load(folder, role)

    assert config.SUPPORTED[role] in str(refused.value)
    assert not (tmp_path / "ran").exists()


def test_custom_code_of_a_known_type_is_ignored(tmp_path: Path) -> None:
    """Released checkpoints keep an auto_map although transformers has the model by now."""
    config.refuse_remote_code(write(tmp_path, {"model_type": "florence2", **CUSTOM}), "mine", "captioner")


def test_broken_json_is_left_to_the_loader(tmp_path: Path) -> None:
    """The check for remote code reports nothing else."""
    config.refuse_remote_code(write(tmp_path, "{"), "mine", "captioner")
