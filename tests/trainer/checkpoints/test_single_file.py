"""Single files of Stable Diffusion load whatever tool wrote them, or are refused by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from segkit.errors import ModelError
from tests.conftest import Models
from tests.trainer import single_file
from tests.trainer.conftest import base_folder
from trainer.checkpoints import load, text_layout
from trainer.checkpoints.digest import weights_digest
from trainer.checkpoints.load import Base

State = dict[str, Tensor]
CLIP = "cond_stage_model.transformer."
OPEN_CLIP = "cond_stage_model.model."


@pytest.fixture(scope="module")
def folders(models: Models, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Base]:
    """A small base of each family."""
    folder = tmp_path_factory.mktemp("families")
    return {family: load.load_base(str(base_folder(folder / family, models.clip, family))) for family in ("SD1", "SD2")}


def prefixed(prefix: str) -> Callable[[State], State]:
    """Return a function that puts a prefix before all names."""
    return lambda state: {prefix + name: weight for name, weight in state.items()}


def nai(state: State) -> State:
    """Name the text encoder as NovelAI's files do."""
    return {name.replace(f"{CLIP}text_model.", CLIP): weight for name, weight in state.items()}


def compiled(state: State) -> State:
    """Name the UNet as torch.compile does."""
    old, new = "model.diffusion_model.", "model.diffusion_model._orig_mod."
    return {name.replace(old, new): weight for name, weight in state.items()}


def merged(state: State) -> State:
    """Add what merging tools leave beside the text encoder."""
    return state | {f"{CLIP}text_projection.weight": torch.rand(4, 4), "cond_stage_model.logit_scale": torch.ones(())}


@pytest.mark.parametrize(
    "change",
    [
        nai, compiled, merged, prefixed("module."), prefixed("_orig_mod."), prefixed("state_dict."), prefixed("model."),
        prefixed("module._orig_mod."), prefixed("state_dict.module.model."),
    ],
)  # fmt: skip
def test_the_names_of_every_tool_are_read(
    tmp_path: Path, folders: dict[str, Base], models: Models, change: Callable[[State], State]
) -> None:
    """Prefixes of trainers, torch.compile's names and NovelAI's text encoder give the folder's networks."""
    folder = folders["SD1"]
    save_file(change(single_file.state(folder)), tmp_path / "a.safetensors")

    loaded = load.load_base(str(tmp_path / "a.safetensors"), str(models.clip))

    for part in ("unet", "vae", "text_encoder"):
        first, second = folder.parts[part].state_dict(), loaded.parts[part].state_dict()
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_eight_bit_files_are_read(tmp_path: Path, folders: dict[str, Base], models: Models, dtype: torch.dtype) -> None:
    """fp8 weights become equal fp32 weights."""
    folder = folders["SD1"]
    state = single_file.state(folder)
    save_file({name: weight.to(dtype) for name, weight in state.items()}, tmp_path / "a.safetensors")

    loaded = load.load_base(str(tmp_path / "a.safetensors"), str(models.clip)).unet.state_dict()

    assert all(torch.equal(loaded[name], w.to(dtype).float()) for name, w in folder.unet.state_dict().items())


