"""Names of photos: relative, with slashes, and without bytes that are not UTF-8."""

import os
from pathlib import Path

from segkit.build.arrival import printable, source_name


def test_a_source_is_a_printable_relative_path() -> None:
    """Bytes that are not UTF-8 are escaped, all other names stay as they are."""
    folder = Path("/photos")

    assert source_name(folder / "a" / "ü 1.jpg", folder) == "a/ü 1.jpg"
    assert source_name(folder / os.fsdecode(b"caf\xe9.jpg"), folder) == "caf\\xe9.jpg"
    assert printable("a\\xe9") == "a\\xe9"
