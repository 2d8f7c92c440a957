"""Small vision networks with random weights, and FID's Inception with random weights in its full size."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from segkit.models import hub
from tests.conftest import Models
from trainer.evaluate.quality.inception import Inception

VISION = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
"""A vision transformer."""


@pytest.fixture(scope="session")
def clip(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of 77 tokens, in which every letter is one."""
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(models.clip)
    texts = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        bos_token_id=len(tokenizer) - 2, eos_token_id=len(tokenizer) - 1,
    )  # fmt: skip
    model = CLIPModel(CLIPConfig(text_config=texts, vision_config=CLIPVisionConfig(**VISION), projection_dim=12))
    folder = tmp_path_factory.mktemp("clips") / "tiny-clip"
    with hub.quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        processor(folder)
    return folder


def processor(folder: Path) -> None:
    """Write the image processor of a network for pictures of 32 x 32 pixels."""
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)


@pytest.fixture(scope="session")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of FID's Inception, random, with its classifier, as torch.save writes them."""
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(random_weights(), path)
    return path


def random_weights() -> dict[str, torch.Tensor]:
    """Return weights in fp16 that keep the scale of activations, so that every layer shows in the features."""
    rng = np.random.default_rng(0)
    with torch.device("meta"):
        shapes = {name: weight.shape for name, weight in Inception().state_dict().items()}
    weights = {}
    for name, shape in shapes.items():
        if name.endswith("conv.weight"):
            values = rng.standard_normal(shape, np.float32) * np.sqrt(2 / np.prod(shape[1:]))
        elif name.endswith(("running_var", "bn.weight")):
            values = rng.uniform(0.5, 1.5, shape)
        else:
            values = rng.normal(0, 0.1, shape)
        weights[name] = torch.from_numpy(np.asarray(values, np.float16))
    return weights | {"fc.weight": torch.zeros(1008, 2048, dtype=torch.float16)}