def test_scaled_eight_bit_files_are_read(tmp_path: Path, folders: dict[str, Base], models: Models) -> None:
    """ComfyUI's "scaled fp8" files hold a scale beside each weight, which is applied."""
    folder = folders["SD1"]
    state = single_file.state(folder)
    scaled: State = {"model.diffusion_model.scaled_fp8": torch.zeros(2).to(torch.float8_e4m3fn)}
    for name, weight in state.items():
        if name.startswith("model.diffusion_model.") and weight.ndim == 2:
            scale = weight.abs().max() / 448
            scaled[name] = (weight / scale).to(torch.float8_e4m3fn)
            scaled[f"{name.removesuffix('weight')}scale_weight"] = scale
        else:
            scaled[name] = weight
    save_file(scaled, tmp_path / "a.safetensors")

    loaded = load.load_base(str(tmp_path / "a.safetensors"), str(models.clip)).unet.state_dict()

    for name, weight in folder.unet.state_dict().items():
        assert float((loaded[name] - weight).abs().max()) <= float(weight.abs().max()) / 16  # 3 bits of mantissa


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        (9, r"made for inpainting \(9 input channels\)"),
        (5, r"made for depth-to-image \(5 input channels\)"),
        (8, r"made for InstructPix2Pix \(8 input channels\)"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_file_for_another_task_is_refused_by_name(
    tmp_path: Path, folders: dict[str, Base], models: Models, channels: int, message: str, prefix: str
) -> None:
    """The first convolution tells what a base was made for."""
    state = single_file.state(folders["SD1"])
    name = "model.diffusion_model.input_blocks.0.0.weight"
    state[name] = torch.rand(state[name].shape[0], channels, 3, 3)
    save_file(prefixed(prefix)(state), tmp_path / "a.safetensors")

    with pytest.raises(ModelError, match=message) as refused:
        load.load_base(str(tmp_path / "a.safetensors"), str(models.clip))
    assert "segkit needs a text-to-image base" in str(refused.value)


def text_state(width: int, layers: int, layout: str) -> State:
    """Return the shapes of a text encoder, as far as its configuration depends on them."""
    with torch.device("meta"):
        if layout == "clip":
            start = f"{CLIP}text_model."
            state = {f"{start}embeddings.token_embedding.weight": torch.empty(49408, width),
                     f"{start}embeddings.position_embedding.weight": torch.empty(77, width)}  # fmt: skip
            blocks, mlp = f"{start}encoder.layers", "mlp.fc1.weight"
        else:
            state = {f"{OPEN_CLIP}token_embedding.weight": torch.empty(49408, width),
                     f"{OPEN_CLIP}positional_embedding": torch.empty(77, width)}  # fmt: skip
            blocks, mlp = f"{OPEN_CLIP}transformer.resblocks", "mlp.c_fc.weight"
        return state | {f"{blocks}.{layer}.{mlp}": torch.empty(4 * width, width) for layer in range(layers)}


def text_config(state: State) -> dict[str, Any]:
    """Return the configuration of the text encoder of an SD1 or SD2."""
    return text_layout.config(text_layout.weights(state, "cond_stage_model."), "cond_stage_model.")


@pytest.mark.parametrize(
    ("width", "layers", "layout", "used", "activation"),
    [
        (1024, 23, "open_clip", 23, "gelu"),
        (1024, 24, "open_clip", 23, "gelu"),
        (1024, 23, "clip", 23, "gelu"),
        (1024, 24, "clip", 23, "gelu"),
        (768, 12, "clip", 12, "quick_gelu"),
    ],
)
def test_the_width_tells_how_many_text_layers_are_used(
    width: int, layers: int, layout: str, used: int, activation: str
) -> None:
    """SD2 uses 23 layers, whether its file holds Stability's 24 or diffusers' 23; SD1 uses all 12."""
    config = text_config(text_state(width, layers, layout))
    assert (config["num_hidden_layers"], config["hidden_act"]) == (used, activation)
    assert config["num_attention_heads"] == width // 64


@pytest.mark.parametrize(
    ("width", "layers", "layout", "message"),
    [
        (1024, 22, "open_clip", "of width 1024 has 22 layers; expected 23 or 24"),
        (1024, 25, "open_clip", "of width 1024 has 25 layers; expected 23 or 24"),
        (768, 11, "clip", "of width 768 has 11 layers; expected 12"),
        (768, 13, "clip", "of width 768 has 13 layers; expected 12"),
        (1280, 32, "open_clip", "has width 1280; expected 768 or 1024"),
    ],
)
def test_another_number_of_text_layers_is_refused(width: int, layers: int, layout: str, message: str) -> None:
    """A text encoder that lost or gained layers would compute something else."""
    with pytest.raises(ModelError, match=message):
        text_config(text_state(width, layers, layout))


def test_names_of_diffusers_script_are_read(tmp_path: Path, folders: dict[str, Base], models: Models) -> None:
    """With transformers 5, diffusers' script writes OpenCLIP's blocks under Hugging Face's names."""
    names = {
        f"{OPEN_CLIP}transformer.resblocks.": f"{OPEN_CLIP}transformer.encoder.layers.",
        f"{OPEN_CLIP}token_embedding.": f"{OPEN_CLIP}transformer.embeddings.token_embedding.",
        f"{OPEN_CLIP}positional_embedding": f"{OPEN_CLIP}transformer.embeddings.position_embedding.weight",
        f"{OPEN_CLIP}ln_final.": f"{OPEN_CLIP}transformer.final_layer_norm.",
    }
    state = single_file.state(folders["SD2"], "SD2")
    for released, written in names.items():
        state = {name.replace(released, written): weight for name, weight in state.items()}
    save_file(state, tmp_path / "a.safetensors")

    loaded = load.load_base(str(tmp_path / "a.safetensors"), str(models.clip), "v_prediction")

    assert weights_digest(loaded.text_encoders[0]) == weights_digest(folders["SD2"].text_encoders[0])
