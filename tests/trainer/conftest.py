"""Small networks of the real architectures with random weights, and a small dataset."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from segkit.models import hub
from tests.conftest import Models

SMALL: dict[str, Any] = {
    "block_out_channels": [16, 32, 32, 32],
    "layers_per_block": 2,
    "cross_attention_dim": 24,
    "attention_head_dim": 4,
    "norm_num_groups": 4,
    "conditioning_embedding_out_channels": [4, 8, 8, 16],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
}
"""A ControlNet of SD1.5's architecture, 0.1 % of its size; its cross-attention width is 24."""


@pytest.fixture
def controlnet() -> Any:
    """A small ControlNet without zero weights."""
    return randomised(SMALL)


def randomised(config: dict[str, Any], seed: int = 0) -> Any:
    """Return a ControlNet with random weights, including the zero convolutions."""
    from diffusers import ControlNetModel

    model = ControlNetModel(**config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return model.eval()


def steering(folder: Path, base: Path, scale: float) -> Path:
    """Write a fresh ControlNet of a base with noise of this scale on all weights, so that it changes pictures."""
    from trainer.checkpoints import export, load

    model = load.load_controlnet("fresh", load.load_base(str(base)))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * scale)
    export.write_folder(folder, model)
    return folder


def base_folder(
    folder: Path, tokenizer: Path, family: str = "SD1", prediction: str = "epsilon", seed: int = 0, layers: int = 2
) -> Path:
    """Write a small Stable Diffusion with random weights as a diffusers folder; real ones have two layers a block."""
    from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(seed)
    clip_tokenizer = CLIPTokenizer.from_pretrained(tokenizer)
    is_sd1 = family == "SD1"
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(clip_tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=2,
            num_attention_heads=1, max_position_embeddings=77, hidden_act="quick_gelu" if is_sd1 else "gelu",
            projection_dim=64,
            bos_token_id=len(clip_tokenizer) - 2, eos_token_id=len(clip_tokenizer) - 1,
        )
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=16, block_out_channels=[32, 64, 64, 64], layers_per_block=layers, cross_attention_dim=64,
        attention_head_dim=8 if is_sd1 else [1, 1, 1, 1], use_linear_projection=not is_sd1,
        down_block_types=["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=[32, 32, 32, 32], down_block_types=["DownEncoderBlock2D"] * 4, layers_per_block=layers,
        up_block_types=["UpDecoderBlock2D"] * 4, latent_channels=4, scaling_factor=0.18215,
    )  # fmt: skip
    scheduler = DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        clip_sample=False,
        steps_offset=1,
    )
    with hub.quiet():
        StableDiffusionPipeline(
            vae, text_encoder, clip_tokenizer, unet, scheduler, safety_checker=None, feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(folder)  # fmt: skip
    return folder


def sdxl_folder(folder: Path, tokenizer: Path, seed: int = 0) -> Path:
    """Write a small Stable Diffusion XL with random weights as a diffusers folder.

    Its structure is the released one's: three levels, of which the first has no attention and the others have different
    numbers of transformer blocks; text encoders of different widths and activations, of which the second pads with
    another token; a VAE that must stay in fp32.
    """
    from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    torch.manual_seed(seed)
    tokenizers = [CLIPTokenizer.from_pretrained(tokenizer), CLIPTokenizer.from_pretrained(tokenizer, pad_token="!")]
    entries = len(tokenizers[0])
    shared = {"vocab_size": entries, "num_hidden_layers": 3, "num_attention_heads": 2, "max_position_embeddings": 77}
    shared |= {"bos_token_id": entries - 2, "eos_token_id": entries - 1}
    first = CLIPTextConfig(hidden_size=24, intermediate_size=48, hidden_act="quick_gelu", projection_dim=24, **shared)
    second = CLIPTextConfig(hidden_size=40, intermediate_size=80, hidden_act="gelu", projection_dim=40, **shared)
    unet = UNet2DConditionModel(
        sample_size=16, block_out_channels=[32, 64, 64], layers_per_block=1, cross_attention_dim=64,
        attention_head_dim=[2, 4, 4], use_linear_projection=True, transformer_layers_per_block=[1, 1, 2],
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + 40,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=[32, 32, 32, 32], down_block_types=["DownEncoderBlock2D"] * 4, layers_per_block=1,
        up_block_types=["UpDecoderBlock2D"] * 4, latent_channels=4, scaling_factor=0.13025, force_upcast=True,
    )  # fmt: skip
    scheduler = DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
    )
    with hub.quiet():
        StableDiffusionXLPipeline(
            vae, CLIPTextModel(first), CLIPTextModelWithProjection(second), *tokenizers, unet, scheduler
        ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sdxl(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Stable Diffusion XL as a diffusers folder, shared by all tests: do not modify it."""
    return sdxl_folder(tmp_path_factory.mktemp("sdxl") / "small-xl", models.clip)


@pytest.fixture(scope="session")
def held_out(rooms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset `rooms` with three of its six triples held out, shared by all tests: do not modify it."""
    from segkit.dataset import Dataset, decisions

    folder = tmp_path_factory.mktemp("held-out") / "rooms"
    shutil.copytree(rooms, folder, ignore=shutil.ignore_patterns("cache"))
    dataset = Dataset.open(folder)
    for triple in [triple for triple in dataset if triple.split == "train"][:2]:
        decisions.move(dataset, triple.key, "val")
    return folder


@pytest.fixture(scope="session")
def shards(rooms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset `rooms` in three shards, shared by all tests: do not modify it."""
    from segkit.dataset import Dataset
    from segkit.exports import pipeline
    from segkit.settings import DatasetExportSettings

    folder = tmp_path_factory.mktemp("shards") / "rooms-shards"
    pipeline.export(Dataset.open(rooms), folder, DatasetExportSettings(to="webdataset", shard_size="40KB"))
    return folder


@pytest.fixture
def url(shards: Path) -> Iterator[str]:
    """The URL of these shards in a store of their own."""
    import fsspec

    from segkit import remote

    location = remote.location("memory://bucket/rooms")
    for path in shards.iterdir():
        if path.is_file():
            location.upload(path, path.name)
    yield location.root
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


@pytest.fixture
def requests_made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Collects what is read of remote files: name, first byte and number of bytes."""
    from segkit.remote.objects import Objects

    made: list[tuple[str, int, int]] = []
    read = Objects.read

    def noted(self: Objects, path: str, start: int, size: int) -> bytes:
        made.append((path.rpartition("/")[2], start, size))
        return read(self, path, start, size)

    monkeypatch.setattr(Objects, "read", noted)
    return made
