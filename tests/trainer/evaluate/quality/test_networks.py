"""Networks that look at pictures: FID's Inception, vision models of transformers, and CLIP."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.multimodal.clip_score import CLIPScore
from transformers import (
    CLIPModel,
    CLIPProcessor,
    CLIPTokenizer,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTForImageClassification,
)
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from segkit.errors import ModelError
from segkit.models import hub
from segkit.models.device import Device
from tests.trainer.evaluate.quality.conftest import VISION, processor
from trainer.evaluate.quality import networks, spread
from trainer.evaluate.quality.networks import Vector

CPU = Device("cpu", "fp32")


def picture(seed: int, size: tuple[int, int] = (40, 40)) -> Image.Image:
    """Return noise."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8))


def test_inception_equals_torch_fidelity(inception: Path) -> None:
    """Features as torch-fidelity 0.4.0 gives them with these weights, other sizes resized by torchmetrics 1.9.

    Compared are three features, and the means of those that come from each convolution of the last block.
    """
    extractor = networks.load_features(str(inception), CPU)
    of_square, of_tall = extractor.embed(picture(1, (299, 299))), extractor.embed(picture(2, (96, 128)))

    expected = [19.63217, 0.02270162, 0.3860186, 10.55485, 10.28252, 9.726585, 11.61083, 10.54308, 13.37381]
    assert summary(of_square) == pytest.approx(expected, rel=1e-4)
    expected = [13.12026, 0.04531748, 0.2200194, 7.244540, 7.001726, 6.624411, 7.910015, 7.164843, 9.132817]
    assert summary(of_tall) == pytest.approx(expected, rel=1e-4)
    assert extractor.name == "Inception"


def summary(vector: Vector) -> list[float]:
    """Return some features, and means of all."""
    assert vector.shape == (2048,)
    parts = np.split(vector, (320, 704, 1088, 1472, 1856))
    return [*vector[[0, 700, 1500]].tolist(), *(float(part.mean()) for part in parts)]


class Command:
    """Runs a command when it is unpickled."""

    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.touched}",)


def test_other_weights_are_refused(inception: Path, tmp_path: Path) -> None:
    """Code in a pickle is not executed; ImageNet's Inception, parts of FID's, and NaN are named in one line."""
    weights = torch.load(inception)
    some = {name: weights[name] for name in list(weights)[:5]}
    file = tmp_path / "weights.pth"

    def refuse(match: str, content: Any) -> None:
        torch.save(content, file)
        with pytest.raises(ModelError, match=match):
            networks.load_features(str(file), CPU)

    refuse("could execute foreign code", some | {"fc.bias": Command(tmp_path / "touched")})
    assert not (tmp_path / "touched").exists()
    refuse("1,000 classes, FID's has 1,008", some | {"fc.weight": torch.zeros(1000, 2048)})
    refuse("not FID's Inception: Conv2d_2a_3x3.conv.weight is missing", some)
    refuse("has the shape", some | {"Mixed_7c.branch_pool.conv.weight": torch.zeros(1)})
    refuse("NaN or infinite", some | {"Conv2d_1a_3x3.bn.bias": torch.full((32,), torch.nan)})
    with pytest.raises(ModelError, match="does not exist"):
        networks.load_features(str(tmp_path / "absent.pth"), CPU)


def test_features_of_vision_models(clip: Path, tmp_path: Path) -> None:
    """CLIP's image embedding, DINOv2's pooled output, the class token of a ViT, an encoder's mean over the picture."""
    torch.manual_seed(1)
    with hub.quiet():
        dino = Dinov2Model(Dinov2Config(**VISION)).eval()
        vit = ViTForImageClassification(ViTConfig(**VISION)).eval()  # its file lacks the weights of a pooled output
        for name, model in (("dino", dino), ("vit", vit)):
            model.save_pretrained(tmp_path / name)
            processor(tmp_path / name)
        embedding = CLIPModel.from_pretrained(clip).eval()
    pixels = AutoImageProcessor.from_pretrained(clip, backend="pil")(picture(0), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        expected = {
            str(clip): embedding.get_image_features(pixels).pooler_output,
            str(tmp_path / "dino"): dino(pixels).pooler_output,
            str(tmp_path / "vit"): vit.vit(pixels).last_hidden_state[:, 0],
        }
    for folder, vector in expected.items():
        assert networks.load_features(folder, CPU).embed(picture(0)) == pytest.approx(vector[0].numpy(), abs=1e-6)

    encoder = networks.load_features("toy-judge", CPU)
    assert encoder.embed(picture(0)).shape == (128,)
    assert encoder.name == "toy-judge"


def test_clip_score_equals_torchmetrics(clip: Path) -> None:
    """The mean of 100 x cosine over pictures and prompts."""

    class Tensors:
        """A CLIP whose features are tensors, as they were before transformers 5, and as torchmetrics expects them."""

        def __init__(self) -> None:
            self.model = CLIPModel.from_pretrained(clip).eval()
            self.config = self.model.config

        def to(self, device: Any) -> "Tensors":
            return self

        def get_image_features(self, pixels: torch.Tensor) -> Any:
            return self.model.get_image_features(pixels).pooler_output

        def get_text_features(self, ids: torch.Tensor, mask: torch.Tensor) -> Any:
            return self.model.get_text_features(ids, mask).pooler_output

    prompts = ["a red room", "a street with two cars", "a bed"]
    pictures = [picture(seed, (48, 40)) for seed in range(3)]
    with hub.quiet():
        images = AutoImageProcessor.from_pretrained(clip, backend="pil")
        metric = CLIPScore(lambda: (Tensors(), CLIPProcessor(images, CLIPTokenizer.from_pretrained(clip))))
    with torch.inference_mode():
        metric.update([torch.from_numpy(np.array(one)).permute(2, 0, 1) for one in pictures], prompts)

    loaded = networks.load_clip(str(clip), CPU)
    vectors = np.stack([loaded.pictures.embed(one) for one in pictures])
    texts = np.stack([loaded.embed_text(prompt) for prompt in prompts])
    cosines = (spread.normalized(vectors) * spread.normalized(texts)).sum(-1)

    assert max(100 * cosines.mean(), 0) == pytest.approx(float(metric.compute()), abs=1e-3)


def test_long_prompts_are_cut_before_their_end_token(clip: Path) -> None:
    """75 tokens fit beside start and end, and what follows changes nothing."""
    loaded = networks.load_clip(str(clip), CPU)
    fits = "b " * 75

    assert not loaded.is_truncated(fits)
    assert loaded.is_truncated(f"{fits} a")
    assert np.array_equal(loaded.embed_text(fits), loaded.embed_text(f"{fits} a a"))
    assert not np.array_equal(loaded.embed_text(fits), loaded.embed_text("b " * 74))


def test_what_is_no_clip_is_refused(clip: Path, tmp_path: Path) -> None:
    """A network of another kind, the toy world, which has none, and a folder without a processor."""
    for name, match in ((str(hub.toy_folder() / "judge"), "type segformer. Expected a CLIP"), ("toy", "is shipped")):
        with pytest.raises(ModelError, match=match):
            networks.load_clip(name, CPU)
    for path in clip.iterdir():
        if path.name != "preprocessor_config.json":
            (tmp_path / path.name).symlink_to(path)
    with pytest.raises(ModelError, match=r"Expected preprocessor_config\.json"):
        networks.load_features(str(tmp_path), CPU)
