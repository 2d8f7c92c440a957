"""Union ControlNets are read, called like any ControlNet, and compared with diffusers' network called directly."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.trainer.runs import train
from trainer.checkpoints import configs, export, inspect, ldm, load, safe_load, union

CONFIG: dict[str, Any] = {
    "block_out_channels": [32, 64, 64],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "transformer_layers_per_block": [1, 1, 2],
    "attention_head_dim": [1, 1, 1],
    "cross_attention_dim": 64,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 40 + 6 * 8,
    "conditioning_embedding_out_channels": [4, 8, 8, 16],
    "layers_per_block": 2,
}
"""A ControlNet that fits a small SDXL."""


@pytest.fixture(scope="module", params=[6, 8], ids=["released", "promax"])
def original(request: pytest.FixtureRequest) -> Any:
    """Diffusers' network with random weights, none of them zero: do not modify it."""
    from diffusers import ControlNetUnionModel

    model = ControlNetUnionModel(
        **CONFIG, num_control_type=request.param, num_trans_channel=32, num_proj_channel=32, num_trans_layer=2
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return model.eval()


def inputs() -> dict[str, Any]:
    """Return latents, timesteps, prompts and sizes of a batch of two."""
    generator = torch.Generator().manual_seed(1)
    return {
        "sample": torch.randn(2, 4, 8, 8, generator=generator),
        "timestep": torch.tensor([3, 871]),
        "encoder_hidden_states": torch.randn(2, 7, 64, generator=generator),
        "added_cond_kwargs": {
            "text_embeds": torch.randn(2, 40, generator=generator),
            "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2),
        },
        "return_dict": False,
    }


def test_its_segmentation_mode_is_called_like_a_controlnet(original: Any, tmp_path: Path) -> None:
    """Read from one file, it returns what diffusers' network returns for one map of kind 5."""
    save_file(original.state_dict(), tmp_path / "a.safetensors")
    maps = torch.rand(2, 3, 64, 64)

    model: Any = ldm.load_ldm(tmp_path / "a.safetensors", CONFIG)

    control_type = torch.zeros(2, original.config.num_control_type)
    control_type[:, 5] = 1
    with torch.no_grad():
        expected = original(controlnet_cond=[maps], control_type=control_type, control_type_idx=[5], **inputs())
        down, mid = model(controlnet_cond=maps, **inputs())
        other, _ = original(controlnet_cond=[maps], control_type=control_type, control_type_idx=[1], **inputs())
    assert torch.equal(mid, expected[1])
    assert all(torch.equal(one, two) for one, two in zip(down, expected[0], strict=True))
    assert not torch.equal(down[0], other[0])  # the kind matters


def test_what_belongs_to_other_kinds_is_not_trained(original: Any, tmp_path: Path) -> None:
    """Every shared weight gets a gradient; the embeddings of the kinds get none, and are written as they were."""
    original.save_pretrained(tmp_path / "union")
    stored = json.loads((tmp_path / "union" / "config.json").read_text())
    model: Any = ldm.load(safe_load.read_folder(tmp_path / "union"), stored)

    down, mid = model.train()(controlnet_cond=torch.rand(2, 3, 64, 64), **inputs())
    sum(residual.square().sum() for residual in (*down, mid)).backward()

    frozen = {name for name, weight in model.named_parameters() if weight.grad is None}
    assert frozen == {name for name in original.state_dict() if name.startswith(("task_emb", "control_add_emb"))}
    export.write_folder(tmp_path / "written", model)
    written = json.loads((tmp_path / "written" / "config.json").read_text())
    assert written["_class_name"] == "ControlNetUnionModel"
    again = type(original).from_pretrained(tmp_path / "written").state_dict()
    assert all(torch.equal(weight, original.state_dict()[name]) for name, weight in again.items())
    assert written["num_control_type"] == original.config.num_control_type


def test_it_is_inspected_as_what_it_is(original: Any, tmp_path: Path) -> None:
    """Its kind is named; the names and shapes of one that is smaller than the released ones are not known."""
    save_file(original.state_dict(), tmp_path / "a.safetensors")

    report = inspect.inspect(tmp_path / "a.safetensors")

    assert report.identity.sentence.startswith("This is a union ControlNet of SDXL, which serves several kinds")
    assert "its mode for segmentation maps" in report.identity.advice
    assert (report.identity.layout, report.compared, report.is_sound) == ("diffusers", False, True)


def test_the_full_size_has_the_names_of_the_released_file() -> None:
    """Xinsir's networks have 6 or 8 kinds, 320 channels and one layer over the conditions."""
    state = {"task_embedding": torch.zeros(6, 320), "transformer_layes.0.ln_1.weight": torch.zeros(320),
             "spatial_ch_projs.weight": torch.zeros(320, 320)}  # fmt: skip
    model = ldm.empty(union.config(state, configs.released("sdxl"), ""))
    shapes = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    assert shapes["transformer_layes.0.attn.in_proj_weight"] == (960, 320)
    assert shapes["control_add_embedding.linear_1.weight"] == (1280, 1536)
    assert shapes["controlnet_down_blocks.8.weight"] == (1280, 1280, 1, 1)


def test_it_is_trained_and_stays_a_union(rooms: Path, sdxl: Path, tmp_path: Path) -> None:
    """A run changes what the kinds share, and its result is a union ControlNet with the embeddings of all kinds."""
    base = load.load_base(str(sdxl))
    fitting = configs.controlnet(base.unet.config, base.vae.config)
    start = union.model_class()(**fitting, num_trans_channel=32, num_proj_channel=32)
    torch.nn.init.normal_(start.spatial_ch_projs.weight)  # zero in one that was never trained
    export.write_folder(tmp_path / "union", start)

    run = train(rooms, sdxl, tmp_path / "run", controlnet=str(tmp_path / "union"), steps=2, ema=0.9)

    result: Any = load.load_controlnet(str(run), base)
    assert (type(result).__name__, result.config.num_control_type) == ("ControlNetUnionModel", 6)
    before, after = start.state_dict(), result.state_dict()
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if name.startswith(("task_emb", "control_add_emb"))} <= kept
    assert {"controlnet_mid_block.weight", "spatial_ch_projs.bias"}.isdisjoint(kept)
