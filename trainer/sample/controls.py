"""Control maps of pictures to be drawn: checked, sized, and resized with NEAREST."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

from segkit.errors import MapError
from segkit.maps import codec, diagnose
from segkit.palette import UNLABELLED, Palette
from segkit.words import quote
from trainer.data import members
from trainer.sample.requests import DrawRequest

_OF_EXPORT = "Use the palette of the dataset that was exported"


def require_drawable(request: DrawRequest, palette: Palette | None, resolution: int) -> tuple[int, int]:
    """Check a map's colours, and return the width and height of its picture.

    Args:
        request: names the map.
        palette: of the map; None for control images that are not maps.
        resolution: see `size_for`.

    Raises:
        MapError: the map cannot be read, has off-palette pixels, or makes no sense with the palette.
    """
    image = _read(request)
    if palette:
        _labels(request, image, palette)
    return size_for(*image.size, resolution)


def _read(request: DrawRequest) -> Image.Image:
    try:
        return members.open_map(request.control_map)
    except MapError as error:
        raise MapError(f"{request.control_map} {error}") from None


def _labels(request: DrawRequest, image: Image.Image, palette: Palette) -> codec.Labels:
    path = request.control_map
    labels, off = codec.read(image, palette)
    fix = f"Fix it: segkit snap {quote(path)} -o fixed.png" if isinstance(path, Path) else _OF_EXPORT
    if off:
        raise MapError(
            f"{path}: {off:,} of {labels.size:,} pixels are off the palette {palette.name}. {fix} (for control images "
            "that are not maps: allow_any_control=True)"
        )
    if reason := diagnose.suspicion(image, labels, palette):
        cure = f"{fix} (if it is right as it is, with --from exact)"
        blank = f"Paint its areas in colours of the palette {palette.name}."
        raise MapError(f"{path}: {reason}. {blank if (labels == UNLABELLED).all() else cure}")
    return labels


def size_for(width: int, height: int, resolution: int) -> tuple[int, int]:
    """Return width and height of a map's picture: multiples of 8, at least 64, with the area of resolution squared.

    A resolution of 0 keeps the map's size, rounded to multiples of 8.
    """
    scale = resolution / (width * height) ** 0.5 if resolution else 1.0
    scaled_width, scaled_height = (max(64, round(side * scale / 8) * 8) for side in (width, height))
    return scaled_width, scaled_height


def pixels(request: DrawRequest, palette: Palette | None, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a map in the size of its picture, resized with NEAREST.

    Args:
        request: names the map.
        palette: of the map; None for control images that are not maps.
        size: width and height.

    Returns:
        (H, W) class indices; without a palette, (H, W, 3) RGB.

    Raises:
        MapError: see `require_drawable`.
    """
    image = _read(request)
    if palette is None:
        return np.asarray(image.convert("RGB").resize(size, Resampling.NEAREST))
    labels = Image.fromarray(_labels(request, image, palette))
    return np.asarray(labels.resize(size, Resampling.NEAREST))
