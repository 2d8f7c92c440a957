"""Class scores with gradients: the processor's steps repeated in torch, and probabilities for every pixel."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.errors import ModelError
from segkit.models import hub, segment
from segkit.models.device import Device
from segkit.models.scores import IGNORED, Preprocessing, Scorer
from segkit.models.segment import NeuralSegmenter
from segkit.palette import Palette
from segkit.toy import world
from tests.models import families

CPU = Device("cpu", "fp32")
ADE = Palette.load("ade20k")


def pixels_of(photo: Image.Image) -> torch.Tensor:
    """Return a photo as (1, 3, H, W), 0 to 1."""
    return torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None] / 255


def processor_of(name: str) -> Preprocessing:
    """Return the preprocessing of a shipped segmenter."""
    source = hub.locate(name, segment.ROLE)
    processor = segment.load_processor(source, segment.load_model(source).config)
    return Preprocessing(getattr(processor, "image_processor", processor), name)


@pytest.mark.parametrize("name", ["toy", "toy-judge"])
def test_preprocessing_is_the_processors(name: str) -> None:
    """Equal within 1e-5 at the network's own size; where it resizes, within the rounding to 8 bits."""
    preprocessing = processor_of(name)
    photo = world.scene(3, (128, 128)).photo
    for size, tolerance in ((preprocessing(pixels_of(photo)).shape[-1], 1e-5), (128, 0.02)):
        scaled = photo.resize((size, size), Image.Resampling.LANCZOS)
        expected = preprocessing.processor(images=[scaled], return_tensors="pt")["pixel_values"]
        assert float((preprocessing(pixels_of(scaled)) - expected).abs().max()) <= tolerance


@pytest.mark.parametrize("name", ["toy", "toy-judge"])
def test_scores_are_those_of_the_maps(name: str) -> None:
    """The most probable class is the one that build-dataset would paint, and the probabilities add up to 1."""
    photo = world.scene(5, (128, 128)).photo
    labels = NeuralSegmenter(name, ADE, CPU)([photo])[0].labels
    scorer = Scorer(name, ADE, CPU)

    scores = scorer.log_probabilities(pixels_of(photo))

    agreement = scores.argmax(1)[0] == scorer.targets(torch.from_numpy(labels))
    assert float(agreement.float().mean()) > 0.99  # the processor rounds to 8 bits
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(1, 128, 128), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", [name for name in families.NAMES if not name.startswith("eomt")])
def test_every_family_gives_probabilities(tmp_path: Path, name: str) -> None:
    """Per-pixel and mask classifiers give a distribution over the classes for each pixel, at the pictures' size."""
    scorer = Scorer(str(families.write(tmp_path / "network", name)), families.TWELVE, CPU)

    scores = scorer.log_probabilities(torch.rand(2, 3, 72, 64, generator=torch.Generator().manual_seed(0)))

    torch.testing.assert_close(scores.exp().sum(1), torch.ones(2, 72, 64), atol=1e-4, rtol=0)


def test_gradients_reach_the_pixels_alone() -> None:
    """The gradient is that of finite differences, and no weight has one."""
    scorer = Scorer("toy", ADE, CPU)
    scene = world.scene(5, (128, 128))
    pixels = pixels_of(scene.photo).requires_grad_()
    targets = scorer.targets(torch.from_numpy(scene.labels.copy()))[None]

    def entropy(changed: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.nll_loss(scorer.log_probabilities(changed), targets, ignore_index=IGNORED)

    (gradient,) = torch.autograd.grad(entropy(pixels), pixels)
    step = 0.01 * gradient / gradient.norm()
    with torch.no_grad():
        difference = entropy(pixels + step) - entropy(pixels - step)
    assert float(difference) == pytest.approx(2 * float((step * gradient).sum()), rel=0.05)
    assert not any(weight.requires_grad for weight in scorer._model.parameters())


def test_pixels_without_a_class_are_ignored(tmp_path: Path) -> None:
    """255 and classes that the network does not know are no targets; other classes are found by name, not by index."""
    names = [swatch.name for swatch in families.TWELVE][::-1]
    scorer = Scorer(str(families.write(tmp_path / "network", "segformer", names)), ADE, CPU)

    targets = scorer.targets(torch.tensor([[0, 11, 12, 255]], dtype=torch.uint8))

    assert targets.tolist() == [[11, 0, IGNORED, IGNORED]]


@pytest.mark.parametrize(
    ("name", "before", "after", "message"),
    [
        ("segformer", '"resample": 2', '"resample": 0', "its processor does more than resize and normalise"),
        ("eomt", "", "", "type eomt give no class scores to train against. Use OneFormer"),
    ],
)
def test_an_unsuitable_network_is_refused(tmp_path: Path, name: str, before: str, after: str, message: str) -> None:
    """One without class scores, or whose processor uses another filter or pads; the message says what would do."""
    folder = families.write(tmp_path / "network", name)
    config = folder / "preprocessor_config.json"
    assert before in config.read_text()
    config.write_text(config.read_text().replace(before, after))

    with pytest.raises(ModelError, match=message):
        Scorer(str(folder), families.TWELVE, CPU)
