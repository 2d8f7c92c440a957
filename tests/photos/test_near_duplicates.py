"""Near duplicates: scaled, recompressed and mirrored copies are recognised, other photos are not."""

from collections.abc import Callable
from functools import cache
from io import BytesIO

import pytest
from PIL import Image, ImageEnhance, ImageOps

from segkit.photos import near_duplicates
from segkit.toy import world


@cache
def photo(seed: int) -> Image.Image:
    """Return a rendered photo."""
    return world.scene(seed, (480, 360)).photo


def recompressed(image: Image.Image) -> Image.Image:
    """Return a picture after low-quality JPEG compression."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=25)
    return Image.open(buffer)


@pytest.mark.parametrize(
    "change",
    [
        recompressed,
        ImageOps.mirror,
        lambda image: image.resize((image.width // 2, image.height // 2)),
        lambda image: recompressed(ImageOps.mirror(image.resize((image.width * 3 // 4, image.height * 3 // 4)))),
        lambda image: image.crop((0, 2, image.width - 4, image.height)),
        lambda image: ImageEnhance.Brightness(image).enhance(0.8),
        ImageOps.grayscale,
    ],
    ids=["recompressed", "mirrored", "scaled", "all three", "trimmed", "darker", "grey"],
)
@pytest.mark.parametrize("seed", range(6))
def test_a_changed_copy_is_recognised(seed: int, change: Callable[[Image.Image], Image.Image]) -> None:
    """A recompressed, mirrored, scaled, cropped or toned copy is matched to the key of its original."""
    original = photo(seed)
    index = near_duplicates.DuplicateIndex()
    for other in range(6):
        index.add(f"photo {other}", near_duplicates.hashes(photo(other))[0])

    matches = index.find(*near_duplicates.hashes(change(original)))

    assert matches == [f"photo {seed}"]


def test_different_photos_do_not_match() -> None:
    """Of thirty rendered rooms and streets none matches another."""
    index = near_duplicates.DuplicateIndex()
    matches = []
    for seed in range(30):
        hashes = near_duplicates.hashes(world.scene(seed, (240, 180)).photo)
        matches.append(index.find(*hashes))
        index.add(str(seed), hashes[0])

    assert [seed for seed, keys in enumerate(matches) if keys] == []


def test_matches_are_returned_in_order_of_insertion() -> None:
    """Among many photos all near ones are returned, the earliest first."""
    index = near_duplicates.DuplicateIndex()
    for number in range(1500):
        index.add(f"far {number}", 0xFFFF_FFFF_0000_0000)
    index.add("near", 0b111)
    index.add("nearer", 0)

    matches = index.find(0, 0xFFFF)

    assert matches == ["near", "nearer"]


@pytest.mark.parametrize(("bits", "matches"), [(10, ["photo"]), (11, [])])
def test_ten_bits_of_64_are_the_limit(bits: int, matches: list[str]) -> None:
    """Hashes match if at most ten bits differ."""
    index = near_duplicates.DuplicateIndex()
    index.add("photo", 0)

    assert index.find(2**bits - 1) == matches


@pytest.mark.parametrize("size", [(64, 64), (512, 384), (333, 200)])
def test_a_flat_picture_has_one_hash(size: tuple[int, int]) -> None:
    """Flat pictures of any size have the same hash, which rounding errors do not affect."""
    assert near_duplicates.hashes(Image.new("RGB", size, (120, 90, 77))) == (1 << 63, 1 << 63)
