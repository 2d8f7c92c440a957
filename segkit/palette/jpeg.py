"""What JPEG does to an area of one colour, and the lowest quality that no class of a palette suffers from.

An area of one colour is the mildest case: only its mean is rounded, at the transform's first coefficient. Borders are
blurred at every quality.
"""

from collections.abc import Sequence

from segkit.palette.color import RGB

_LUMA, _CHROMA = 16, 17
"""Steps of the first coefficient at quality 50 (ITU-T T.81, tables K.1 and K.2)."""


LOWEST = {"ade20k": 32, "coco_panoptic": 9}
"""lowest_quality of the shipped palettes, worked out beforehand."""


def flat(rgb: RGB, quality: int) -> RGB:
    """Return the colour that an area of one colour has after libjpeg, bit for bit.

    Args:
        rgb: the colour.
        quality: 1 to 100, as libjpeg and Pillow count.
    """
    return _after(_ycc(rgb), _levels(_LUMA, quality), _levels(_CHROMA, quality))


def _ycc(rgb: RGB) -> tuple[int, int, int]:
    """Return luma and both chromas, 0 to 255, in JFIF 1.02's 16 bits of fraction."""
    red, green, blue = rgb
    return (
        19595 * red + 38470 * green + 7471 * blue + 32768 >> 16,
        -11059 * red - 21709 * green + 32768 * blue + 8421375 >> 16,
        32768 * red - 27439 * green - 5329 * blue + 8421375 >> 16,
    )


def _after(ycc: tuple[int, int, int], lumas: Sequence[int], chromas: Sequence[int]) -> RGB:
    """Return the colour of an area whose levels were rounded as the tables say."""
    luma, cb, cr = lumas[ycc[0]], chromas[ycc[1]] - 128, chromas[ycc[2]] - 128
    return (
        _clamped(luma + (91881 * cr + 32768 >> 16)),
        _clamped(luma + (-22554 * cb - 46802 * cr + 32768 >> 16)),
        _clamped(luma + (116130 * cb + 32768 >> 16)),
    )


def _levels(step: int, quality: int) -> list[int]:
    """Return what each level, 0 to 255, becomes as the quantised mean of its block."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    step = min(255, max(1, (step * scale + 50) // 100))
    means = [8 * (level - 128) for level in range(256)]
    numbers = [(abs(mean) + step // 2) // step * (1 if mean >= 0 else -1) for mean in means]
    return [_clamped((step * number + 4 >> 3) + 128) for number in numbers]


def _clamped(value: int) -> int:
    return 0 if value < 0 else 255 if value > 255 else value


def lowest_quality(colors: Sequence[RGB]) -> int | None:
    """Return the lowest quality from which up to 100 every flat area stays nearest its own colour; None: none does.

    Args:
        colors: of all classes; equal ones count as one.
    """
    distinct = list(dict.fromkeys(colors))
    # A colour that drifts less than half of the way to its nearest other stays nearest: most do.
    nearest = {own: min((_square(own, each) for each in distinct if each != own), default=1 << 20) for own in distinct}
    known = [(own, _ycc(own), square) for own, square in nearest.items()]
    lowest = None
    for quality in range(100, 0, -1):
        lumas, chromas = _levels(_LUMA, quality), _levels(_CHROMA, quality)
        for own, ycc, square in known:
            after = _after(ycc, lumas, chromas)
            drift = _square(own, after)
            if 4 * drift >= square and any(_square(after, each) <= drift for each in distinct if each != own):
                return lowest
        lowest = quality
    return lowest


def _square(a: RGB, b: RGB) -> int:
    """Return the squared distance of two colours."""
    return (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2
