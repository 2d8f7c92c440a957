"""Control maps: painted, read back exactly, diagnosed and repaired."""

from segkit.maps.files import (
    FORMATS,
    decode,
    find,
    read,
)

__all__ = ["FORMATS", "decode", "find", "read"]
