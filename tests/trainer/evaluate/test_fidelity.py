"""Layout fidelity: how much of the maps a segmenter finds in the pictures drawn from them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.palette import Palette
from segkit.progress import silent
from tests.trainer.runs import path_of
from trainer.checkpoints import export, load
from trainer.data import examples
from trainer.evaluate import fidelity
from trainer.settings import GenerateSettings

ADE = Palette.load("ade20k")


def load_image(path: Path) -> Image.Image:
    """Return a picture, read into memory."""
    with Image.open(path) as image:
        return image.copy()


@pytest.fixture
def settings(base: Path, tmp_path: Path) -> GenerateSettings:
    """Settings with a ControlNet that changes the pictures."""
    model = load.load_controlnet("fresh", load.load_base(str(base)))
    with torch.no_grad():
        model.controlnet_mid_block.weight.normal_(generator=torch.Generator().manual_seed(1))
    export.write_folder(tmp_path / "steering", model)
    return GenerateSettings(
        base=str(base), controlnet=str(tmp_path / "steering"), resolution=0, steps=2, device="cpu", guidance=2.0
    )


def test_all_kinds_of_pictures_are_segmented(rooms: Path, settings: GenerateSettings, tmp_path: Path) -> None:
    """The segmenter receives photos and pictures in the map's size; a perfect one finds the photos' maps."""
    dataset = examples.find(rooms)
    shown: list[Any] = []

    def segment(pictures: Any) -> Any:
        shown.extend(pictures)
        photos = len(shown) == 3 * len(dataset.val)
        maps = [np.asarray(load_image(path_of(example.control_map))) for example in dataset.val]
        return [
            type("Segmentation", (), {"labels": labels if photos else np.full_like(labels, 149)}) for labels in maps
        ]

    measured = fidelity.measure(dataset.val, ADE, settings, tmp_path / "drawn", segment, silent)

    sizes = [load_image(path_of(example.control_map)).size for example in dataset.val]
    assert [picture.size for picture in shown] == sizes * 3
    steered, alone = shown[: len(sizes)], shown[len(sizes) : 2 * len(sizes)]
    assert all(a.tobytes() != b.tobytes() for a, b in zip(steered, alone, strict=True))
    assert (measured.photos.miou, measured.photos.scenes) == (1.0, len(dataset.val))
    assert (measured.steered.miou, measured.alone.miou) == (0.0, 0.0)
    with Image.open(measured.sheet) as sheet:
        assert sheet.width == 4 * 208 + 8  # a single map


def test_a_fresh_controlnet_draws_what_the_base_draws(rooms: Path, base: Path, tmp_path: Path) -> None:
    """Before training, pictures with and without the ControlNet are equal: same noise, same prompts."""
    dataset = examples.find(rooms)
    settings = GenerateSettings(base=str(base), controlnet="fresh", resolution=64, steps=2, device="cpu")

    def segment(pictures: Any) -> Any:
        blank = [np.zeros((picture.height, picture.width), np.uint8) for picture in pictures]
        return [type("Segmentation", (), {"labels": labels}) for labels in blank]

    fidelity.measure(dataset.val, ADE, settings, tmp_path, segment, silent)

    drawn = {name: sorted((tmp_path / name).glob("*.png")) for name in ("steered", "alone")}
    assert len(drawn["alone"]) == len(dataset.val)
    for one, other in zip(drawn["steered"], drawn["alone"], strict=True):
        assert load_image(one).tobytes() == load_image(other).tobytes()
