"""Palettes: which class has which color, and how to tell that no two can be confused."""

from segkit.palette.palette import (
    PROTOCOLS,
    SHIPPED,
    UNLABELLED,
    Palette,
    shipped_folder,
    simplify,
    unjoined,
)
from segkit.palette.tables import Swatch

__all__ = ["PROTOCOLS", "SHIPPED", "UNLABELLED", "Palette", "Swatch", "shipped_folder", "simplify", "unjoined"]
