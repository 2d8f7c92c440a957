"""models.blend: class probabilities of tiles, mirror images and several networks are averaged."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from segkit.errors import ModelError
from segkit.models.blend import BlendedSegmenter
from segkit.models.device import Device
from segkit.models.segment import NeuralSegmenter
from segkit.palette import Palette
from segkit.toy import world
from tests.models import families

CPU = Device("cpu", "fp32")
NAMES = [swatch.name for swatch in families.TWELVE]


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """A photo larger than the input of the tiny networks, with odd sides."""
    return world.scene(3, (640, 480)).photo.resize((201, 151))


def load(folder: Path, name: str, labels: list[str] | None = None) -> NeuralSegmenter:
    """Write and load a tiny network."""
    return NeuralSegmenter(str(families.write(folder, name, labels)), families.TWELVE, CPU)


@pytest.mark.parametrize("name", ["mask2former", "maskformer", "segformer", "upernet"])
def test_all_options_work_with_all_kinds_of_networks(tmp_path: Path, name: str, photo: Image.Image) -> None:
    """Mask classifiers and per-pixel classifiers give maps of the photo's size, with probabilities as confidence."""
    segmenter = load(tmp_path, name)

    (alone,) = BlendedSegmenter([segmenter], 0, False)([photo])
    (blended,) = BlendedSegmenter([segmenter, segmenter], 2, True, batch=2)([photo])

    assert blended.labels.shape == blended.confidence.shape == (151, 201)
    assert blended.labels.max() < 12
    assert 0 < blended.confidence.min() <= blended.confidence.max() <= 1
    assert not np.array_equal(blended.labels, alone.labels)


@pytest.mark.parametrize("name", ["segformer", "mask2former"])
def test_probabilities_add_up_to_one(tmp_path: Path, name: str, photo: Image.Image) -> None:
    """The probabilities of a network's classes add up to 1, and the most likely class is the network's label."""
    segmenter = load(tmp_path, name)

    probabilities = segmenter.probabilities([photo, photo])

    assert probabilities.shape[:2] == (2, 13)
    assert torch.allclose(probabilities.sum(1), torch.ones(()), atol=1e-5)
    (blended,) = BlendedSegmenter([segmenter], 0, False)([photo])
    assert (blended.labels != segmenter([photo])[0].labels).mean() < 0.02


def test_the_mirror_image_is_averaged(tmp_path: Path, photo: Image.Image) -> None:
    """With flip_average, a mirrored photo gives the mirrored map; without, this network gives another one."""
    segmenter = load(tmp_path, "segformer")
    mirrored = ImageOps.mirror(photo)

    def asymmetry(flipped: bool) -> float:
        blended = BlendedSegmenter([segmenter], 0, flipped)
        one, other = (blended([picture])[0].labels for picture in (photo, mirrored))
        return float((one != other[:, ::-1]).mean())

    assert asymmetry(flipped=True) < 1e-3
    assert asymmetry(flipped=False) > 0.01


def test_an_ensemble_matches_labels(tmp_path: Path, photo: Image.Image) -> None:
    """Networks are averaged class by class of the palette, whatever the order of their labels."""
    forward = load(tmp_path / "forward", "segformer")
    backward = load(tmp_path / "backward", "segformer", NAMES[::-1])
    (one,), (other,) = forward.probabilities([photo]), backward.probabilities([photo])

    with torch.inference_mode():
        (mean,) = BlendedSegmenter([forward, backward], 0, False)._probabilities([photo])

    assert torch.equal(other[:12], one[:12].flip(0))
    assert torch.allclose(mean, (one + other) / 2)


def test_networks_of_other_resolutions_are_averaged(tmp_path: Path, photo: Image.Image) -> None:
    """A network whose outputs are larger is scaled to the resolution of the first."""
    first, second = load(tmp_path / "1", "segformer"), load(tmp_path / "2", "upernet")
    assert first.probabilities([photo]).shape != second.probabilities([photo]).shape

    with torch.inference_mode():
        (mean,) = BlendedSegmenter([first, second], 0, False)._probabilities([photo])

    assert mean.shape == first.probabilities([photo])[0].shape
    assert torch.allclose(mean.sum(0), torch.ones(()), atol=1e-5)


def test_what_denotes_no_class_becomes_unlabelled(tmp_path: Path, photo: Image.Image) -> None:
    """Pixels that a network most likely gives to "background" become 255."""
    segmenter = load(tmp_path, "segformer")
    labels = segmenter([photo])[0].labels
    common = int(np.bincount(labels.ravel()).argmax())
    names = [("background" if index == common else name) for index, name in enumerate(NAMES)]

    (blended,) = BlendedSegmenter([load(tmp_path / "b", "segformer", names)], 0, False)([photo])

    assert ((blended.labels == 255) == (labels == common)).mean() > 0.98


def test_a_photo_of_the_inputs_size_has_no_tiles(tmp_path: Path, photo: Image.Image) -> None:
    """Tiles change nothing where the network sees the photo at its own size."""
    segmenter = load(tmp_path, "segformer")
    small = photo.resize((80, 64))

    with_tiles, without = (BlendedSegmenter([segmenter], count, False)([small])[0].labels for count in (2, 0))

    assert np.array_equal(with_tiles, without)


def test_networks_without_probabilities_are_refused(tmp_path: Path) -> None:
    """EoMT's outputs can only be read by its own processor, which the message says."""
    with pytest.raises(ModelError, match=r"type eomt give no class scores to average\. Use OneFormer"):
        BlendedSegmenter([load(tmp_path, "eomt")], 0, True)


def test_the_toy_segmenter_sees_tiles() -> None:
    """The shipped OneFormer, whose input is 192 pixels high, labels a larger photo nearly as without tiles."""
    scene = world.scene(11, (320, 240))
    segmenter = NeuralSegmenter("toy", Palette.load("ade20k"), CPU)

    (blended,) = BlendedSegmenter([segmenter], 1, True)([scene.photo])

    assert segmenter.input_side == 192
    assert (blended.labels == scene.labels).mean() > 0.8
