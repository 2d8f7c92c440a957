"""Grey maps: class indices are told from colours that were converted to grey."""

import numpy as np
import pytest
from PIL import Image

from segkit.maps import greyscale, pixels
from segkit.palette import Palette
from segkit.toy.world import damage

ADE = Palette.load("ade20k")


def identify(image: Image.Image) -> tuple[str, str] | None:
    """Return the kind of a grey map and the evidence."""
    colors, counts = np.unique(pixels.pack_image(image), return_counts=True)
    return greyscale.identify(colors, counts, ADE)


def test_a_map_with_colours_is_no_grey_map() -> None:
    """One colour among greys suffices; neither has a map without flat areas a kind."""
    assert identify(damage.painted(damage.place(0, 8, 64))) is None
    empty = np.zeros(0, np.int64)
    assert greyscale.identify(empty.astype(np.uint32), empty, ADE) is None


@pytest.mark.parametrize("seed", range(5))
def test_indices_and_greys_are_distinguished(seed: int) -> None:
    """Maps of the same classes, as indices from 0 or from 1 and as converted colours, get their kinds."""
    labels = damage.place(seed, 12, 96)

    kinds = [identify(image) for image in (
        Image.fromarray(labels), Image.fromarray(labels + np.uint8(1)), damage.painted(labels).convert("L")
    )]  # fmt: skip

    assert [kind and kind[0] for kind in kinds] == ["label-ids", "label-ids", "greyscale"]


def test_a_value_beyond_the_classes_is_no_index() -> None:
    """150 can be the last class of ADE20K counted from 1, and 255 an unlabelled pixel; 151 is a converted colour."""

    def kind(*greys: int) -> str:
        identified = identify(Image.fromarray(np.array([greys], np.uint8).repeat(9, 0)))
        assert identified
        return identified[0]

    assert kind(1, 150, 255) == "label-ids"
    assert kind(1, 151, 255) == "greyscale"


def test_the_evidence_lists_the_first_greys() -> None:
    """At most eight values are shown, and specks below a thousandth of the pixels are not among them."""
    greys = np.repeat(np.arange(10, dtype=np.uint8), 2000)
    greys[0] = 99

    identified = identify(Image.fromarray(greys.reshape(100, 200)))

    assert identified == (
        "label-ids",
        "all pixels are grey, and each value could be a class: 0, 1, 2, 3, 4, 5, 6, 7 ...",
    )
