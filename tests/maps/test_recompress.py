"""JPEG as a function, and the search for its settings."""

import numpy as np
import pytest
from PIL import Image

from segkit.maps import pixels, recompress
from segkit.maps.recompress import Compression
from segkit.toy.world import damage


@pytest.mark.parametrize(
    ("quality", "subsampling"), [(90, 2), (75, 2), (50, 2), (33, 2), (91, 2), (83, 0), (92, 0), (95, 0), (97, 0)]
)
def test_the_settings_are_found(quality: int, subsampling: int) -> None:
    """Quality and subsampling are recovered exactly from the pixels of a map."""
    image = damage.painted(damage.regions(quality, 12, 192))
    observed = pixels.pack_image(damage.jpeg(image, quality, subsampling))

    assert recompress.estimate(observed, pixels.pack_image(image)) == Compression(quality, subsampling)


def test_other_damage_has_no_settings() -> None:
    """A scaled map, and one without borders, resemble no compressed map."""
    image = damage.painted(damage.regions(1, 12, 192))
    blurred = image.resize((96, 96), Image.Resampling.LANCZOS).resize(image.size, Image.Resampling.BILINEAR)
    flat = np.full((64, 64), 0x787878, np.uint32)

    assert recompress.estimate(pixels.pack_image(blurred), pixels.pack_image(image)) is None
    assert recompress.estimate(flat, flat) is None


def test_compression_equals_pillows() -> None:
    """The packed picture is compressed as Pillow compresses the picture."""
    image = damage.painted(damage.regions(2, 9, 64))

    result = Compression(60, 2).apply(pixels.pack_image(image))

    assert (result == np.asarray(damage.jpeg(image, 60))).all()
