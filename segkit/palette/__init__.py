"""Palettes: the colour of each class, and checks that no two classes can be confused."""

from segkit.palette.palette import (
    PROTOCOLS,
    SHIPPED,
    UNLABELLED,
    Palette,
    repair_joined_names,
    shipped_folder,
    simplify,
)
from segkit.palette.tables import Swatch

__all__ = [
    "PROTOCOLS",
    "SHIPPED",
    "UNLABELLED",
    "Palette",
    "Swatch",
    "repair_joined_names",
    "shipped_folder",
    "simplify",
]
