"""Paint class indices with the palette on the device, as the last step, and verify every painted pixel."""

from typing import TYPE_CHECKING

import numpy as np

from segkit.errors import MapError
from segkit.palette import Palette

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class PalettePainter:
    """Paints label maps with a palette, on a device.

    Args:
        palette: the palette; None for control pictures that are not segmentation maps.
        device: device of the painted maps.
    """

    def __init__(self, palette: Palette | None, device: "torch.device | str" = "cpu") -> None:
        import torch

        self._palette = palette
        if palette:
            colors = np.frombuffer(palette.bytes, np.uint8).reshape(256, 3).astype(np.float32) / np.float32(255)
            self._colors = torch.from_numpy(colors).to(device)
            # one flag for each of the 2^24 RGB colours, so that a pixel is checked by a single lookup
            self._known = torch.zeros(1 << 24, dtype=torch.bool)
            self._known[[0, *(red | green << 8 | blue << 16 for red, green, blue in palette.by_color)]] = True
            self._known = self._known.to(device)

    def __call__(self, controls: "Tensor") -> "Tensor":
        """Paint a batch of control maps.

        Args:
            controls: (B, H, W) uint8 class indices; 255, unlabelled, becomes black. Without a palette, (B, H, W, 3)
                uint8 RGB.

        Returns:
            (B, 3, H, W) float32, 0 to 1.
        """
        painted = self._colors[controls.long()] if self._palette else controls.float() / 255
        return painted.permute(0, 3, 1, 2).contiguous()

    def count_off_palette(self, painted: "Tensor", tolerance: float = 1e-4) -> "Tensor":
        """Count the pixels that have neither a colour of the palette nor black.

        The count stays on the device, so that training does not wait for it.

        Args:
            painted: (B, 3, H, W), 0 to 1.
            tolerance: largest distance of a channel from an integer level (0 to 255). Use 0.5 for bf16 and fp16, whose
                rounding error is larger but still distinguishes all 256 levels.

        Returns:
            A scalar tensor; 0 without a palette.
        """
        import torch

        if self._palette is None:
            return torch.zeros((), dtype=torch.long, device=painted.device)
        levels = painted.float() * 255
        nearest = levels.round()
        red, green, blue = nearest.clamp(0, 255).int().unbind(1)
        known = self._known[(red | green << 8 | blue << 16).long()]
        return (
            ~known | ((levels - nearest).abs() > tolerance).any(1) | (nearest < 0).any(1) | (nearest > 255).any(1)
        ).sum()

    def require_exact(self, off: "Tensor") -> None:
        """Refuse a control map with pixels off the palette.

        Args:
            off: the result of count_off_palette().

        Raises:
            MapError: a pixel has a colour that is not in the palette.
        """
        if self._palette and int(off):
            raise MapError(f"{int(off):,} pixels that the network sees are off the palette {self._palette.name}.")
