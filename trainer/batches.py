"""Batches: photos and maps cropped and mirrored alike, maps as class indices up to the painting.

All that is drawn for a photo (crop, mirroring, noise, time, dropout) is a function of the seed, the batch's number and
the photo's place in it over all processes: a resumed run goes on exactly, and two processes see what one of twice the
batch sees.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.Image import Resampling, Transpose

from segkit import control, maps, modes
from segkit.errors import DatasetError, MapError
from segkit.palette import UNLABELLED, Palette
from segkit.settings import TrainSettings
from trainer.buckets import Order, Size, fit
from trainer.examples import Example

if TYPE_CHECKING:
    import torch
    from torch import Tensor

AHEAD = 2
"""Batches that are read while the network works."""

_PICTURE, _NOISE = 0, 1  # what a stream of random numbers is for


@dataclass(frozen=True)
class Batch:
    """Some photos, all of one size.

    Attributes:
        photos: (B, 3, H, W) float32, -1 to 1.
        controls: (B, 3, H, W) float32, 0 to 1: every pixel a colour of the palette, or black.
        texts: B prompts, some emptied.
        draws: B generators of random numbers for the noise.
    """

    photos: "Tensor"
    controls: "Tensor"
    texts: list[str]
    draws: list["torch.Generator"]


class Batches:
    """The batches of one process, one after another.

    Args:
        examples: what is trained on.
        table: the maps' palette; None for control pictures that are no maps.
        settings: of the training.
        rank: of this process.
        world: number of processes.

    Raises:
        DatasetError: fewer examples than a batch of all processes.
    """

    def __init__(
        self, examples: Sequence[Example], table: Palette | None, settings: TrainSettings, rank: int = 0, world: int = 1
    ) -> None:
        self._settings, self._rank = settings, rank
        whole = settings.batch_size * world
        if len(examples) < whole:
            raise DatasetError(
                f"{len(examples)} triples are fewer than a batch of {settings.batch_size} on {world} processes. "
                f"Type --batch-size {max(1, len(examples) // world)}, or add photos."
            )
        self._examples, self._table = examples, table
        self._sizes = [fit(each.width, each.height, settings.resolution) for each in examples]
        self.order = Order(self._sizes, whole, settings.seed)

    def starting_at(self, number: int) -> Iterator[Batch]:
        """Yield the batch of this number, counted from 0 over all epochs, and those after it, without end."""
        with ThreadPoolExecutor(AHEAD) as pool:
            waiting: list[Future[Batch]] = []
            try:
                while True:
                    while len(waiting) <= AHEAD:
                        waiting.append(pool.submit(self.batch, number))
                        number += 1
                    yield waiting.pop(0).result()
            finally:
                for each in waiting:
                    each.cancel()

    def batch(self, number: int) -> Batch:
        """Return the batch of this number."""
        import torch

        size = self._settings.batch_size
        slots = range(self._rank * size, (self._rank + 1) * size)
        places = self.order[number]
        photos, controls, texts = [], [], []
        for slot in slots:
            example = self._examples[places[slot]]
            random = np.random.default_rng([self._settings.seed, number, slot, _PICTURE])
            photo, painted = self._pictures(example, self._sizes[places[slot]], random)
            photos.append(photo)
            controls.append(painted)
            texts.append("" if random.random() < self._settings.prompt_dropout else example.text)
        return Batch(
            torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).contiguous(),
            torch.from_numpy(np.stack(controls)).permute(0, 3, 1, 2).contiguous(),
            texts,
            [_generator(self._settings.seed, number, slot) for slot in slots],
        )

    def _pictures(
        self, example: Example, size: Size, random: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        box, mirrored = crop(example.width, example.height, size, random), random.random() < 0.5
        mirrored = mirrored and self._settings.flip
        photo = _photo(example).resize(size, Resampling.LANCZOS, box)
        photo = photo.transpose(Transpose.FLIP_LEFT_RIGHT) if mirrored else photo
        image = maps.read(example.control_map)
        scale = image.width / example.width, image.height / example.height
        across, down = scale
        within = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
        if self._table is None:
            picture = image.convert("RGB").resize(size, Resampling.NEAREST, within)
            picture = picture.transpose(Transpose.FLIP_LEFT_RIGHT) if mirrored else picture
            painted = np.asarray(picture, np.float32) / np.float32(255)
        else:
            labels, off = control.read(image, self._table)
            if off:
                raise MapError(f"{example.control_map}: {off:,} pixels are off the palette {self._table.name}.")
            cropped = Image.fromarray(labels).resize(size, Resampling.NEAREST, within)
            cropped = cropped.transpose(Transpose.FLIP_LEFT_RIGHT) if mirrored else cropped
            painted = paint(np.asarray(cropped), self._table)
        return np.asarray(photo, np.float32) / np.float32(127.5) - np.float32(1), painted


def crop(width: int, height: int, size: Size, random: np.random.Generator) -> tuple[float, float, float, float]:
    """Draw the part of a photo that fills a bucket: as large as can be, anywhere along the longer way.

    Returns:
        Left, top, right and bottom edge in pixels of the photo.
    """
    scale = min(width / size[0], height / size[1])
    across, down = size[0] * scale, size[1] * scale
    left, top = random.random() * (width - across), random.random() * (height - down)
    return left, top, min(left + across, width), min(top + down, height)


def paint(labels: NDArray[np.uint8], table: Palette) -> NDArray[np.float32]:
    """Paint class indices: (H, W) to (H, W, 3), 0 to 1; unlabelled pixels are black.

    Raises:
        MapError: an index that is no class, or a painted pixel that is no colour of the palette.
    """
    colours = np.frombuffer(table.bytes, np.uint8).reshape(256, 3)
    strange = labels[(labels >= len(table)) & (labels != UNLABELLED)]
    if strange.size:
        raise MapError(f"{int(strange[0])} is no class of {table.name}; {strange.size:,} pixels have no colour.")
    painted: NDArray[np.float32] = (colours.astype(np.float32) / np.float32(255))[labels]
    require_exact(painted, table)
    return painted


def require_exact(painted: NDArray[np.float32], table: Palette, precision: str = "fp32") -> None:
    """Assert that every pixel is a colour of the palette, or black: the promise, kept to the last step.

    Args:
        painted: (..., 3), 0 to 1.
        table: the palette.
        precision: what the numbers were rounded to; of bf16's 8 bits, 255 levels can still be told apart.

    Raises:
        MapError: one is not.
    """
    bytes_of = painted.astype(np.float64) * 255
    whole = np.rint(bytes_of).astype(np.int64)
    packed = whole[..., 0] | whole[..., 1] << 8 | whole[..., 2] << 16
    known = [0, *(r | g << 8 | b << 16 for r, g, b in table.by_colour)]
    off = (np.abs(bytes_of - whole) > (1e-4 if precision == "fp32" else 0.5)).any(-1) | ~np.isin(packed, known)
    if off.any():
        raise MapError(f"{int(off.sum()):,} pixels that the network would see are off the palette {table.name}.")


def _photo(example: Example) -> Image.Image:
    try:
        image = maps.read(example.photo)
        upright: Any = ImageOps.exif_transpose(image)
        photo, _ = modes.to_srgb(upright)
    except Exception as error:  # Pillow raises anything on damaged files
        raise DatasetError(f"{example.photo}: cannot be read ({error}). Mend it or leave it out.") from None
    if photo.size != (example.width, example.height):
        raise DatasetError(f"{example.photo}: changed while it was trained on. Start again.")
    return photo


def _generator(seed: int, number: int, slot: int) -> "torch.Generator":
    import torch

    words = np.random.SeedSequence([seed, number, slot, _NOISE]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)
