"""How a photo and its map are seen: cropped, sized and mirrored alike, the map as class indices."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.Image import Resampling

from segkit import maps
from segkit.errors import DatasetError, MapError
from segkit.maps import codec
from segkit.palette import Palette
from segkit.photos import srgb
from trainer.data.buckets import Size
from trainer.data.examples import Example

if TYPE_CHECKING:
    from torch import Tensor

Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge in pixels of the photo."""


@dataclass(frozen=True)
class View:
    """What is seen of a photo. Attributes: the part, the width and height it is scaled to, whether it is mirrored."""

    box: Box
    size: Size
    mirrored: bool


def center_crop(example: Example, size: Size, mirrored: bool) -> View:
    """Return how a photo fills a bucket: its middle, as large as can be."""
    scale = min(example.width / size[0], example.height / size[1])
    across, down = size[0] * scale, size[1] * scale
    left, top = (example.width - across) / 2, (example.height - down) / 2
    return View((left, top, min(left + across, example.width), min(top + down, example.height)), size, mirrored)


def photo(example: Example, view: View) -> "Tensor":
    """Return a photo, (3, H, W) float32, -1 to 1.

    Raises:
        DatasetError: it cannot be read any more, or is another than it was.
    """
    import torch

    image = _opened(example).resize(view.size, Resampling.LANCZOS, view.box)
    pixels = _turned(np.asarray(image, np.float32), view) / np.float32(127.5) - np.float32(1)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def control_map(example: Example, view: View, table: Palette | None) -> NDArray[np.uint8]:
    """Return a control map: (H, W) class indices, each of a class of the palette, or 255.

    Without a palette, of a control picture that is no map: (H, W, 3) RGB.

    Raises:
        MapError: a pixel is off the palette.
    """
    image = maps.read(example.control_map)
    across, down = image.width / example.width, image.height / example.height
    box = (view.box[0] * across, view.box[1] * down, view.box[2] * across, view.box[3] * down)
    if table is None:
        return _turned(np.asarray(image.convert("RGB").resize(view.size, Resampling.NEAREST, box)), view)
    labels, off = codec.read(image, table)
    if off:
        raise MapError(f"{example.control_map}: {off:,} pixels are off the palette {table.name}.")
    if image.size != view.size or box != (0, 0, *image.size):
        labels = np.asarray(Image.fromarray(labels).resize(view.size, Resampling.NEAREST, box))
    return _turned(labels, view)


def _turned(pixels: NDArray[Any], view: View) -> NDArray[Any]:
    """Return (H, W, ...) pixels as the view has them."""
    return pixels[:, ::-1] if view.mirrored else pixels


def _opened(example: Example) -> Image.Image:
    try:
        image = maps.read(example.photo)
        upright: Any = ImageOps.exif_transpose(image)
        found, _ = srgb.to_srgb(upright)
    except Exception as error:  # Pillow raises anything on damaged files
        raise DatasetError(f"{example.photo}: cannot be read ({error}). Mend it or leave it out.") from None
    if found.size != (example.width, example.height):
        raise DatasetError(f"{example.photo}: changed while it was trained on. Start again.")
    return found
