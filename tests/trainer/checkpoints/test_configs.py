"""Configurations are inferred from a single file's weights, and a wrong number of heads is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from segkit.errors import ModelError
from tests.conftest import Models
from tests.trainer import single_file
from tests.trainer.conftest import base_folder
from trainer.checkpoints import configs, load
from trainer.checkpoints import single_file as checkpoint_file


def differing(inferred: dict[str, Any], actual: Any) -> set[str]:
    """Return the entries of an inferred configuration that differ from a network's."""
    return {
        name
        for name, value in inferred.items()
        if getattr(actual, name) != (tuple(value) if isinstance(getattr(actual, name), tuple) else value)
    }


@pytest.mark.parametrize("family", ["SD1", "SD2"])
def test_configurations_are_inferred_from_shapes(tmp_path: Path, models: Models, family: str) -> None:
    """Each network of a single file gets its configuration, except for the size of pictures, which has no effect."""
    loaded = load.load_base(str(base_folder(tmp_path / "base", models.clip, family)))
    state = single_file.state(loaded, family)

    assert differing(configs.unet(state), loaded.unet.config) == {"sample_size"}
    assert differing(configs.vae(state), loaded.vae.config) == {"sample_size"}
    text_config, _ = checkpoint_file.text_encoder_weights(state, "cond_stage_model.")
    assert differing(text_config, loaded.text_encoders[0].config) == set()


@pytest.mark.parametrize(
    ("read", "weight"),
    [
        (configs.unet, "model.diffusion_model.input_blocks.1.0.out_layers.3.weight"),
        (configs.vae, "first_stage_model.encoder.down.0.block.0.conv2.weight"),
        (checkpoint_file.text_encoders, "cond_stage_model.model.token_embedding.weight"),
    ],
)
def test_a_missing_weight_is_named(read: Any, weight: str) -> None:
    """A file of another network lacks a weight that Stable Diffusion has."""
    with pytest.raises(ModelError, match="not a complete Stable Diffusion 1, 2 or XL") as refused:
        read({})
    assert str(refused.value).endswith(f"it lacks {weight}")


def test_a_controlnet_fits_its_base() -> None:
    """It has the UNet's blocks and width, and its hint encoder downsamples as much as the VAE."""
    unet = {"block_out_channels": [8, 16], "cross_attention_dim": 24, "up_block_types": ["UpBlock2D"]}

    config = configs.controlnet(unet, {"block_out_channels": [4, 4, 4]})

    assert config == {
        "block_out_channels": [8, 16], "cross_attention_dim": 24, "conditioning_embedding_out_channels": [16, 32, 96]
    }  # fmt: skip


@pytest.mark.parametrize(("levels", "factor"), [(1, 1), (3, 4), (4, 8)])
def test_each_level_of_the_vae_halves_the_sides(levels: int, factor: int) -> None:
    """Between n levels are n - 1 downsamplers, in the VAE as in the hint encoder."""
    vae = {"block_out_channels": [32] * levels}

    assert configs.vae_scale_factor(vae) == factor
    assert len(configs.hint_channels(vae)) == levels


@pytest.mark.parametrize(
    ("config", "heads"),
    [
        ({"attention_head_dim": 8}, [8, 8]),
        ({"attention_head_dim": (5, 10)}, [5, 10]),
        ({"attention_head_dim": 8, "num_attention_heads": 2}, [2, 2]),
        ({"attention_head_dim": 8, "num_attention_heads": None}, [8, 8]),
        ({}, [8, 8]),
    ],
)
def test_heads_are_given_per_level(config: dict[str, Any], heads: list[int]) -> None:
    """One number holds for all levels; num_attention_heads, if set, overrides attention_head_dim."""
    assert configs.heads({"block_out_channels": [320, 640], **config}) == heads


def test_a_wrong_number_of_heads_is_refused(tmp_path: Path, base: Path) -> None:
    """For a released size the number of heads is known; a wrong one would load and predict nonsense."""
    shutil.copytree(base, tmp_path / "base")
    sd15 = {"block_out_channels": [320, 640, 1280, 1280], "cross_attention_dim": 768, "attention_head_dim": 16}
    path = tmp_path / "base" / "unet" / "config.json"
    configs.require_heads(configs.released("sd15"), "x")
    configs.require_heads(configs.released("sd21"), "x")
    path.write_text(json.dumps(json.loads(path.read_text()) | sd15))
    with pytest.raises(ModelError, match=r"attention_head_dim is 16 in config\.json; expected 8"):
        load.load_base(str(tmp_path / "base"))
