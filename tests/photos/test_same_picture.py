"""Copies of a picture are recognised by their pixels, and look-alikes are not."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps
from scipy import fft

from segkit.photos.near_duplicates import Grey, grey_copy
from segkit.photos.same_picture import agreement, is_same
from segkit.toy import world

Change = Callable[[Image.Image], Image.Image]


def compressed(image: Image.Image, quality: int = 30) -> Image.Image:
    """Return a picture after JPEG compression."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def cropped(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """Return a picture without shares of its sides."""
    width, height = image.size
    box = left * width, top * height, (1 - right) * width, (1 - bottom) * height
    return image.crop((round(box[0]), round(box[1]), round(box[2]), round(box[3])))


def dated(image: Image.Image) -> Image.Image:
    """Return a picture with a date in a corner."""
    image = image.copy()
    ImageDraw.Draw(image).text((image.width - 70, image.height - 14), "2024-05-01", "yellow")
    return image


def lookalike(known: Grey, other: Grey) -> Grey:
    """Return a picture with the hash of one and the details of another."""
    coarse, fine = (fft.dctn(grey.astype(np.float64)) for grey in (known, other))
    fine[:8, :8] = coarse[:8, :8]
    return np.asarray(np.clip(fft.idctn(fine), 0, 255), np.uint8)


CHANGES: dict[str, Change] = {
    "compressed": compressed,
    "small": lambda image: compressed(image.resize((image.width // 3, image.height // 3))),
    "mirrored": ImageOps.mirror,
    "without the left": lambda image: cropped(image, 0.05, 0, 0, 0),
    "without an edge": lambda image: compressed(cropped(image, 0.05, 0.05, 0.05, 0.05), 50),
    "mirrored, without a corner": lambda image: ImageOps.mirror(cropped(image, 0, 0.05, 0.05, 0)),
    "a little of each": lambda image: cropped(image, 0.03, 0.02, 0.01, 0),
    "darker": lambda image: image.point([level * 6 // 10 for level in range(256)] * 3),
    "dated": dated,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_copy_is_the_same_picture(change: Change) -> None:
    """Whichever of the two is known, they are the same."""
    for seed in range(3):
        photo = world.scene(seed, (480, 360)).photo
        one, other = grey_copy(photo), grey_copy(change(photo))

        assert is_same(one, other)
        assert is_same(other, one)


def test_photos_with_the_same_hash_are_told_apart() -> None:
    """Rooms and streets that agree in everything the hash sees, but not in their details, are different pictures."""
    greys = [grey_copy(world.scene(seed, (320, 240)).photo) for seed in range(8)]

    agreements = [agreement(known, lookalike(known, other)) for known in greys for other in greys if known is not other]

    assert max(agreements) < 0.4


def test_a_shared_frame_is_no_likeness() -> None:
    """Two photos between the same black bars are different."""
    framed = []
    for seed in (0, 1):
        image = world.scene(seed, (480, 360)).photo
        image.paste((0, 0, 0), (0, 0, 480, 50))
        image.paste((0, 0, 0), (0, 310, 480, 360))
        framed.append(grey_copy(image))

    assert not is_same(framed[0], framed[1])
    assert is_same(framed[0], framed[0])


def test_pictures_without_details_agree_if_their_levels_do() -> None:
    """A sky equals itself, mirrored or not, and neither a darker sky nor a photo."""
    sky = np.broadcast_to(np.linspace(120, 180, 64).astype(np.uint8), (64, 64))

    assert is_same(sky, sky)
    assert is_same(sky, np.ascontiguousarray(sky[:, ::-1]))
    assert is_same(sky, sky + np.uint8(2))
    assert not is_same(sky, sky - np.uint8(40))
    assert not is_same(sky, grey_copy(world.scene(0, (160, 120)).photo))
