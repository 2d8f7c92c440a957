"""Control maps: painting, exact reading, diagnosis and repair."""

from segkit.maps.files import (
    FORMATS,
    MapFile,
    decode,
    find,
    read,
    read_file,
)

__all__ = ["FORMATS", "MapFile", "decode", "find", "read", "read_file"]
