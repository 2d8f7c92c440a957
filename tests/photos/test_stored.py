"""Photos as they are stored, and read again for comparisons."""

from pathlib import Path

import numpy as np
import pytest

from segkit.photos import near_duplicates, stored
from segkit.toy import world


@pytest.mark.parametrize("photo_format", ["jpg", "png"])
def test_a_stored_photo_has_the_grey_copy_of_the_photo(photo_format: str, tmp_path: Path) -> None:
    """Compression, and JPEG's decoding at a fraction, change it by a few grey levels at most."""
    photo = world.scene(0, (512, 384)).photo
    (tmp_path / "photo").write_bytes(stored.encode_photo(photo, photo_format))

    grey = stored.read_grey(tmp_path / "photo")

    assert grey is not None
    assert grey.shape == (64, 64)
    assert np.abs(grey.astype(int) - near_duplicates.grey_copy(photo)).max() <= 12


@pytest.mark.parametrize("data", [None, b"", b"\xff\xd8\xff", b"text"], ids=["missing", "empty", "cut short", "text"])
def test_a_damaged_photo_has_none(data: bytes | None, tmp_path: Path) -> None:
    """Whatever is wrong with a file, there is just nothing to compare."""
    if data is not None:
        (tmp_path / "photo.jpg").write_bytes(data)

    assert stored.read_grey(tmp_path / "photo.jpg") is None
