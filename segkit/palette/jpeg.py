"""What JPEG does to flat areas, and the lowest quality at which no class of a palette is mistaken for another.

A flat area is the mildest case: only its mean is rounded, by quantising the DC coefficient. Borders are blurred at
every quality.
"""

from collections.abc import Sequence

from segkit.palette.color import RGB

_LUMA, _CHROMA = 16, 17
"""Quantisation steps of the DC coefficient at quality 50 (ITU-T T.81, tables K.1 and K.2)."""


LOWEST = {"ade20k": 32, "coco_panoptic": 9}
"""lowest_quality of the shipped palettes, precomputed."""


def flat(rgb: RGB, quality: int) -> RGB:
    """Return the colour of a flat area after libjpeg, bit for bit.

    Args:
        rgb: colour of the area.
        quality: 1 to 100, as libjpeg and Pillow define it.
    """
    return _decode(_ycc(rgb), _levels(_LUMA, quality), _levels(_CHROMA, quality))


def _ycc(rgb: RGB) -> tuple[int, int, int]:
    """Return Y, Cb and Cr, 0 to 255 (JFIF 1.02, in libjpeg's fixed point of 16 fractional bits)."""
    red, green, blue = rgb
    return (
        19595 * red + 38470 * green + 7471 * blue + 32768 >> 16,
        -11059 * red - 21709 * green + 32768 * blue + 8421375 >> 16,
        32768 * red - 27439 * green - 5329 * blue + 8421375 >> 16,
    )


def _decode(ycc: tuple[int, int, int], luma_levels: Sequence[int], chroma_levels: Sequence[int]) -> RGB:
    """Quantise a YCbCr colour and convert it back to RGB, in libjpeg's fixed point."""
    luma, cb, cr = luma_levels[ycc[0]], chroma_levels[ycc[1]] - 128, chroma_levels[ycc[2]] - 128
    return (
        _clamp(luma + (91881 * cr + 32768 >> 16)),
        _clamp(luma + (-22554 * cb - 46802 * cr + 32768 >> 16)),
        _clamp(luma + (116130 * cb + 32768 >> 16)),
    )


def _levels(step: int, quality: int) -> list[int]:
    """Return, for each level 0 to 255 of a flat block, its level after quantisation.

    The scaling of the step is libjpeg's jpeg_quality_scaling. The DC coefficient of an 8 x 8 block is 8 times its mean.
    """
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    step = min(255, max(1, (step * scale + 50) // 100))
    coefficients = [8 * (level - 128) for level in range(256)]
    quantized = [(abs(value) + step // 2) // step * (1 if value >= 0 else -1) for value in coefficients]
    return [_clamp((step * number + 4 >> 3) + 128) for number in quantized]


def _clamp(value: int) -> int:
    return 0 if value < 0 else 255 if value > 255 else value


def lowest_quality(colors: Sequence[RGB]) -> int | None:
    """Return the lowest quality from which, up to 100, every flat area stays nearest its own colour.

    Args:
        colors: colours of all classes; equal ones count as one.

    Returns:
        1 to 100, or None if even quality 100 confuses two of them.
    """
    distinct = list(dict.fromkeys(colors))
    # A colour that drifts less than half way to its nearest neighbour cannot change sides; most do, so the full
    # comparison below is rarely needed.
    nearest = {
        rgb: min((_square(rgb, other) for other in distinct if other != rgb), default=1 << 20) for rgb in distinct
    }
    known = [(rgb, _ycc(rgb), square) for rgb, square in nearest.items()]
    lowest = None
    for quality in range(100, 0, -1):
        luma_levels, chroma_levels = _levels(_LUMA, quality), _levels(_CHROMA, quality)
        for rgb, ycc, square in known:
            decoded = _decode(ycc, luma_levels, chroma_levels)
            drift = _square(rgb, decoded)
            if 4 * drift >= square and any(_square(decoded, other) <= drift for other in distinct if other != rgb):
                return lowest
        lowest = quality
    return lowest


def _square(a: RGB, b: RGB) -> int:
    """Return the squared distance of two colours."""
    return (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2
