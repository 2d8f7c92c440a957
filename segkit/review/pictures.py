"""Photos, maps and thumbnails as the page gets them. Thumbnails of maps keep exact class indices, too."""

from io import BytesIO

import numpy as np
from PIL import Image

from segkit import storage
from segkit.dataset import confidences
from segkit.dataset.triple import Triple
from segkit.maps import codec
from segkit.palette import Palette

THUMBNAIL = 224
"""Longer side of a thumbnail in pixels."""


def photo(triple: Triple) -> tuple[bytes, str]:
    """Return the stored photo and its media type."""
    name = triple.file_name
    return (triple.folder / name).read_bytes(), "image/png" if name.endswith(".png") else "image/jpeg"


def control_map(triple: Triple, palette: Palette) -> bytes:
    """Return the map as an indexed PNG of 8 bits whose pixel values are the class indices.

    That is the stored file, unless somebody has changed it: then it may be another kind of PNG.
    """
    data = (triple.folder / triple.conditioning_image_file_name).read_bytes()
    if storage.sha256(data) == triple.map_sha256:
        return data
    return codec.encode(codec.read(triple.control_map, palette)[0], palette)


def confidence(triple: Triple, palette: Palette) -> bytes:
    """Return the confidence map as a greyscale PNG; see dataset.confidences.

    Raises:
        FileNotFoundError: none was stored.
    """
    values = confidences.read(triple, palette)
    if values is None:
        raise FileNotFoundError(triple.key)
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def photo_thumbnail(triple: Triple) -> bytes:
    """Return a small JPEG of the photo."""
    with Image.open(triple.folder / triple.file_name, formats=("JPEG", "PNG")) as image:
        image.draft("RGB", (THUMBNAIL, THUMBNAIL))
        small = image.convert("RGB")
        small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
        buffer = BytesIO()
        small.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def map_thumbnail(triple: Triple, palette: Palette) -> bytes:
    """Return a small map: every n-th pixel, so that no class appears that the map does not have."""
    labels = codec.read(triple.control_map, palette)[0]
    step = max(1, -(-max(labels.shape) // THUMBNAIL))
    return codec.encode(np.ascontiguousarray(labels[step // 2 :: step, step // 2 :: step]), palette)
