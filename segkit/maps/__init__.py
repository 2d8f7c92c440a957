"""Control maps: painting, exact reading, diagnosis and repair."""

from segkit.maps.files import (
    FORMATS,
    decode,
    find,
    read,
)

__all__ = ["FORMATS", "decode", "find", "read"]
