"""What a picture looks like that is no map."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageFilter

from segkit.errors import MapError
from segkit.maps import diagnose, snap
from segkit.toy import world
from segkit.toy.world import damage

PHOTO = world.scene(3, (256, 256)).photo
DOWN, ACROSS = np.mgrid[:256, :256] / 255


def compressed(image: Image.Image) -> Image.Image:
    """Return a picture as JPEG."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return Image.open(buffer)


def depth() -> Image.Image:
    """Return a depth map in the colours of a rainbow."""
    hue = (180 * (DOWN + ACROSS) / 2).astype(np.uint8)
    full = np.full_like(hue, 255)
    return Image.fromarray(np.dstack([hue, full, full]), "HSV").convert("RGB")


def normals() -> Image.Image:
    """Return a normal map of waves."""
    slopes = np.dstack([np.sin(6 * ACROSS), np.cos(5 * DOWN)]) / 2
    vectors = np.dstack([slopes, np.sqrt(1 - (slopes**2).sum(2))])
    return Image.fromarray(((vectors + 1) * 127.5).astype(np.uint8))


@pytest.mark.parametrize(
    ("image", "cause", "evidence"),
    [
        (PHOTO, "photo", "colours, and 0.0% of the pixels are in flat areas"),
        (compressed(PHOTO), "photo", "colours"),
        (PHOTO.filter(ImageFilter.GaussianBlur(4)), "photo", "colours that change gradually"),
        (depth(), "depth", "colours that change gradually"),
        (normals(), "depth", "as in a normal map"),
    ],
    ids="photo jpeg blurred depth normals".split(),
)
def test_other_pictures_are_refused_as_what_they_are(image: Image.Image, cause: str, evidence: str) -> None:
    """With the number of colours, and the command that draws maps of photos."""
    diagnosis = diagnose.identify(image, damage.ADE)

    assert diagnosis.cause == cause
    assert evidence in diagnosis.evidence
    with pytest.raises(MapError, match="segkit build-dataset PHOTOS"):
        snap.snap(image, damage.ADE)


@pytest.mark.parametrize("factor", [3, 8])
def test_enlarged_maps_do_not_change_gradually(factor: int) -> None:
    """However soft their borders are, most of their steps are large or their colours few."""
    labels = damage.place(1, 15, 64)
    image = damage.painted(labels).resize((64 * factor, 64 * factor), Image.Resampling.BICUBIC)

    assert diagnose.identify(image, damage.ADE).cause == "resized"


def test_a_busy_map_is_told_what_helps() -> None:
    """A small JPEG with many areas is refused with its size, and neither as PNG nor at four times the size."""
    labels = damage.regions(1, 20, 64)
    image = damage.painted(labels)

    with pytest.raises(MapError, match=r"too small for its size.*64x64 pixels.*Use the map as PNG.*or a larger one"):
        snap.snap(compressed(image), damage.ADE)

    assert (snap.snap(image, damage.ADE).labels == labels).all()
    larger = snap.snap(compressed(image.resize((256, 256), Image.Resampling.NEAREST)), damage.ADE)
    assert (larger.labels[2::4, 2::4] == labels).mean() > 0.95


@pytest.mark.parametrize("size", [96, 128])
def test_small_photos_are_no_busy_maps(size: int) -> None:
    """They have hardly any pixel in the colour of a class."""
    for seed in range(8):
        assert diagnose.identify(compressed(world.scene(seed, (size, size)).photo), damage.ADE).cause != "busy"
