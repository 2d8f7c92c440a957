"""Class indices painted with their colours, last of all and on the device; and every painted pixel looked at again."""

from typing import TYPE_CHECKING

import numpy as np

from segkit.errors import MapError
from segkit.palette import Palette

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class PalettePainter:
    """A palette on a device.

    Args:
        table: the palette; None for control pictures that are no maps.
        device: where the painted maps are to be.
    """

    def __init__(self, table: Palette | None, device: "torch.device | str" = "cpu") -> None:
        import torch

        self._table = table
        if table:
            colors = np.frombuffer(table.bytes, np.uint8).reshape(256, 3).astype(np.float32) / np.float32(255)
            self._colors = torch.from_numpy(colors).to(device)
            self._known = torch.zeros(1 << 24, dtype=torch.bool)
            self._known[[0, *(red | green << 8 | blue << 16 for red, green, blue in table.by_color)]] = True
            self._known = self._known.to(device)

    def __call__(self, controls: "Tensor") -> "Tensor":
        """Paint (B, H, W) uint8 class indices: (B, 3, H, W) float32, 0 to 1. Unlabelled pixels become black.

        Without a palette, (B, H, W, 3) RGB becomes the same.
        """
        painted = self._colors[controls.long()] if self._table else controls.float() / 255
        return painted.permute(0, 3, 1, 2).contiguous()

    def count_off_palette(self, painted: "Tensor", tolerance: float = 1e-4) -> "Tensor":
        """Count the pixels that are no colour of the palette and not black, on the device: a number in a tensor.

        Args:
            painted: (B, 3, H, W), 0 to 1.
            tolerance: how far from a whole number of 255 parts a channel may be; of bf16's 8 bits, which tell all 256
                levels apart, 0.5.
        """
        import torch

        if self._table is None:
            return torch.zeros((), dtype=torch.long, device=painted.device)
        levels = painted.float() * 255
        whole = levels.round()
        red, green, blue = whole.clamp(0, 255).int().unbind(1)
        known = self._known[(red | green << 8 | blue << 16).long()]
        return (~known | ((levels - whole).abs() > tolerance).any(1) | (whole < 0).any(1) | (whole > 255).any(1)).sum()

    def require_exact(self, off: "Tensor") -> None:
        """Keep the promise to the last step.

        Args:
            off: what count_off_palette() returned.

        Raises:
            MapError: a pixel was no colour of the palette.
        """
        if self._table and int(off):
            raise MapError(f"{int(off):,} pixels that the network sees are off the palette {self._table.name}.")
