"""Perceived colour difference: CIELAB and CIEDE2000."""

import math

from segkit.palette.color import RGB

Lab = tuple[float, float, float]

TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
"""Linear sRGB to XYZ (IEC 61966-2-1, D65)."""


def lab(rgb: RGB) -> Lab:
    """Convert sRGB to CIELAB under D65.

    Returns:
        L* from 0 to 100, a* and b*.
    """
    linear = [_linear(channel / 255) for channel in rgb]
    # The row sums are XYZ of white, so that white is exactly L* = 100, a* = b* = 0.
    x, y, z = (_lab_curve(sum(k * c for k, c in zip(row, linear, strict=True)) / sum(row)) for row in TO_XYZ)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _linear(value: float) -> float:
    """Invert the sRGB transfer function (IEC 61966-2-1)."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _lab_curve(ratio: float) -> float:
    return math.cbrt(ratio) if ratio > (6 / 29) ** 3 else ratio * (29 / 6) ** 2 / 3 + 4 / 29


def ciede2000(one: Lab, other: Lab) -> float:
    """Return the CIEDE2000 difference: 0 for equal colours, about 1 for the least that is visible side by side.

    Formula and order of steps follow Sharma, Wu and Dalal, "The CIEDE2000 Color-Difference Formula" (2005), with
    kL = kC = kH = 1.
    """
    stretch = 1 + 0.5 * (1 - _saturation((math.hypot(*one[1:]) + math.hypot(*other[1:])) / 2))
    (l1, c1, h1), (l2, c2, h2) = _lch(one, stretch), _lch(other, stretch)
    grey = c1 * c2 == 0  # the hue of a grey is undefined
    turn = 0 if grey else (h2 - h1 + 180) % 360 - 180  # the shorter way around the circle
    lightness, chroma, hue = l2 - l1, c2 - c1, 2 * math.sqrt(c1 * c2) * math.sin(math.radians(turn / 2))
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    mean_h = h1 + h2 if grey else _mean_hue(h1, h2)
    weight = (
        1
        - 0.17 * _cos(mean_h - 30)
        + 0.24 * _cos(2 * mean_h)
        + 0.32 * _cos(3 * mean_h + 6)
        - 0.20 * _cos(4 * mean_h - 63)
    )
    by_l = lightness / (1 + 0.015 * (mean_l - 50) ** 2 / math.sqrt(20 + (mean_l - 50) ** 2))
    by_c = chroma / (1 + 0.045 * mean_c)
    by_h = hue / (1 + 0.015 * mean_c * weight)
    rotation = math.sin(math.radians(60 * math.exp(-(((mean_h - 275) / 25) ** 2))))
    return math.sqrt(by_l**2 + by_c**2 + by_h**2 - 2 * _saturation(mean_c) * rotation * by_c * by_h)


def _lch(color: Lab, stretch: float) -> tuple[float, float, float]:
    """Return lightness, chroma and hue in degrees; a* is stretched, which corrects nearly grey colours."""
    lightness, a, b = color[0], color[1] * stretch, color[2]
    return lightness, math.hypot(a, b), math.degrees(math.atan2(b, a)) % 360


def _saturation(chroma: float) -> float:
    """Map chroma to 0 (grey) .. 1."""
    return math.sqrt(chroma**7 / (chroma**7 + 25.0**7))


def _mean_hue(one: float, other: float) -> float:
    total = one + other
    if abs(one - other) > 180:
        total += 360 if total < 360 else -360
    return total / 2


def _cos(degrees: float) -> float:
    return math.cos(math.radians(degrees))
