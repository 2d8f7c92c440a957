"""Base models and ControlNets load offline from folders, single files and runs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from segkit.errors import ModelError
from tests.conftest import Models
from tests.trainer import single_file
from tests.trainer.conftest import base_folder
from trainer.checkpoints import ldm, load

PARTS = ("unet", "vae", "text_encoder")


def equal(a: Any, b: Any) -> bool:
    """Return whether two networks have the same weights, bit for bit."""
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("family", ["SD1", "SD2"])
@pytest.mark.parametrize("ending", ["safetensors", "ckpt"])
def test_a_single_file_equals_its_folder(tmp_path: Path, models: Models, family: str, ending: str) -> None:
    """UNet, VAE and text encoder of a file, configured from shapes only, have the folder's weights and outputs."""
    folder = load.load_base(str(base_folder(tmp_path / "base", models.clip, family)))
    path = tmp_path / f"model.{ending}"
    state = single_file.state(folder, family)
    save_file(state, path) if ending == "safetensors" else torch.save({"state_dict": state, "global_step": 7}, path)

    file = load.load_base(str(path), str(models.clip))

    assert all(equal(folder.parts[part], file.parts[part]) for part in PARTS)
    assert (file.name, file.prediction) == ("model", "epsilon" if family == "SD1" else "v_prediction")
    input_ids = folder.tokenizers[0](["a room"], padding="max_length", max_length=77, return_tensors="pt").input_ids
    latents, timesteps = torch.randn(1, 4, 8, 8), torch.tensor([500])
    with torch.no_grad():
        noise_preds = [
            one.unet(latents, timesteps, one.text_encoders[0](input_ids)[0]).sample for one in (folder, file)
        ]
        photos = [one.vae.decode(latents).sample for one in (folder, file)]
    assert torch.equal(*noise_preds)
    assert torch.equal(*photos)


def test_a_half_precision_file_is_loaded_exactly(tmp_path: Path, base: Path, models: Models) -> None:
    """fp16 weights become equal fp32 weights."""
    folder = load.load_base(str(base))
    save_file({name: weight.half() for name, weight in single_file.state(folder).items()}, tmp_path / "a.safetensors")

    file = load.load_base(str(tmp_path / "a.safetensors"), str(models.clip))

    assert equal(file.unet, folder.unet.half().float())
    assert {weight.dtype for weight in file.unet.parameters()} == {torch.float32}


def test_networks_of_the_base_are_frozen(base: Path) -> None:
    """All components are in eval mode and none of their weights requires a gradient."""
    loaded = load.load_base(str(base))
    assert not any(weight.requires_grad for part in PARTS for weight in loaded.parts[part].parameters())
    assert not any(loaded.parts[part].training for part in PARTS)


def test_the_scheduler_configuration_sets_the_prediction_type(tmp_path: Path, models: Models) -> None:
    """The prediction type comes from the folder unless the caller passes one."""
    folder = base_folder(tmp_path / "base", models.clip, "SD2", "v_prediction")
    assert load.load_base(str(folder)).prediction == "v_prediction"
    assert load.load_base(str(folder), prediction="epsilon").prediction == "epsilon"


def broken(base: Path, folder: Path, how: str) -> Path:
    """Return a copy of a base with one fault."""
    shutil.copytree(base, folder)
    if how == "no tokenizer":
        shutil.rmtree(folder / "tokenizer")
    elif how == "no vae":
        shutil.rmtree(folder / "vae")
    elif how == "no weights":
        (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    elif how == "no vocabulary":
        for path in (folder / "tokenizer").iterdir():
            path.unlink() if path.name != "tokenizer_config.json" else None
    elif how == "sample":
        path = folder / "scheduler" / "scheduler_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"prediction_type": "sample"}))
    else:
        state = load.load_base(str(base)).unet.state_dict()
        name = "conv_in.weight"
        state = {key: value for key, value in state.items() if how != "missing" or key != name}
        if how == "nan":
            state[name][0] = torch.nan
        save_file(state, folder / "unet" / "diffusion_pytorch_model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no tokenizer", "CLIP's tokenizer is not cached"),
        ("no vocabulary", "tokenizer's files are missing"),
        ("no vae", "contains no vae"),
        ("no weights", "cannot be loaded"),
        ("missing", "1 weight is missing or of wrong shape, such as conv_in.weight"),
        ("nan", "1 weight is NaN or infinite, such as conv_in.weight"),
        ("sample", "prediction_type is 'sample'"),
    ],
)
def test_a_faulty_base_is_refused(tmp_path: Path, base: Path, how: str, message: str) -> None:
    """Each fault is reported in one line."""
    with pytest.raises(ModelError) as refused:
        load.load_base(str(broken(base, tmp_path / "base", how)))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_tokenizer_of_another_vocabulary_is_refused(tmp_path: Path, models: Models) -> None:
    """A tokenizer whose size differs from the text encoder's vocabulary would map words to wrong embeddings."""
    folder = base_folder(tmp_path / "base", models.clip)
    state = single_file.state(load.load_base(str(folder)))
    name = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    save_file(state | {name: state[name][:-1].clone()}, tmp_path / "a.safetensors")

    with pytest.raises(ModelError, match="has 514 entries, the text encoder 513"):
        load.load_base(str(tmp_path / "a.safetensors"), str(models.clip))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("controlnet.safetensors", "a ControlNet.*Expected a Stable Diffusion.*Use it as the ControlNet"),
        ("half.safetensors", "it lacks first_stage_model"),
        ("nothing.safetensors", "no such file or folder"),
        ("owner/name", "is not in the cache and cannot be downloaded"),
    ],
)
def test_other_files_are_not_accepted_as_base(tmp_path: Path, base: Path, name: str, message: str) -> None:
    """The message identifies the file and says what to do."""
    loaded = load.load_base(str(base))
    state = single_file.state(loaded)
    save_file(ldm.to_state(load.load_controlnet("fresh", loaded)), tmp_path / "controlnet.safetensors")
    save_file({key: state[key] for key in state if "first_stage" not in key}, tmp_path / "half.safetensors")

    with pytest.raises(ModelError, match=message):
        load.load_base(name if "/" in name else str(tmp_path / name))


