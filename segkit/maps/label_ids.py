"""Maps of class indices: where the indices are stored, and whether the first class is 0 or 1."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.errors import MapError
from segkit.maps import pixels, plausibility
from segkit.maps.codec import Labels
from segkit.maps.pixels import Packed
from segkit.palette import UNLABELLED, Palette

Ids = NDArray[np.uint8]
"""(H, W) class indices from 0 or 1; 255 = unlabelled."""

CHANNELS = ("red", "green", "blue")

_OFFICIAL = {"annotations": 1, "annotations_detectron2": 0}
"""First class in the folders of ADEChallengeData2016: as released, and as Mask2Former prepares it (255: unlabelled)."""

_FULL_SIDE = 256
"""ADE20K's full release stores a class as red / 10 * 256 + green."""

_FULL_CLASSES = 3688


def read(image: Image.Image, values: bool = False) -> Ids:
    """Return the class indices that a map holds: grey values, its only channel, or an indexed picture's values.

    Args:
        image: the map.
        values: read the values of an indexed picture, whatever colours it embeds.

    Raises:
        MapError: its pixels have colours, or more than 8 bits. The message begins with a verb.
    """
    if image.mode == "P" and values:
        return np.asarray(image)
    packed = pixels.pack_image(image, indices=True)
    if (packed == pixels.NO_COLOR).any():
        raise MapError("cannot be repaired: its pixels have more than 8 bits, and values that are no class")
    rgb = pixels.unpack(packed)
    used = [channel for channel in range(3) if rgb[..., channel].any()]
    if len(used) == 1:
        return np.asarray(rgb[..., used[0]])
    if (rgb != rgb[..., :1]).any():
        raise MapError("cannot be repaired: its pixels have colours, so they are not class indices")
    return np.asarray(rgb[..., 0])


def only_channel(packed: Packed) -> int | None:
    """Return the only colour channel that is not 0 everywhere, 0 to 2; None if there are several or none."""
    used = [channel for channel in range(3) if (packed >> np.uint32(8 * channel) & np.uint32(255)).any()]
    return used[0] if len(used) == 1 else None


def is_full_ade(colors: Packed) -> bool:
    """Report whether colours are those of ADE20K's full release: red / 10 * 256 + green is one of 3,688 classes."""
    red, green = (pixels.unpack(colors)[..., channel].astype(int) for channel in (0, 1))
    classes = red // 10 * _FULL_SIDE + green
    return len(np.unique(classes)) > 2 and bool((red % 10 == 0).all()) and int(classes.max()) <= _FULL_CLASSES


@dataclass(frozen=True)
class Evidence:
    """What the indices of maps tell about their first class.

    Attributes:
        highest: the highest index; -1 without any.
        gain: by how much 1 is likelier than 0 as the first class, in units of a decisive difference.
    """

    highest: int = -1
    gain: float = 0.0

    def __add__(self, other: "Evidence") -> "Evidence":
        return Evidence(max(self.highest, other.highest), self.gain + other.gain)

    def first(self, palette: Palette) -> int | None:
        """Return the first class, 0 or 1; None if the evidence does not decide."""
        if self.highest == len(palette):
            return 1
        return int(self.gain > 0) if abs(self.gain) >= 1 else None


def evidence(ids: Ids, palette: Palette) -> Evidence:
    """Weigh one map: its highest index, and at which heights and with which others its classes lie.

    Raises:
        MapError: an index is beyond the last class. The message begins with a verb.
    """
    areas = plausibility.measure(ids)
    highest = int(ids[ids != UNLABELLED].max(initial=0)) if (ids != UNLABELLED).any() else -1
    if highest > len(palette):
        raise MapError(
            f"cannot be repaired: value {highest} is not a class of {palette.name}, which has {len(palette)}"
        )
    readings = []
    for first in (0, 1):
        classes = [area.value - first if area.value != UNLABELLED else -1 for area in areas]
        names = [palette[index].name if 0 <= index < len(palette) else "" for index in classes]
        readings.append(plausibility.judge(list(zip(names, areas, strict=True))))
    return Evidence(highest, plausibility.gain(*readings))


def official_first(path: PurePath) -> int | None:
    """Return the first class of a map within ADEChallengeData2016, by its folders; None for other maps."""
    parts = [part.casefold() for part in path.parts]
    for above, below in pairwise(parts):
        if above == "adechallengedata2016" and below in _OFFICIAL:
            return _OFFICIAL[below]
    return None


def are_two(image: Image.Image, palette: Palette) -> bool:
    """Report whether a picture has one or two values that may be classes, and is no mask of black and white."""
    try:
        values = set(np.unique(read(image)).tolist())
    except MapError:
        return False
    return len(values) <= 2 and not values <= {0, UNLABELLED} and max(values - {UNLABELLED}) <= len(palette)


def first_of(maps: Sequence[Ids], palette: Palette) -> int | None:
    """Return the first class of maps that count alike; None if they do not tell."""
    return sum((evidence(ids, palette) for ids in maps), Evidence()).first(palette)


def to_labels(ids: Ids, first: int) -> Labels:
    """Return labels for class indices from 0, or from 1 with 0 for unlabelled."""
    return np.where(ids == UNLABELLED, UNLABELLED, ids.astype(np.int64) - first).astype(np.uint8)  # 0 - 1 wraps to 255
