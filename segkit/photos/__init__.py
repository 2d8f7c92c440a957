"""Photos: image files of many formats, decoded to upright sRGB pictures of the training size."""

from segkit.photos.files import (
    FORMATS,
    GONE,
    JPEG_MEGAPIXELS,
    REASONS,
    SKIPPED,
    Limits,
    open_photo,
    open_upright,
    read,
    upright,
)
from segkit.photos.geometry import Decoded, Geometry, Measured, Photo, fit, fit_map, turned
from segkit.photos.search import SUFFIXES, PassedOver, find, search

__all__ = [
    "FORMATS",
    "GONE",
    "JPEG_MEGAPIXELS",
    "REASONS",
    "SKIPPED",
    "SUFFIXES",
    "Decoded",
    "Geometry",
    "Limits",
    "Measured",
    "PassedOver",
    "Photo",
    "find",
    "fit",
    "fit_map",
    "open_photo",
    "open_upright",
    "read",
    "search",
    "turned",
    "upright",
]
