"""Layout obedience: what a segmenter sees of the maps in what was drawn from them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.palette import Palette
from segkit.progress import silent
from trainer.checkpoints import export, load
from trainer.data import examples
from trainer.evaluate import fidelity
from trainer.settings import GenerateSettings

ADE = Palette.load("ade20k")


def opened(path: Path) -> Image.Image:
    """Return a picture."""
    with Image.open(path) as image:
        return image.copy()


@pytest.fixture
def given(base: Path, tmp_path: Path) -> GenerateSettings:
    """How to draw, with a ControlNet that changes what is drawn."""
    model = load.load_controlnet("fresh", load.load_base(str(base)))
    with torch.no_grad():
        model.controlnet_mid_block.weight.normal_(generator=torch.Generator().manual_seed(1))
    export.write_folder(tmp_path / "steering", model)
    return GenerateSettings(
        base=str(base), controlnet=str(tmp_path / "steering"), resolution=0, steps=2, device="cpu", guidance=2.0
    )


def test_each_kind_of_picture_is_looked_at(rooms: Path, given: GenerateSettings, tmp_path: Path) -> None:
    """The segmenter is shown photos and drawings in the map's size; a perfect one sees all of the photos' maps."""
    found = examples.find(rooms)
    shown: list[Any] = []

    def segment(pictures: Any) -> Any:
        shown.extend(pictures)
        photos = len(shown) == 3 * len(found.val)
        maps = [np.asarray(opened(each.control_map)) for each in found.val]
        return [type("Seen", (), {"labels": each if photos else np.full_like(each, 149)}) for each in maps]

    measured = fidelity.measure(found.val, ADE, given, tmp_path / "drawn", segment, silent)

    sizes = [opened(each.control_map).size for each in found.val]
    assert [picture.size for picture in shown] == sizes * 3
    steered, alone = shown[: len(sizes)], shown[len(sizes) : 2 * len(sizes)]
    assert all(a.tobytes() != b.tobytes() for a, b in zip(steered, alone, strict=True))
    assert (measured.photos.miou, measured.photos.scenes) == (1.0, len(found.val))
    assert (measured.steered.miou, measured.alone.miou) == (0.0, 0.0)
    with Image.open(measured.sheet) as sheet:
        assert sheet.width == 4 * 208 + 8  # one map alone


def test_a_fresh_network_draws_what_the_base_draws(rooms: Path, base: Path, tmp_path: Path) -> None:
    """Before the training both rows are one: equal noise and prompts, equal pictures."""
    found = examples.find(rooms)
    given = GenerateSettings(base=str(base), controlnet="fresh", resolution=64, steps=2, device="cpu")

    def segment(pictures: Any) -> Any:
        blank = [np.zeros((each.height, each.width), np.uint8) for each in pictures]
        return [type("Seen", (), {"labels": each}) for each in blank]

    fidelity.measure(found.val, ADE, given, tmp_path, segment, silent)

    drawn = {name: sorted((tmp_path / name).glob("*.png")) for name in ("steered", "alone")}
    assert len(drawn["alone"]) == len(found.val)
    for one, other in zip(drawn["steered"], drawn["alone"], strict=True):
        assert opened(one).tobytes() == opened(other).tobytes()
