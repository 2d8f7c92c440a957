"""What blurred the borders of a map: JPEG, a smooth filter, or white lines between the areas."""

import numpy as np
from numpy.typing import NDArray

from segkit.maps import candidates, pixels, solid
from segkit.maps.pixels import Packed
from segkit.maps.schemes import Scheme
from segkit.palette.color import WHITE

_SAMPLE = 20_000
"""Number of border pixels that are examined."""

_FITS = 6.0
"""RGB L2 within which a pixel counts as a blend of two given colours."""

_AT_HAND = 8.0
"""RGB L2 to the colour of an adjacent area below which a pixel does not reveal what it was blended with."""


def identify(packed: Packed, scheme: Scheme) -> str:
    """Return "jpeg", "resized" or "outlined", judging by the colours of border pixels.

    Outlines blend an area with white, smooth scaling blends two areas, and JPEG produces colours that are neither.
    """
    indices = solid.seeds(packed, scheme.colors, solid.SOFT)
    unlabelled = np.flatnonzero(indices == solid.NO_LABEL)
    if len(unlabelled) > _SAMPLE:
        unlabelled = np.sort(np.random.default_rng(0).choice(unlabelled, _SAMPLE, replace=False))
    if not len(unlabelled):
        return "jpeg"
    border = candidates.find(indices, unlabelled)
    observed = pixels.unpack(packed.ravel()[unlabelled]).astype(np.float32)
    colors = np.array([*scheme.colors, *[(0, 0, 0)] * (256 - len(scheme.colors))], np.float32)
    areas = np.where((border.labels != solid.NO_LABEL)[..., None], colors[border.labels], np.inf)  # (candidates, N, 3)
    with np.errstate(invalid="ignore"):  # missing candidates give inf - inf
        distance = np.nan_to_num(np.linalg.norm(areas - observed, axis=2), nan=np.inf).min(0)
        telling = (distance > _AT_HAND) & (border.labels[0] != solid.NO_LABEL)
        to_white = np.min([_off_line(observed, area, np.array(WHITE, np.float32)) for area in areas], axis=0)
        pairs = [(0, 1), (0, 2), (1, 2)]
        to_blend = np.min([_off_line(observed, areas[a], areas[b]) for a, b in pairs], axis=0)
    if telling.sum() < 0.1 * len(unlabelled):
        return "jpeg"
    outlined, resized = (float((off[telling] <= _FITS).mean()) for off in (to_white, to_blend))
    if max(outlined, resized) >= 0.6:
        return "outlined" if outlined > resized else "resized"
    return "jpeg"


def _off_line(
    observed: NDArray[np.float32], start: NDArray[np.float32], end: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the distance of colours to the line between two others: (N,), inf where one of those is missing.

    The line extends by 20 % at both ends, since filters such as Lanczos overshoot.
    """
    line = end - start
    share = ((observed - start) * line).sum(1) / np.maximum((line**2).sum(1), 1)
    off: NDArray[np.float32] = np.linalg.norm(observed - start - np.clip(share, -0.2, 1.2)[:, None] * line, axis=1)
    return np.nan_to_num(off, nan=np.inf)
