"""Checkpoints are inspected: what they contain, and whether names, shapes and values are right."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from segkit.errors import ModelError
from tests.trainer import single_file
from trainer.checkpoints import configs, identify, inspect, ldm, load, safe_load


@pytest.mark.parametrize("family", ["sd15", "sd21"])
def test_names_and_shapes_of_released_families_are_compared(tmp_path: Path, family: str) -> None:
    """Of two weights of a released ControlNet, one has the wrong shape, and all others are missing."""
    model = ldm.empty(configs.released(family))
    width = model.config.cross_attention_dim
    state = {
        "control_model.zero_convs.0.0.weight": torch.ones(320, 8, 1, 1),
        "control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": torch.ones(320, width),
    }
    save_file(state, tmp_path / "a.safetensors", {"base": "x"})

    report = inspect.inspect(tmp_path / "a.safetensors")

    assert (report.compared, report.is_sound, report.metadata) == (True, False, {"base": "x"})
    assert len(report.faults.missing) == len(model.state_dict()) - 2
    (shape,) = report.faults.shapes
    assert shape == "control_model.zero_convs.0.0.weight (320, 8, 1, 1) instead of (320, 320, 1, 1)"
    assert report.faults.extra == report.faults.broken == ()


def test_a_folder_is_inspected_by_its_weights(base: Path) -> None:
    """A diffusers folder of one network is a path too; its values are checked and its names are not known."""
    report = inspect.inspect(base / "vae")

    assert report.path.parent == base / "vae"
    assert (report.identity.kind, report.compared, report.is_sound) == ("vae", False, True)
    assert report.to_json()["file"] == str(report.path)
    assert report.to_json()["sound"] is True
    assert report.identity == identify.identify(safe_load.read(report.path))


def test_another_file_is_refused(tmp_path: Path) -> None:
    """A file that is not a checkpoint is an error that names it."""
    (tmp_path / "a.safetensors").write_text("hello")
    with pytest.raises(ModelError, match=r"a\.safetensors"):
        inspect.inspect(tmp_path / "a.safetensors")


def test_position_ids_are_not_a_fault(tmp_path: Path, base: Path) -> None:
    """The integer buffer in old CLIP files is ignored when a base is inspected."""
    state = {name: weight.half() for name, weight in single_file.state(load.load_base(str(base))).items()}
    position_ids = next(name for name in state if name.endswith("position_ids"))
    save_file(state | {position_ids: torch.arange(77)[None]}, tmp_path / "base.safetensors")

    report = inspect.inspect(tmp_path / "base.safetensors")
    assert (report.is_sound, report.identity.precision, report.identity.kind) == (True, "fp16", "stable-diffusion")
