"""ControlNets and VAEs are compared with the base by configurations and headers, before anything slow begins."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from segkit.errors import ModelError
from segkit.models import hub
from tests.conftest import Models, Segkit
from tests.trainer import single_file as layout
from trainer.checkpoints import configs, find, fitting, ldm, load
from trainer.checkpoints.components import read_json


@pytest.fixture(scope="module")
def folder(base: Path) -> Any:
    """The networks of a small Stable Diffusion 1."""
    return load.load_base(str(base))


@pytest.fixture(scope="module")
def file(folder: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same base in one file."""
    path = tmp_path_factory.mktemp("file") / "base.safetensors"
    save_file(layout.state(folder), path)
    return path


def require(base: Path, controlnet: Path | None = None, vae: str = "") -> None:
    """Compare networks as a training does before it reads its dataset."""
    weights = find.find_controlnet(str(controlnet)) if controlnet else None
    fitting.require_fitting(str(base), weights, vae, None)


def test_a_file_is_compared_with_a_base_in_a_file(folder: Any, file: Path, sdxl: Path, tmp_path: Path) -> None:
    """A ControlNet of another family and one of another size are refused; the base's own fits."""
    fresh, foreign = load.load_controlnet("fresh", folder), load.load_controlnet("fresh", load.load_base(str(sdxl)))
    ldm.save_ldm(fresh, tmp_path / "fits.safetensors")
    ldm.save_ldm(foreign, tmp_path / "xl.safetensors", layout="diffusers")
    state = ldm.to_state(fresh) | {"input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": torch.ones(32, 48)}
    save_file(state, tmp_path / "narrow.safetensors")

    require(file, tmp_path / "fits.safetensors")
    with pytest.raises(ModelError, match="made for Stable Diffusion XL, the base is of Stable Diffusion 1"):
        require(file, tmp_path / "xl.safetensors")
    with pytest.raises(ModelError, match=r"\(32, 48\) instead of \(32, 64\).*Its size differs from the base's"):
        require(file, tmp_path / "narrow.safetensors")
    with pytest.raises(ModelError, match=r"This is a ControlNet.*Expected a Stable Diffusion"):
        require(tmp_path / "fits.safetensors")


def test_a_folder_is_compared_with_a_base_in_a_file(file: Path, sdxl: Path, tmp_path: Path) -> None:
    """A ControlNet's folder of another family is refused by its configuration."""
    load.load_controlnet("fresh", load.load_base(str(sdxl))).save_pretrained(tmp_path / "xl")
    with pytest.raises(ModelError, match="made for Stable Diffusion XL, the base is of Stable Diffusion 1"):
        require(file, tmp_path / "xl")


@pytest.mark.parametrize("of", ["file", "folder"])
def test_a_vae_is_compared_without_its_values(
    folder: Any, file: Path, base: Path, tmp_path: Path, models: Models, of: str
) -> None:
    """Missing weights are refused early; NaN when the base is loaded, which is the only time that values are read."""
    source, path = file if of == "file" else base, tmp_path / "vae.safetensors"
    state = folder.vae.state_dict()
    name = "decoder.conv_in.bias"

    save_file({key: state[key] for key in state if key != name}, path)
    with pytest.raises(ModelError, match=f"1 tensor missing, such as {name}"):
        require(source, vae=str(path))
    save_file(state | {name: state[name] * torch.nan}, path)
    require(source, vae=str(path))
    with pytest.raises(ModelError, match=f"1 tensor NaN or infinite, such as {name}"):
        load.load_base(str(source), str(models.clip), vae=str(path))


def test_a_vae_s_folder_is_compared_too(folder: Any, file: Path, tmp_path: Path) -> None:
    """Its configuration tells the factor of its latents, and its file's header the shapes."""
    folder.vae.save_pretrained(tmp_path / "vae")
    weights = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    require(file, vae=str(tmp_path / "vae"))

    save_file({"decoder.conv_in.bias": torch.ones(3)}, weights)
    with pytest.raises(ModelError, match="weights are missing or of wrong shape"):
        require(file, vae=str(tmp_path / "vae"))


def test_a_base_without_a_vae_is_refused_early(folder: Any, tmp_path: Path) -> None:
    """The header tells, unless another VAE is named."""
    state = {name: weight for name, weight in layout.state(folder).items() if not name.startswith("first_stage")}
    save_file(state, tmp_path / "base.safetensors")
    save_file(folder.vae.state_dict(), tmp_path / "vae.safetensors")

    require(tmp_path / "base.safetensors", vae=str(tmp_path / "vae.safetensors"))
    with pytest.raises(ModelError, match="it lacks first_stage_model"):
        require(tmp_path / "base.safetensors")


def test_a_pickle_is_not_read_to_be_compared(folder: Any, tmp_path: Path) -> None:
    """It has no header: a base whose end is missing is refused when it is loaded."""
    torch.save(layout.state(folder), tmp_path / "base.ckpt")
    data = (tmp_path / "base.ckpt").read_bytes()
    (tmp_path / "base.ckpt").write_bytes(data[: len(data) // 2])

    require(tmp_path / "base.ckpt")
    with pytest.raises(ModelError, match="damaged or truncated"):
        load.load_base(str(tmp_path / "base.ckpt"))


@pytest.mark.parametrize(
    ("base", "cure"),
    [
        ("toy", "Use a ControlNet that was trained on this base, or controlnet=fresh."),
        ("sd15", "of the base's family, Stable Diffusion 1, such as lllyasviel/control_v11p_sd15_seg."),
    ],
)
def test_the_cure_names_what_fits_the_base(base: str, cure: str) -> None:
    """A released ControlNet is recommended only for a base of its size."""
    unet = read_json(hub.toy_folder() / "base" / "unet" / "config.json") if base == "toy" else configs.released(base)

    with pytest.raises(ModelError) as raised:
        fitting.require_configured(configs.released("sdxl"), unet, "xl")

    assert str(raised.value).endswith(cure)


def test_a_toy_base_is_told_to_use_a_fresh_controlnet(segkit: Segkit, rooms: Path, tmp_path: Path) -> None:
    """On the command line the released ControlNet's folder leads to --controlnet fresh."""
    (tmp_path / "released").mkdir()
    config = {**configs.released("sd15"), "_class_name": "ControlNetModel"}
    (tmp_path / "released" / "config.json").write_text(json.dumps(config))

    refused = segkit("train", rooms, "-o", tmp_path / "run", "--base", "toy", "--controlnet", tmp_path / "released")

    assert refused.code == 2
    assert "its cross_attention_dim is 768, the base's is" in refused.err
    assert refused.err.endswith("Use a ControlNet that was trained on this base, or --controlnet fresh.\n")
