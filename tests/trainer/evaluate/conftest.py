"""A judge that needs no network, and a ControlNet that steers."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.models.segment import Segmentation
from segkit.palette import Palette
from trainer.checkpoints import export, load
from trainer.evaluate.judging import Judge
from trainer.evaluate.settings import EvaluateSettings

Load = Callable[[EvaluateSettings, Palette], Judge]


@pytest.fixture(scope="session")
def by_brightness() -> Load:
    """Load a judge that sees walls in dark pixels and floor in bright ones; it lists the pictures that it was shown."""

    def segment(pictures: Sequence[Image.Image]) -> list[Segmentation]:
        shown.extend(pictures)
        bright = [np.asarray(picture.convert("L")) > 127 for picture in pictures]
        return [Segmentation(np.where(one, 3, 0).astype(np.uint8), np.ones(one.shape, np.float32)) for one in bright]

    shown: list[Image.Image] = []

    def load_judge(settings: EvaluateSettings, palette: Palette) -> Judge:
        return Judge(segment, {"name": settings.judge, "revision": "1", "weights": "", "precision": "fp32"})

    load_judge.shown = shown  # type: ignore[attr-defined]
    return load_judge


@pytest.fixture(scope="session")
def steering(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ControlNet that changes the pictures. Do not modify it."""
    model = load.load_controlnet("fresh", load.load_base(str(base)))
    with torch.no_grad():
        model.controlnet_mid_block.weight.normal_(generator=torch.Generator().manual_seed(1))
    folder = tmp_path_factory.mktemp("steering") / "steering"
    export.write_folder(folder, model)
    return folder
