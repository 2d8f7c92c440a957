"""Grey maps: class indices are told from colours that were converted to grey, and from pictures without classes."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from segkit.maps import greyscale, pixels
from segkit.maps.greyscale import Grey
from segkit.palette import Palette
from segkit.toy.world import damage

ADE = Palette.load("ade20k")


def identify(image: Image.Image) -> str:
    """Return the cause of a grey map; "" for another."""
    grey = greyscale.identify(pixels.pack_image(image), ADE)
    return grey.cause if grey else ""


def test_a_map_with_colours_is_no_grey_map() -> None:
    """One colour among greys suffices."""
    image = damage.painted(damage.place(0, 8, 64)).convert("L").convert("RGB")
    assert identify(image) == "greyscale"
    image.putpixel((5, 5), (1, 2, 3))
    assert identify(image) == ""


@pytest.mark.parametrize("seed", range(5))
def test_indices_and_greys_are_distinguished(seed: int) -> None:
    """Maps of the same classes, as indices from 0 or from 1 and as converted colours, get their kinds."""
    labels = damage.place(seed, 12, 96)

    kinds = [identify(image) for image in (
        Image.fromarray(labels), Image.fromarray(labels + np.uint8(1)), damage.painted(labels).convert("L")
    )]  # fmt: skip

    assert kinds == ["label-ids", "label-ids", "greyscale"]


def test_a_value_beyond_the_classes_is_no_index() -> None:
    """150 can be the last class of ADE20K counted from 1, and 255 an unlabelled pixel; 151 is a converted colour."""

    def kind(*greys: int) -> str:
        return identify(Image.fromarray(np.array([greys], np.uint8).repeat(9, 0).repeat(9, 1)))

    assert kind(1, 150, 255) == "label-ids"
    assert kind(1, 151, 255) == "greyscale"


def test_the_evidence_lists_the_first_greys() -> None:
    """At most eight values are shown, and specks below a thousandth of the pixels are not among them."""
    greys = np.repeat(np.arange(10, dtype=np.uint8), 2000)
    greys[0] = 99

    grey = greyscale.identify(pixels.pack_image(Image.fromarray(greys.reshape(100, 200))), ADE)

    assert grey == Grey("label-ids", "all pixels are grey, and each value could be a class: 0, 1, 2, 3, 4, 5, 6, 7 ...")


LINES = Image.new("L", (256, 256))
for _offset in range(0, 256, 32):
    ImageDraw.Draw(LINES).line((_offset, 0, 255 - _offset // 2, 255), fill=255, width=3)
MASK = Image.fromarray(np.where(np.add.outer(np.arange(256), np.arange(256)) < 200, 255, 0).astype(np.uint8))
DEPTH = Image.fromarray(np.add.outer(np.arange(128), np.arange(128)).astype(np.uint8))


@pytest.mark.parametrize(
    ("image", "cause"),
    [
        (LINES, "edges"),
        (ImageOps.invert(LINES), "edges"),
        (LINES.resize((200, 200), Image.Resampling.LANCZOS), "edges"),
        (damage.jpeg(LINES.convert("RGB"), 85), "edges"),
        (MASK, "mask"),
        (MASK.convert("1"), "mask"),
        (damage.jpeg(MASK.convert("RGB"), 85), "mask"),
        (MASK.point(lambda value: value // 255), "mask"),
        (DEPTH, "depth"),
        (damage.jpeg(DEPTH.convert("RGB"), 90), "depth"),
        (Image.new("L", (32, 32), 255), "blank"),
        (Image.new("L", (32, 32), 0), "blank"),
        (Image.new("L", (32, 32), 7), "mask"),
        (damage.jpeg(Image.fromarray(damage.place(3, 9, 256)).convert("RGB"), 75), "unknown"),
    ],
)
def test_pictures_without_classes_are_recognised(image: Image.Image, cause: str) -> None:
    """Masks, drawings, depth maps, blank pictures and blurred indices are what they are, and no class indices."""
    assert identify(image) == cause


def test_two_values_may_be_classes() -> None:
    """Black and white are a mask; 3 and 20 may be the only two classes of a photo, which a user can say."""
    two = Image.fromarray(np.asarray(MASK) // 15 + np.uint8(3))

    greys = [greyscale.identify(pixels.pack_image(image), ADE) for image in (MASK, two)]

    assert [grey and (grey.cause, grey.possible) for grey in greys] == [("mask", ()), ("mask", ("label-ids",))]


def test_one_channel_is_read_like_grey() -> None:
    """Several values that can be classes are indices; consecutive ones may number segments; others are colours."""
    values = np.kron(np.array([[3, 9], [120, 255]], np.uint8), np.ones((9, 9), np.uint8))

    def kind(mapped: NDArray[Any]) -> str:
        grey = greyscale.of_channel(mapped, "red", ADE)
        assert grey is None or "only the red channel is used" in grey.evidence
        return grey.cause if grey else ""

    assert kind(values) == "label-ids"
    assert kind(np.kron(np.array([[1, 2], [3, 4]], np.uint8), np.ones((9, 9), np.uint8))) == "panoptic-ids"
    assert kind(np.where(values == 120, 200, values).astype(np.uint8)) == ""
    assert kind(np.asarray(MASK)) == "mask"