def outputs(base: load.Base, controlnet: Any = None) -> Any:
    """Return the base's noise prediction, with or without a ControlNet."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, 8, 8, generator=generator)
    control_map = torch.rand(2, 3, 64, 64, generator=generator)
    timesteps, hidden_states = torch.tensor([10, 900]), torch.randn(2, 77, 64, generator=generator)
    with torch.no_grad():
        if controlnet is None:
            return base.unet(latents, timesteps, hidden_states).sample
        down, mid = controlnet(latents, timesteps, hidden_states, controlnet_cond=control_map, return_dict=False)
        return base.unet(
            latents, timesteps, hidden_states, down_block_additional_residuals=down, mid_block_additional_residual=mid
        ).sample


def test_a_fresh_controlnet_changes_nothing_yet(base: Path) -> None:
    """A copy of the base's encoder with zero convolutions leaves the prediction unchanged, bit for bit."""
    loaded = load.load_base(str(base))
    fresh = load.load_controlnet("fresh", loaded)

    assert torch.equal(outputs(loaded), outputs(loaded, fresh))
    assert torch.equal(fresh.conv_in.weight, loaded.unet.conv_in.weight)
    assert all(weight.requires_grad for weight in fresh.parameters())


def test_every_source_gives_the_same_controlnet(tmp_path: Path, base: Path) -> None:
    """An ldm file in two formats, a diffusers folder, its file, a run and a ControlLDM load the same weights."""
    loaded = load.load_base(str(base))
    model = load.load_controlnet("fresh", loaded)
    torch.nn.init.normal_(model.controlnet_mid_block.weight)
    ldm.save_ldm(model, tmp_path / "a.pth")
    ldm.save_ldm(model, tmp_path / "a.safetensors")
    model.save_pretrained(tmp_path / "folder")
    model.save_pretrained(tmp_path / "run" / "controlnet")
    model.save_pretrained(tmp_path / "half", variant="fp16")
    model.save_pretrained(tmp_path / "shards", max_shard_size="500KB")
    model.save_pretrained(tmp_path / "bin", safe_serialization=False)
    whole = single_file.state(loaded) | {f"control_model.{k}": v for k, v in ldm.to_state(model).items()}
    torch.save({"state_dict": whole}, tmp_path / "whole.ckpt")
    file = "folder/diffusion_pytorch_model.safetensors"

    for name in ("a.pth", "a.safetensors", "folder", file, "run", "whole.ckpt", "half", "shards", "bin"):
        assert equal(load.load_controlnet(str(tmp_path / name), loaded), model), name


def test_a_fresh_controlnet_file_is_accepted(tmp_path: Path, base: Path) -> None:
    """Zero convolutions that are still zero are how a training starts, not a fault."""
    loaded = load.load_base(str(base))
    fresh = load.load_controlnet("fresh", loaded)
    ldm.save_ldm(fresh, tmp_path / "fresh.safetensors")
    assert equal(load.load_controlnet(str(tmp_path / "fresh.safetensors"), loaded), fresh)


def test_an_unsuitable_controlnet_is_refused(tmp_path: Path, base: Path, models: Models) -> None:
    """Another network, another width and another number of heads are each refused with the reason."""
    loaded = load.load_base(str(base))
    model = load.load_controlnet("fresh", loaded)
    model.save_pretrained(tmp_path / "wide")
    path = tmp_path / "wide" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"cross_attention_dim": 1024}))
    state = ldm.to_state(model)
    name = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    save_file(state | {name: torch.ones(32, 48)}, tmp_path / "narrow.safetensors")

    model.save_pretrained(tmp_path / "heads")
    path = tmp_path / "heads" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"attention_head_dim": 4}))

    model.save_pretrained(tmp_path / "inpainting")
    path = tmp_path / "inpainting" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"in_channels": 9}))

    for source, message in (
        (tmp_path / "inpainting", r"made for inpainting \(9 input channels\)"),
        (tmp_path / "heads", r"\[4, 4, 4, 4\] attention heads, the base has \[8, 8, 8, 8\]"),
        (base, "is a complete Stable Diffusion; use it as the base"),
        (tmp_path, r"contains no ControlNet\. Expected a finished run"),
        (base / "unet", "contains UNet2DConditionModel"),
        (tmp_path / "wide", "its cross_attention_dim is 1024, the base's is 64"),
        (tmp_path / "narrow.safetensors", r"\(32, 48\) instead of \(32, 64\).*Its size differs from the base's"),
        ("nothing", "no such file or folder"),
    ):
        with pytest.raises(ModelError, match=message):
            load.load_controlnet(str(source), loaded)
