"""The networks of a training, loaded offline from what people have."""

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
from trainer.checkpoints import configs, inspect, ldm, load

PARTS = ("unet", "vae", "text_encoder")


def equal(a: Any, b: Any) -> bool:
    """Tell whether two networks have the same weights, bit by bit."""
    one, other = a.state_dict(), b.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("family", ["SD1", "SD2"])
@pytest.mark.parametrize("ending", ["safetensors", "ckpt"])
def test_a_single_file_is_the_folder_it_was_made_from(tmp_path: Path, models: Models, family: str, ending: str) -> None:
    """UNet, VAE and text encoder, weights and outputs, told from shapes alone."""
    folder = load.load_base(str(base_folder(tmp_path / "base", models.clip, family)))
    path = tmp_path / f"model.{ending}"
    state = single_file.state(folder, family)
    save_file(state, path) if ending == "safetensors" else torch.save({"state_dict": state, "global_step": 7}, path)

    file = load.load_base(str(path), str(models.clip))

    assert all(equal(getattr(folder, part), getattr(file, part)) for part in PARTS)
    assert (file.name, file.prediction) == ("model", "epsilon" if family == "SD1" else "v_prediction")
    words = folder.tokenizer(["a room"], padding="max_length", max_length=77, return_tensors="pt").input_ids
    latents, times = torch.randn(1, 4, 8, 8), torch.tensor([500])
    with torch.no_grad():
        seen = [each.unet(latents, times, each.text_encoder(words)[0]).sample for each in (folder, file)] + [
            each.vae.decode(latents).sample for each in (folder, file)
        ]
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[2], seen[3])


def test_an_honest_base_is_sound(tmp_path: Path, base: Path) -> None:
    """The counts that files of CLIP hold are neither weights nor faults."""
    state = {name: weight.half() for name, weight in single_file.state(load.load_base(str(base))).items()}
    counts = next(name for name in state if name.endswith("position_ids"))
    save_file(state | {counts: torch.arange(77)[None]}, tmp_path / "base.safetensors")

    found = inspect.inspect(tmp_path / "base.safetensors")
    assert (found.is_sound, found.identity.precision, found.identity.kind) == (True, "fp16", "stable-diffusion")


def test_a_file_of_half_precision_is_held_exactly(tmp_path: Path, base: Path, models: Models) -> None:
    """fp16 in the file, fp32 in memory, equal numbers."""
    folder = load.load_base(str(base))
    save_file({name: weight.half() for name, weight in single_file.state(folder).items()}, tmp_path / "a.safetensors")

    file = load.load_base(str(tmp_path / "a.safetensors"), str(models.clip))

    assert equal(file.unet, folder.unet.half().float())
    assert {weight.dtype for weight in file.unet.parameters()} == {torch.float32}


def test_networks_of_the_base_are_frozen(base: Path) -> None:
    """Nothing of it would be trained by accident."""
    loaded = load.load_base(str(base))
    assert not any(weight.requires_grad for part in PARTS for weight in getattr(loaded, part).parameters())
    assert not any(getattr(loaded, part).training for part in PARTS)


def test_what_the_scheduler_predicts_is_the_bases(tmp_path: Path, models: Models) -> None:
    """A folder tells it; a person may know better."""
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
    elif how == "two words":
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
    ("how", "told"),
    [
        ("no tokenizer", "CLIP's tokenizer is not here"),
        ("two words", "tokenizer's files are missing"),
        ("no vae", "no vae in it"),
        ("no weights", "cannot be loaded"),
        ("missing", "1 weights are missing or of wrong shape, such as conv_in.weight"),
        ("nan", "1 weights are NaN or infinite, such as conv_in.weight"),
        ("sample", "predicts 'sample'"),
    ],
)
def test_a_faulty_base_is_told(tmp_path: Path, base: Path, how: str, told: str) -> None:
    """In one line, before a step is taken."""
    with pytest.raises(ModelError) as refused:
        load.load_base(str(broken(base, tmp_path / "base", how)))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_tokenizer_of_another_vocabulary_is_refused(tmp_path: Path, models: Models) -> None:
    """Its words would mean others."""
    folder = base_folder(tmp_path / "base", models.clip)
    state = single_file.state(load.load_base(str(folder)))
    name = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    save_file(state | {name: state[name][:-1].clone()}, tmp_path / "a.safetensors")

    with pytest.raises(ModelError, match="entries, the text encoder has"):
        load.load_base(str(tmp_path / "a.safetensors"), str(models.clip))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("controlnet.safetensors", "a ControlNet.*Expected a Stable Diffusion.*Give it as --controlnet"),
        ("xl.safetensors", "SDXL.*Expected a Stable Diffusion 1 or 2"),
        ("half.safetensors", "it lacks first_stage_model"),
        ("nothing.safetensors", "no such file or folder"),
        ("owner/name", "is not here and cannot be had"),
    ],
)
def test_what_is_no_base_is_told(tmp_path: Path, base: Path, name: str, told: str) -> None:
    """Each by what it is, with what to do."""
    loaded = load.load_base(str(base))
    state = single_file.state(loaded)
    save_file(ldm.to_state(load.load_controlnet("fresh", loaded)), tmp_path / "controlnet.safetensors")
    save_file(state | {"conditioner.embedders.0.x": torch.ones(1)}, tmp_path / "xl.safetensors")
    save_file({key: state[key] for key in state if "first_stage" not in key}, tmp_path / "half.safetensors")

    with pytest.raises(ModelError, match=told):
        load.load_base(name if "/" in name else str(tmp_path / name))


