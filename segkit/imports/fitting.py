"""Labels fitted exactly as their photo was."""

import numpy as np
from PIL import Image

from segkit import photos
from segkit.errors import PhotoError
from segkit.maps.codec import Labels
from segkit.photos import Geometry

SMALLEST = 0.5
"""Least ratio of a map's width to that of the stored photo: a coarser map would give whole blocks one class."""

_ROUNDED = 1.02
"""Factor up to which a map has the size of its photo, but for rounding."""


def fit(labels: Labels, geometry: Geometry, size: tuple[int, int]) -> Labels:
    """Scale and crop labels exactly as their photo was.

    Args:
        labels: (H, W) labels in the proportions of the photo, upright or as it is stored in its file.
        geometry: the photo's transform.
        size: width and height of the stored photo.

    Returns:
        Labels of that size.

    Raises:
        PhotoError: "map-size" or "map-unsure".
    """
    image = Image.fromarray(labels)
    source = geometry.source_width, geometry.source_height
    orientation = geometry.orientation
    upright, lying = _is_alike(image.size, source), orientation > 4 and _is_alike(image.size, source[::-1])
    if not (upright or lying):
        shape, expected = (f"{width}x{height}" for width, height in (image.size, source))
        raise PhotoError("map-size", f"the map is {shape}, the photo {expected}: other proportions")
    if orientation > 1 and upright and (lying or orientation < 5):
        raise PhotoError(
            "map-unsure",
            f"the photo is turned by its EXIF orientation {orientation}, and nothing tells whether the map is; turn "
            "the photo's pixels and remove the tag",
        )
    if lying and not upright:
        image = photos.turned(image, orientation)
    if image.width < SMALLEST * geometry.resized_width:
        raise PhotoError("map-size", f"the map has only {image.width}x{image.height} pixels for a photo of {size}")
    return np.asarray(photos.fit_map(image, geometry, size))


def _is_alike(size: tuple[int, int], source: tuple[int, int]) -> bool:
    """Return whether a size has the proportions of another, but for rounding to whole pixels."""
    (width, height), (full_width, full_height) = size, source
    return abs(width * full_height - height * full_width) <= max(full_width, full_height)


def enlargement(labels: Labels, geometry: Geometry) -> float:
    """Return the factor by which a map is enlarged to the size of its photo; 1.0 if it is not.

    Args:
        labels: (H, W) labels in the proportions of the photo.
        geometry: the photo's transform; a photo that is itself enlarged does not count.
    """
    source = max(geometry.source_width, geometry.source_height)
    resized = max(geometry.resized_width, geometry.resized_height)
    factor = min(source, resized) / max(labels.shape)
    return round(factor, 2) if factor > _ROUNDED else 1.0
