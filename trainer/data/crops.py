"""Crop, resize and mirror a photo and its control map identically; the map is read as class indices."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

from segkit import photos
from segkit.errors import DatasetError, MapError, PhotoError
from segkit.maps import codec
from segkit.palette import Palette
from segkit.words import are
from trainer.data import members
from trainer.data.buckets import Size
from trainer.data.examples import Example

if TYPE_CHECKING:
    from torch import Tensor

Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge in pixels of the photo."""


@dataclass(frozen=True)
class View:
    """The part of a photo that is shown.

    Attributes:
        box: the crop.
        size: width and height that the crop is scaled to.
        mirrored: whether it is mirrored horizontally.
    """

    box: Box
    size: Size
    mirrored: bool


def center_crop(example: Example, size: Size, mirrored: bool) -> View:
    """Return the largest centred crop of a photo that has a bucket's aspect ratio."""
    scale = min(example.width / size[0], example.height / size[1])
    width, height = size[0] * scale, size[1] * scale
    # rounding may put an edge a fraction of a pixel outside, which Pillow refuses
    left, top = max(0.0, (example.width - width) / 2), max(0.0, (example.height - height) / 2)
    return View((left, top, min(left + width, example.width), min(top + height, example.height)), size, mirrored)


def time_ids(example: Example, view: View) -> tuple[int, ...]:
    """Return the time_ids of a view, by which Stable Diffusion XL is conditioned on sizes and crops.

    They describe the whole way from the source to the view: the recorded geometry, by which the stored photo was scaled
    and cropped from its source, and the crop that is really taken of it. Crops count, as in the base's own training, in
    pixels of the scale that is shown, from the top left of the picture as it is shown: of a mirrored view, from what
    was the right edge.

    Returns:
        Height and width of the upright source, top and left of the crop, height and width of the view, in pixels.
    """
    source, resized, (left, top) = (example.width, example.height), (example.width, example.height), (0, 0)
    if geometry := example.geometry:
        source = geometry.source_width, geometry.source_height
        resized = geometry.resized_width, geometry.resized_height
        left, top = geometry.crop_left, geometry.crop_top
    box_left, box_top, box_right, box_bottom = view.box
    offset = resized[0] - left - box_right if view.mirrored else left + box_left
    width, height = view.size
    x_scale, y_scale = width / (box_right - box_left), height / (box_bottom - box_top)
    return source[1], source[0], round((top + box_top) * y_scale), round(offset * x_scale), height, width


def photo(example: Example, view: View) -> "Tensor":
    """Return a photo, (3, H, W) float32, -1 to 1.

    Raises:
        DatasetError: the photo cannot be read, or is not the one that was recorded.
    """
    return photo_views(example, [view])[0]


def photo_views(example: Example, views: Sequence[View]) -> "list[Tensor]":
    """Return several views of a photo, which is decoded once; see `photo`."""
    import torch

    image, tensors = _opened(example), []
    for view in views:
        scaled = image.resize(view.size, Resampling.LANCZOS, view.box)
        pixels = _mirrored(np.asarray(scaled, np.float32), view) / np.float32(127.5) - np.float32(1)
        tensors.append(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())
    return tensors


def open_map(example: Example) -> Image.Image:
    """Open the control map of an example, byte for byte the one that was recorded or checked.

    The hash costs far less than decoding, and is what a fast check at the start leaves out.

    Raises:
        MapError: it is missing, cannot be decoded, or is not the one that was recorded.
        DatasetError: its shard is unavailable, or was changed.
    """
    try:
        return members.open_map(example.control_map, example.map_hash)
    except MapError as error:
        raise MapError(
            f"{example.control_map} {error}. Was the dataset changed during the training? Run the same command again, "
            "with check=full."
        ) from None


def control_map(example: Example, view: View, palette: Palette | None) -> NDArray[np.uint8]:
    """Return a control map as (H, W) class indices of the palette, 255 for unlabelled.

    Without a palette, a control picture that is not a segmentation map is returned as (H, W, 3) RGB.

    Raises:
        MapError: the map cannot be read, or a pixel is off the palette.
    """
    image = open_map(example)
    x_scale, y_scale = image.width / example.width, image.height / example.height  # the map may have another size
    box = (view.box[0] * x_scale, view.box[1] * y_scale, view.box[2] * x_scale, view.box[3] * y_scale)
    if palette is None:
        return _mirrored(np.asarray(image.convert("RGB").resize(view.size, Resampling.NEAREST, box)), view)
    labels, off = codec.read(image, palette)
    if off:
        raise MapError(f"{example.control_map}: {are(off, 'pixel')} off the palette {palette.name}.")
    if image.size != view.size or box != (0, 0, *image.size):
        labels = np.asarray(Image.fromarray(labels).resize(view.size, Resampling.NEAREST, box))
    return _mirrored(labels, view)


def _mirrored(pixels: NDArray[Any], view: View) -> NDArray[Any]:
    """Return (H, W, ...) pixels, mirrored if the view is."""
    return pixels[:, ::-1] if view.mirrored else pixels


def _opened(example: Example) -> Image.Image:
    try:
        image = photos.open_upright(members.read_photo(example.photo, example.photo_hash))
    except PhotoError as error:
        raise DatasetError(
            f"{example.photo}: cannot be read ({error}). Replace it, and resume with accept_changes=True."
        ) from None
    if image.size != (example.width, example.height):
        raise DatasetError(
            f"{example.photo}: its size changed during the training. Resume with accept_changes=True, or restore it."
        )
    return image
