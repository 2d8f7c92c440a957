"""Photos, maps and thumbnails as the page gets them. Thumbnails of maps keep exact class indices, too."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from segkit import storage
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


def areas(image: Image.Image, size: int = 16) -> NDArray[np.uint16]:
    """Divide a photo into small areas whose borders follow its edges, for a brush that snaps to them.

    A watershed of the gradient from seeds on a grid, as in "waterpixels" (Machairas et al. 2015): seeds lie where the
    gradient is lowest near the points of the grid.

    Args:
        image: the photo, RGB.
        size: distance of the grid's points in pixels; larger for photos with more areas than 16 bits can count.

    Returns:
        (H, W) uint16 numbers of areas, counted from 1.
    """
    size = max(size, int(np.ceil(np.sqrt(image.width * image.height / 60_000))))
    gray = np.asarray(image.convert("L"), np.float32)
    gradient = ndimage.gaussian_gradient_magnitude(gray, 1.0)
    gradient = np.minimum(gradient * 8, 65_000).astype(np.uint16)
    rows, columns = (np.arange(size // 2, length, size) for length in gray.shape)
    reach = size // 3
    seeds = np.zeros(gray.shape, np.int32)
    number = 0
    for row in rows:
        for column in columns:
            top, left = max(0, row - reach), max(0, column - reach)
            cell = gradient[top : row + reach + 1, left : column + reach + 1]
            down, right = divmod(int(cell.argmin()), cell.shape[1])
            number += 1
            seeds[top + down, left + right] = number
    numbers: NDArray[np.int32] = ndimage.watershed_ift(gradient, seeds)
    return numbers.astype(np.uint16)
