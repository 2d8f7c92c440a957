"""Control maps to draw."""

from pathlib import Path

import numpy as np
from PIL import Image

from segkit.maps import codec
from segkit.palette import Palette

ADE = Palette.load("ade20k")


def write_map(path: Path, seed: int, size: tuple[int, int] = (150, 100)) -> Path:
    """Write a control map of large areas."""
    areas = np.random.default_rng(seed).integers(0, 150, (4, 6), np.uint8)
    labels = np.asarray(Image.fromarray(areas).resize(size, Image.Resampling.NEAREST))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(codec.encode(labels, ADE))
    return path
