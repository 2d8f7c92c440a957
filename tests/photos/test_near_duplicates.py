"""Perceptual hashes: those of scaled, recompressed, mirrored and cropped copies are found, others are not."""

from collections.abc import Callable
from functools import cache
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from segkit.photos import near_duplicates
from segkit.photos.hash_index import HashIndex
from segkit.photos.near_duplicates import VIEWS
from segkit.toy import world

Change = Callable[[Image.Image], Image.Image]


@cache
def photo(seed: int) -> Image.Image:
    """Return a rendered photo."""
    return world.scene(seed, (480, 360)).photo


@cache
def index() -> HashIndex:
    """Return the hashes of six photos."""
    return HashIndex([near_duplicates.perceptual_hash(photo(seed)) for seed in range(6)])


def recompressed(image: Image.Image) -> Image.Image:
    """Return a picture after low-quality JPEG compression."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=25)
    return Image.open(buffer)


def cropped(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """Return a picture without shares of its sides."""
    width, height = image.size
    box = left * width, top * height, (1 - right) * width, (1 - bottom) * height
    return image.crop((round(box[0]), round(box[1]), round(box[2]), round(box[3])))


CHANGES: dict[str, Change] = {
    "recompressed": recompressed,
    "mirrored": ImageOps.mirror,
    "scaled": lambda image: image.resize((image.width // 2, image.height // 2)),
    "all three": lambda image: recompressed(ImageOps.mirror(image.resize((image.width // 2, image.height // 2)))),
    "trimmed": lambda image: image.crop((0, 2, image.width - 4, image.height)),
    "without the left": lambda image: cropped(image, 0.05, 0, 0, 0),
    "without the bottom": lambda image: cropped(image, 0, 0, 0, 0.05),
    "without an edge": lambda image: cropped(image, 0.05, 0.05, 0.05, 0.05),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "grey": ImageOps.grayscale,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("seed", range(6))
def test_a_changed_copy_is_found(seed: int, change: Change) -> None:
    """A recompressed, mirrored, scaled, cropped or toned copy has the original as its only candidate."""
    coefficients = near_duplicates.coefficients(near_duplicates.grey_copy(change(photo(seed))))

    assert [index().photos(number) for number in index().search(coefficients)] == [[seed]]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_original_of_a_known_copy_is_found(change: Change) -> None:
    """It makes no difference which of the two was there first."""
    for seed in range(6):
        copies = HashIndex([near_duplicates.perceptual_hash(change(photo(seed)))])

        assert copies.search(near_duplicates.coefficients(near_duplicates.grey_copy(photo(seed)))) == [0]


def test_the_signs_of_the_coefficients_are_the_hashes_of_the_windows() -> None:
    """The first view is the photo itself, another its mirror image, another a crop: a few weak bits may differ."""
    image = photo(0)
    bits = near_duplicates.coefficients(near_duplicates.grey_copy(image)) > 0
    hashes = np.packbits(bits, axis=1).view(">u8").ravel().tolist()
    views = {
        VIEWS.index(near_duplicates.View((0.0, 1.0), (0.0, 1.0), False)): image,
        VIEWS.index(near_duplicates.View((0.0, 1.0), (0.0, 1.0), True)): ImageOps.mirror(image),
        VIEWS.index(near_duplicates.View((0.0, 1.0), (0.05, 1.0), False)): cropped(image, 0.05, 0, 0, 0),
    }

    for position, window in views.items():
        assert (hashes[position] ^ near_duplicates.perceptual_hash(window)).bit_count() <= 4


def test_the_hash_of_a_mirror_image_follows_from_the_hash() -> None:
    """A few bits near the median may differ."""
    for seed in range(6):
        mirrored = near_duplicates.mirrored(near_duplicates.perceptual_hash(photo(seed)))
        assert (mirrored ^ near_duplicates.perceptual_hash(ImageOps.mirror(photo(seed)))).bit_count() <= 6


@pytest.mark.parametrize("size", [(64, 64), (512, 384), (333, 200)])
def test_a_flat_picture_has_one_hash(size: tuple[int, int]) -> None:
    """Flat pictures of any size have the same hash, which rounding errors do not affect."""
    flat = Image.new("RGB", size, (120, 90, 77))

    assert near_duplicates.perceptual_hash(flat) == 1 << 63
    assert HashIndex([1 << 63]).search(near_duplicates.coefficients(near_duplicates.grey_copy(flat))) == [0]
