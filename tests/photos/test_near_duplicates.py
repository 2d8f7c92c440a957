"""segkit.photos.near_duplicates: scaled, recompressed and mirrored copies are recognised, other photos are not."""

from collections.abc import Callable
from io import BytesIO

import pytest
from PIL import Image, ImageEnhance, ImageOps

from segkit.photos import near_duplicates
from segkit.toy import world


def recompressed(image: Image.Image) -> Image.Image:
    """Return a picture after a harsh JPEG."""
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
    """A photo that was recompressed, mirrored, scaled, trimmed or toned is found under the first one's key."""
    original = world.scene(seed, (480, 360)).photo
    seen = near_duplicates.DuplicateIndex()
    for other in range(6):
        seen.add(f"photo {other}", near_duplicates.hashes(world.scene(other, (480, 360)).photo)[0])

    found = seen.find(*near_duplicates.hashes(change(original)))

    assert found == [f"photo {seed}"]


def test_different_photos_are_told_apart() -> None:
    """Thirty rendered rooms and streets: no room is taken for another."""
    seen = near_duplicates.DuplicateIndex()
    taken = []
    for seed in range(30):
        hashes = near_duplicates.hashes(world.scene(seed, (240, 180)).photo)
        taken.append(seen.find(*hashes))
        seen.add(str(seed), hashes[0])

    assert [seed for seed, found in enumerate(taken) if found] == []


def test_all_that_a_picture_resembles_are_named_in_order() -> None:
    """Among many photos those that resemble a picture are found, the earliest first."""
    seen = near_duplicates.DuplicateIndex()
    for number in range(1500):
        seen.add(f"far {number}", 0xFFFF_FFFF_0000_0000)
    seen.add("near", 0b111)
    seen.add("nearer", 0)

    found = seen.find(0, 0xFFFF)

    assert found == ["near", "nearer"]


@pytest.mark.parametrize(("bits", "found"), [(10, ["photo"]), (11, [])])
def test_ten_bits_of_64_are_the_limit(bits: int, found: list[str]) -> None:
    """A hash resembles another up to ten differing bits."""
    seen = near_duplicates.DuplicateIndex()
    seen.add("photo", 0)

    assert seen.find(2**bits - 1) == found


@pytest.mark.parametrize("size", [(64, 64), (512, 384), (333, 200)])
def test_a_flat_picture_has_one_hash(size: tuple[int, int]) -> None:
    """Rounding noise does not decide: flat pictures of any size and shade have the same hash."""
    assert near_duplicates.hashes(Image.new("RGB", size, (120, 90, 77))) == (1 << 63, 1 << 63)
