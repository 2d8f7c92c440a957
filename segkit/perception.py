"""How different two colours look: CIELAB and CIEDE2000."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.float64]

_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
"""Linear sRGB to XYZ (IEC 61966-2-1, D65)."""

_WHITE = _TO_XYZ.sum(axis=1)


def lab(rgb: ArrayLike) -> Numbers:
    """Return CIELAB under D65 of sRGB colours.

    Args:
        rgb: (..., 3), 0 to 255.

    Returns:
        (..., 3): lightness 0 to 100, a*, b*.
    """
    share = np.asarray(rgb, np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    ratio = linear @ _TO_XYZ.T / _WHITE
    cubic = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(cubic, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def ciede2000(one: ArrayLike, other: ArrayLike) -> Numbers:
    """Return how different colours look; about 1 is the least that an eye notices side by side.

    The formula and its order of steps are those of Sharma, Wu and Dalal, "The CIEDE2000 Color-Difference Formula"
    (2005), with kL = kC = kH = 1.

    Args:
        one: (..., 3) CIELAB.
        other: (..., 3) CIELAB; the two are broadcast against each other.

    Returns:
        (...) differences, 0 for equal colours.
    """
    (l1, c1, h1), (l2, c2, h2) = _lch(np.asarray(one, np.float64), np.asarray(other, np.float64))
    grey = c1 * c2 == 0
    turn = np.where(grey, 0, (h2 - h1 + 180) % 360 - 180)  # the short way round
    lightness, chroma, hue = l2 - l1, c2 - c1, 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    mean_h = np.where(grey, h1 + h2, _mean_hue(h1, h2))
    weight = (
        1
        - 0.17 * _cos(mean_h - 30)
        + 0.24 * _cos(2 * mean_h)
        + 0.32 * _cos(3 * mean_h + 6)
        - 0.20 * _cos(4 * mean_h - 63)
    )
    by_l = lightness / (1 + 0.015 * (mean_l - 50) ** 2 / np.sqrt(20 + (mean_l - 50) ** 2))
    by_c = chroma / (1 + 0.045 * mean_c)
    by_h = hue / (1 + 0.015 * mean_c * weight)
    bent = np.sin(np.radians(60 * np.exp(-(((mean_h - 275) / 25) ** 2))))
    return np.asarray(np.sqrt(by_l**2 + by_c**2 + by_h**2 - 2 * _saturation(mean_c) * bent * by_c * by_h))


def _lch(*colours: Numbers) -> list[tuple[Numbers, Numbers, Numbers]]:
    """Return lightness, chroma and hue in degrees, a* stretched for greyish colours."""
    chroma = sum(np.hypot(colour[..., 1], colour[..., 2]) for colour in colours) / 2
    stretch = 1 + 0.5 * (1 - _saturation(np.asarray(chroma)))
    found = []
    for colour in colours:
        a, b = colour[..., 1] * stretch, colour[..., 2]
        found.append((colour[..., 0], np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360))
    return found


def _saturation(chroma: Numbers) -> Numbers:
    """Return a value from 0, grey, to 1."""
    return np.asarray(np.sqrt(chroma**7 / (chroma**7 + 25.0**7)))


def _mean_hue(one: Numbers, other: Numbers) -> Numbers:
    total = one + other
    apart = np.abs(one - other) > 180
    return np.where(apart, np.where(total < 360, total + 360, total - 360), total) / 2


def _cos(degrees: Numbers) -> Numbers:
    return np.cos(np.radians(degrees))
