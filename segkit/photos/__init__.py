"""Photos: image files of many formats, decoded to upright sRGB pictures of the training size."""

from segkit.photos.files import (
    FORMATS,
    JPEG_MEGAPIXELS,
    REASONS,
    SUFFIXES,
    Limits,
    find,
    open_photo,
    open_upright,
    read,
    upright,
)
from segkit.photos.geometry import Geometry, Photo, fit

__all__ = [
    "FORMATS",
    "JPEG_MEGAPIXELS",
    "REASONS",
    "SUFFIXES",
    "Geometry",
    "Limits",
    "Photo",
    "find",
    "fit",
    "open_photo",
    "open_upright",
    "read",
    "upright",
]