def outputs(base: load.Base, controlnet: Any = None) -> Any:
    """Return what the base predicts, steered or not."""
    draw = torch.Generator().manual_seed(0)
    latents, hint = torch.randn(2, 4, 8, 8, generator=draw), torch.rand(2, 3, 64, 64, generator=draw)
    times, words = torch.tensor([10, 900]), torch.randn(2, 77, 64, generator=draw)
    with torch.no_grad():
        if controlnet is None:
            return base.unet(latents, times, words).sample
        down, middle = controlnet(latents, times, words, controlnet_cond=hint, return_dict=False)
        return base.unet(
            latents, times, words, down_block_additional_residuals=down, mid_block_additional_residual=middle
        ).sample


def test_a_fresh_controlnet_changes_nothing_yet(base: Path) -> None:
    """The base's own encoder and zero convolutions: the same prediction, bit by bit."""
    loaded = load.load_base(str(base))
    fresh = load.load_controlnet("fresh", loaded)

    assert torch.equal(outputs(loaded), outputs(loaded, fresh))
    assert torch.equal(fresh.conv_in.weight, loaded.unet.conv_in.weight)
    assert all(weight.requires_grad for weight in fresh.parameters())


def test_every_start_gives_the_same_controlnet(tmp_path: Path, base: Path) -> None:
    """A file of ldm's in two formats, a diffusers folder, its file, a run of ours, a whole ControlLDM."""
    loaded = load.load_base(str(base))
    model = load.load_controlnet("fresh", loaded)
    torch.nn.init.normal_(model.controlnet_mid_block.weight)
    ldm.save_ldm(model, tmp_path / "a.pth")
    ldm.save_ldm(model, tmp_path / "a.safetensors")
    model.save_pretrained(tmp_path / "folder")
    model.save_pretrained(tmp_path / "run" / "controlnet")
    whole = single_file.state(loaded) | {f"control_model.{k}": v for k, v in ldm.to_state(model).items()}
    torch.save({"state_dict": whole}, tmp_path / "whole.ckpt")
    file = "folder/diffusion_pytorch_model.safetensors"

    for name in ("a.pth", "a.safetensors", "folder", file, "run", "whole.ckpt"):
        assert equal(load.load_controlnet(str(tmp_path / name), loaded), model), name


def test_another_networks_folder_or_width_is_refused(tmp_path: Path, base: Path, models: Models) -> None:
    """A UNet is no ControlNet, and one of another width does not fit."""
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

    for given, told in (
        (tmp_path / "heads", r"\[4, 4, 4, 4\] attention heads, the base has \[8, 8, 8, 8\]"),
        (base, "a whole Stable Diffusion; give it as --base"),
        (tmp_path, r"no ControlNet in it\. Expected a finished run"),
        (base / "unet", "a folder of UNet2DConditionModel"),
        (tmp_path / "wide", "made for words 1024 wide, the base's are 64"),
        (tmp_path / "narrow.safetensors", r"\(32, 48\) instead of \(32, 64\).*another size than the base"),
        ("nothing", "no such file or folder"),
    ):
        with pytest.raises(ModelError, match=told):
            load.load_controlnet(str(given), loaded)


def test_a_wrong_number_of_heads_is_refused(tmp_path: Path, base: Path) -> None:
    """It would load without a word and predict something else: of a released size the number is known."""
    shutil.copytree(base, tmp_path / "base")
    sd15 = {"block_out_channels": [320, 640, 1280, 1280], "cross_attention_dim": 768, "attention_head_dim": 16}
    path = tmp_path / "base" / "unet" / "config.json"
    configs.require_heads(configs.released("sd15"), "x")
    configs.require_heads(configs.released("sd21"), "x")
    path.write_text(json.dumps(json.loads(path.read_text()) | sd15))
    with pytest.raises(ModelError, match=r"attention_head_dim is 16 in config\.json; expected 8"):
        load.load_base(str(tmp_path / "base"))
