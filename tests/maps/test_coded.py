"""What a JPEG file stores: its settings, and luma and chroma before they are converted to colours."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from segkit.maps import coded
from segkit.toy.world import damage


def saved(image: Image.Image, kind: str = "JPEG", **settings: object) -> bytes:
    """Return a picture as the bytes of a file."""
    buffer = BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


MAP = damage.painted(damage.regions(1, 12, 101)).crop((0, 0, 101, 83))


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_settings_and_samples_are_those_of_the_file(subsampling: int, progressive: bool) -> None:
    """Compressed with the settings that were read, the picture becomes the same file; sides are whole units."""
    data = saved(MAP, quality=77, subsampling=subsampling, progressive=progressive)

    stored = coded.read(data)

    assert stored is not None
    again = saved(MAP, qtables=stored.compression.tables, subsampling=subsampling, progressive=progressive)
    assert again == data
    assert stored.compression.subsampling == subsampling
    assert (stored.height, stored.width) == (83, 101)
    assert stored.luma.shape == (96, 112)
    assert stored.chroma.shape == (96 // stored.scale, 112 // stored.scale, 2)
    with Image.open(BytesIO(data)) as image:
        image.draft("YCbCr", image.size)
        assert (np.asarray(image)[..., 0] == stored.luma[:83, :101]).all()


def test_chroma_is_not_interpolated() -> None:
    """At a border between blocks the samples of both sides are flat, whereas decoded chroma is blended."""
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:, :16], picture[:, 16:] = (200, 30, 60), (40, 90, 220)

    stored = coded.read(saved(Image.fromarray(picture), quality=100))

    assert stored is not None
    assert len(np.unique(stored.chroma.reshape(-1, 2), axis=0)) == 2


@pytest.mark.parametrize(
    "data",
    [
        saved(MAP, "PNG"),
        saved(MAP.convert("L")),
        saved(MAP.convert("CMYK")),
        saved(MAP, subsampling=1),
        saved(MAP)[:300],
        b"",
    ],
    ids=["PNG", "grey", "CMYK", "4:2:2", "damaged", "nothing"],
)
def test_other_files_tell_nothing(data: bytes) -> None:
    """A file that is not a whole JPEG of colours in 4:4:4 or 4:2:0 is read as colours alone."""
    assert coded.read(data) is None
