"""What JPEG does to an area of one colour, and the lowest quality that no class of a palette suffers from.

An area of one colour is the mildest case: only its mean is rounded, at the transform's first coefficient. Borders are
blurred at every quality.
"""

from collections.abc import Sequence

from segkit.color import RGB, distance

_LUMA, _CHROMA = 16, 17
"""Steps of the first coefficient at quality 50 (ITU-T T.81, tables K.1 and K.2)."""


def flat(rgb: RGB, quality: int) -> RGB:
    """Return the colour that an area of one colour has after libjpeg, bit for bit.

    Args:
        rgb: the colour.
        quality: 1 to 100, as libjpeg and Pillow count.
    """
    red, green, blue = rgb
    luma = 19595 * red + 38470 * green + 7471 * blue + 32768 >> 16  # JFIF 1.02 in 16 bits of fraction
    cb = -11059 * red - 21709 * green + 32768 * blue + 8421375 >> 16
    cr = 32768 * red - 27439 * green - 5329 * blue + 8421375 >> 16
    luma = _rounded(luma, _LUMA, quality)
    cb, cr = _rounded(cb, _CHROMA, quality) - 128, _rounded(cr, _CHROMA, quality) - 128
    return (
        _clamped(luma + (91881 * cr + 32768 >> 16)),
        _clamped(luma + (-22554 * cb - 46802 * cr + 32768 >> 16)),
        _clamped(luma + (116130 * cb + 32768 >> 16)),
    )


def _rounded(value: int, step: int, quality: int) -> int:
    """Round a level as the quantised mean of its block."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    step = min(255, max(1, (step * scale + 50) // 100))
    mean = 8 * (value - 128)
    number = (abs(mean) + step // 2) // step
    return _clamped((step * number * (1 if mean >= 0 else -1) + 4 >> 3) + 128)


def _clamped(value: int) -> int:
    return min(255, max(0, value))


def lowest_quality(colours: Sequence[RGB]) -> int | None:
    """Return the lowest quality from which up to 100 every flat area stays nearest its own colour; None: none does.

    Args:
        colours: of all classes; equal ones count as one.
    """
    distinct = list(dict.fromkeys(colours))
    nearest = {a: min((distance(a, b) for b in distinct if a != b), default=442.0) for a in distinct}
    lowest = None
    for quality in range(100, 0, -1):
        for own in distinct:
            after = flat(own, quality)
            drift = distance(own, after)
            if drift * 2 >= nearest[own] and any(distance(after, b) <= drift for b in distinct if b != own):
                return lowest
        lowest = quality
    return lowest
