"""What a JPEG file stores: its settings, and luma and chroma before they are converted to colours."""

from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.maps.layout import layout
from segkit.maps.planes import Planes, Samples
from segkit.maps.recompress import MCU, Compression

_RGB_IDS = (ord("R"), ord("G"), ord("B"))
"""Component numbers by which libjpeg recognizes a file that stores colours without conversion."""


@dataclass(frozen=True)
class Coded:
    """The samples and settings of a JPEG file.

    Colours are clipped at 0 and 255 and rounded; these samples are not, unless luma or chroma itself exceeds 8 bits.

    Attributes:
        height: of the picture in pixels.
        width: of the picture.
        luma: (H, W) samples. H and W are multiples of MCU: the edges are repeated beyond the picture.
        chroma: (H / scale, W / scale, 2) samples as stored, not interpolated.
        compression: the settings that the file was saved with.
        certain: (H / MCU, W / MCU) False for units whose samples are not known; None for a file, where all are.
    """

    height: int
    width: int
    luma: Samples
    chroma: Samples
    compression: Compression
    certain: NDArray[np.bool_] | None = None

    @cached_property
    def planes(self) -> Planes:
        """The stored coefficients, as far as they have been asked for."""
        return Planes(self.luma, self.chroma, (self.height, self.width), layout(self.compression))

    @property
    def scale(self) -> int:
        """Pixels per chroma sample along an axis: 2 for 4:2:0, 1 for 4:4:4."""
        return 2 if self.compression.subsampling else 1


def read(data: bytes) -> Coded | None:
    """Return what a JPEG file stores; None for other formats, and for JPEG that is not 4:4:4 or 4:2:0 of colours."""
    if not data.startswith(b"\xff\xd8"):
        return None
    try:
        with Image.open(BytesIO(data), formats=("JPEG",)) as image:
            compression = _settings(image)
            width, height = image.size
        if compression is None:
            return None
        if compression.subsampling == 0:
            full = _decode(data, "YCbCr", (width, height))
            luma, chroma = full[..., 0], full[..., 1:]
        else:
            # At half the size libjpeg decodes luma from 4 x 4 coefficients, and chroma as it is stored.
            half = max(width // 2, 1), max(height // 2, 1)
            luma, chroma = _decode(data, "L", (width, height)), _decode(data, "YCbCr", half)[..., 1:]
            if chroma.shape[:2] != (-(-height // 2), -(-width // 2)):
                return None
    except Exception:  # damaged files make Pillow raise almost anything; whoever reads the colours reports it
        return None
    side = MCU // 2 if compression.subsampling else MCU
    return Coded(height, width, _padded(luma, MCU), _padded(chroma, side), compression)


def _settings(image: Any) -> Compression | None:
    """Return the settings of an open JPEG file; None if they are not supported."""
    components = [(sideways, down, table) for _, sideways, down, table in image.layer]
    numbers = tuple(component[0] for component in image.layer)
    if len(components) != 3 or numbers == _RGB_IDS or image.info.get("adobe_transform", 1) != 1:
        return None
    (sideways, down, table), blue, red = components
    if blue != red or blue[:2] != (1, 1) or (sideways, down) not in ((1, 1), (2, 2)):
        return None
    tables = tuple(tuple(image.quantization[number]) for number in (table, blue[2]))
    return Compression(0, 2 if sideways == 2 else 0, tables)


def _decode(data: bytes, mode: str, size: tuple[int, int]) -> Samples:
    with Image.open(BytesIO(data), formats=("JPEG",)) as image:
        image.draft(mode, size)
        return np.asarray(image)


def _padded(samples: Samples, side: int) -> Samples:
    """Repeat the edges of (H, W) or (H, W, 2) samples up to multiples of a side."""
    beyond = [(0, -length % side) for length in samples.shape[:2]]
    return np.pad(samples, [*beyond, *[(0, 0)] * (samples.ndim - 2)], mode="edge")
