"""What a diagnosis is based on, as text: the colours of a map, or what a picture looks like that is no map."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from segkit.maps import matching, pixels
from segkit.maps.pixels import Packed
from segkit.maps.schemes import Scheme
from segkit.palette.color import BLACK, to_hex

_PAINTED = {
    "exact": "exact {} colours",
    "shifted": "exact {} colours, each of the class before",
    "bgr": "exact {} colours with red and blue swapped",
    "coco": "exact {} colours",
    "golden-angle": "exact golden-angle colours",
}
_OTHERS = {
    "outlined": "blends with white",
    "jpeg": "blurred as by JPEG",
    "resized": "blends of two areas",
    "noisy": "so near one of these colours that no other class is possible",
}

FLAT = 0.15
"""Minimum share of flat pixels in a map; photos and noise have fewer."""

_STEP, _SMOOTH, _LEVELS = 8, 0.95, 100.0
"""A picture changes gradually if this share of the steps between different neighbours is no larger than _STEP, and it
has effectively so many colours: e to the power of their entropy. JPEG and enlarged maps have at most 0.73."""

_COLORS = 4096
"""Colours from which on a gradual picture is a photo rather than a depth map, whose colours lie on one curve."""

_UNIT, _NORMALS = 0.1, 0.9
"""Vectors of a normal map have the length 1, give or take, at this share of the pixels."""

_AVERAGED = 0.5
"""Share of the pixels of a map with strong noise whose mean over 5 x 5 pixels is near the colour of a class."""

_BUSY = 0.04
"""Share of the pixels of a small JPEG map without flat areas whose class is certain. Of 123 maps of 10 to 80 areas on
48 to 192 pixels, 116 have more; of 310 photos of 48 to 256 pixels none has more than 0.025."""


class Picture(NamedTuple):
    """What a picture is that is no map: cause, evidence and other possible causes, as in diagnose.Diagnosis."""

    cause: str
    evidence: str
    possible: tuple[str, ...] = ()


def of_scheme(packed: Packed, scheme: Scheme, extended: Scheme, damage: str) -> str:
    """Return how many pixels have exact colours of a scheme, and what the others are.

    Args:
        packed: (H, W) the map.
        scheme: its scheme.
        extended: the same with the colours of painted areas.
        damage: what was done to the map.
    """
    text = f"{matching.share(packed, scheme):.1%} of the pixels are {_PAINTED[scheme.name].format(scheme.palette.name)}"
    if damage == "stray":
        return f"{text}; {_strays(packed, extended)}"
    return f"{text}, the others are {_OTHERS[damage]}" if damage in _OTHERS else text


def _strays(packed: Packed, scheme: Scheme) -> str:
    known = pixels.pack(np.array([*scheme.colors, BLACK], np.uint8))
    colors = packed[~np.isin(packed, known)]
    red, green, blue = pixels.unpack(colors[0]).tolist()
    first = to_hex((red, green, blue))
    if len(colors) == 1:
        return f"1 pixel of {first} that is no class"
    different = len(np.unique(colors))
    named = first if different == 1 else f"{different:,} colours such as {first}"
    return f"{len(colors):,} pixels of {named} that are no class"


def of_flat_pixels(packed: Packed, scheme: Scheme, covered: float) -> str:
    """Return how many colours a picture has, and how many of its flat pixels are near colours of a scheme."""
    near = f"{covered:.1%} of the flat pixels are near colours of {scheme.palette.name}, as {scheme.name}"
    return f"{len(np.unique(packed)):,} colours; {near}"


def picture(packed: Packed, flat: float, scheme: Scheme) -> Picture | None:
    """Return what a picture looks like that is not painted in flat areas; None if it is.

    Args:
        packed: (H, W) the picture.
        flat: share of flat pixels, 0 to 1.
        scheme: the colours of classes.
    """
    if flat < FLAT and matching.near_share(pixels.pack(_box_means(packed)), scheme) >= _AVERAGED:
        text = f"it looks like a map with noise, stronger than the {matching.radius(scheme):.1f} (RGB L2) within which "
        return Picture("unknown", f"{text}classes are certain", ("exact",))
    shares = np.unique(packed, return_counts=True)[1] / packed.size
    colors = f"{len(shares):,} colours"
    if _is_gradual(packed, shares):
        if _is_normal_map(packed):
            return Picture("depth", f"{colors} that are directions, as in a normal map")
        return Picture("photo" if len(shares) > _COLORS else "depth", f"{colors} that change gradually")
    if flat >= FLAT:
        return None
    if (near := matching.near_share(packed, scheme)) >= _BUSY:
        size, near_colors = f"{packed.shape[1]}x{packed.shape[0]} pixels", f"{near:.1%} have colours of classes"
        return Picture("busy", f"{size} in {colors}; {flat:.1%} of the pixels are in flat areas, and {near_colors}")
    cause = "photo" if len(shares) > matching.COLORS else "unknown"
    return Picture(cause, f"{colors}, and {flat:.1%} of the pixels are in flat areas")


def _is_gradual(packed: Packed, shares: NDArray[np.float64]) -> bool:
    """Report whether a picture has many colours, and nearly all steps between neighbours are small."""
    if np.exp(-(shares * np.log(shares)).sum()) < _LEVELS:
        return False
    rgb = pixels.unpack(packed).astype(np.int16)
    steps = np.concatenate([np.abs(np.diff(rgb, axis=axis)).max(-1).ravel() for axis in (0, 1)])
    return bool((steps[steps > 0] <= _STEP).mean() >= _SMOOTH)


def _is_normal_map(packed: Packed) -> bool:
    lengths = np.linalg.norm(pixels.unpack(packed) / 127.5 - 1, axis=2)
    return bool((np.abs(lengths - 1) <= _UNIT).mean() >= _NORMALS)


def _box_means(packed: Packed) -> NDArray[np.uint8]:
    """Return the means of 5 x 5 pixels: (H, W, 3), edges repeated."""
    return np.asarray(Image.fromarray(pixels.unpack(packed)).filter(ImageFilter.BoxBlur(2)))
