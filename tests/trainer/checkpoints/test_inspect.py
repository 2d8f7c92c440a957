"""Checkpoints are inspected: what they contain, and whether names, shapes and values are right."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from segkit.errors import ModelError
from tests.trainer import single_file
from trainer.checkpoints import configs, export, identify, inspect, ldm, load, safe_load


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
    assert "Names and shapes are compared with config.json when it is loaded." in report.completeness
    assert inspect.inspect(base).completeness == report.completeness
    assert inspect.inspect(report.path).completeness.endswith("cannot be determined from the file alone.")


def test_the_folder_of_a_controlnet_is_compared_with_its_configuration(tmp_path: Path, base: Path) -> None:
    """A small one, whose names and shapes no released network has; one that lacks a weight is not complete."""
    model = load.load_controlnet("fresh", load.load_base(str(base)))
    export.write_folder(tmp_path, model)
    report = inspect.inspect(tmp_path)
    assert (report.compared, report.is_sound, report.completeness[:9]) == (True, True, "Complete;")

    state = model.state_dict()
    del state["conv_in.weight"]
    save_file(state, tmp_path / "diffusion_pytorch_model.safetensors")
    assert inspect.inspect(tmp_path).faults.missing == ("conv_in.weight",)


@pytest.mark.parametrize("layout", ["ldm", "diffusers"])
def test_a_fresh_controlnet_is_sound_and_called_fresh(tmp_path: Path, base: Path, layout: str) -> None:
    """It is no fault that a ControlNet has not been trained, but it is told."""
    fresh = load.load_controlnet("fresh", load.load_base(str(base)))
    save_file(ldm.to_state(fresh) if layout == "ldm" else fresh.state_dict(), tmp_path / "a.safetensors")

    report = inspect.inspect(tmp_path / "a.safetensors")

    assert report.is_sound
    assert report.notes == ("Its zero convolutions are zero: it is fresh and does not change a picture yet.",)
    assert report.to_json()["notes"] == list(report.notes)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_network_of_one_value_is_not_sound(tmp_path: Path, base: Path, value: float) -> None:
    """An all-zero or constant ControlNet is named by its layers."""
    fresh = load.load_controlnet("fresh", load.load_base(str(base)))
    state = {name: torch.full_like(weight, value) for name, weight in ldm.to_state(fresh).items()}
    save_file(state, tmp_path / "a.safetensors")

    report = inspect.inspect(tmp_path / "a.safetensors")

    assert not report.is_sound
    assert len(report.faults.constant if value else report.faults.zero) > 100
    assert ("of a single value" if value else "all zero") in report.faults.sentence()


def test_the_base_in_a_controlldm_is_checked_too(tmp_path: Path, base: Path) -> None:
    """A broken weight beside the ControlNet is found."""
    loaded = load.load_base(str(base))
    state = single_file.state(loaded)
    fresh = ldm.to_state(load.load_controlnet("fresh", loaded))
    state["model.diffusion_model.out.2.bias"][0] = torch.inf
    save_file(state | {f"control_model.{name}": weight for name, weight in fresh.items()}, tmp_path / "a.safetensors")

    report = inspect.inspect(tmp_path / "a.safetensors")
    assert (report.identity.kind, report.faults.broken) == ("controlldm", ("model.diffusion_model.out.2.bias",))


def test_a_base_that_lacks_a_part_is_noted(tmp_path: Path, base: Path) -> None:
    """A UNet in a base's layout without a text encoder is sound, and no base."""
    state = single_file.state(load.load_base(str(base)))
    unet = {name: weight for name, weight in state.items() if name.startswith("model.diffusion_model.")}
    save_file(unet, tmp_path / "a.safetensors")

    (note,) = inspect.inspect(tmp_path / "a.safetensors").notes
    assert note.startswith("It cannot be used as a base: ")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_eight_bit_values_are_checked(tmp_path: Path, dtype: torch.dtype) -> None:
    """NaN in fp8 is found, and the precision is named."""
    state = {"decoder.conv_in.weight": torch.randn(4, 4).to(dtype), "decoder.x.weight": torch.randn(4, 4)}
    state["decoder.x.weight"][0, 0] = torch.nan
    save_file(state | {"decoder.x.weight": state["decoder.x.weight"].to(dtype)}, tmp_path / "a.safetensors")

    report = inspect.inspect(tmp_path / "a.safetensors")
    assert report.faults.broken == ("decoder.x.weight",)
    assert report.identity.precision.startswith("fp8")


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
