"""What a JPEG file stored, from its decoded colours alone.

A stored coefficient is a whole multiple of its step. Labels that are nearly right, compressed as the map was, have most
of the coefficients of the file; those of the other units are corrected until they decode to the observed colours.
libjpeg decodes in whole numbers, so that a unit is certain if it decodes to exactly these colours. Where colours were
clipped at 0 and 255 several coefficients may do, rarely in 4:2:0, and those nearest to the labels stay.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from segkit.maps import coded, differences, planes, samples, spectrum
from segkit.maps.coded import Coded
from segkit.maps.differences import Differences
from segkit.maps.layout import BLOCK, GREY
from segkit.maps.planes import Samples
from segkit.maps.recompress import MCU
from segkit.maps.scene import YCC, Floats, Positions, Scene

_ROUNDS = 12
"""Corrections of a unit at most."""

_PROMISING = 4
"""Rounds after which half of the units are certain, or nothing is recovered."""

_PASSES = 3
"""Times that all units are corrected, since chroma reaches into those beside it."""

_REMEMBERED = np.float32(0.75)
"""Part of a fraction of a step that is kept for the next round. All of it would add up the rounding of colours."""


def _solutions() -> Floats:
    """Return the least luma and chroma that explain a difference of colours: (8, 3, 3).

    The number of a matrix has a bit for each channel that is not clipped, red the highest.
    """
    rgb = np.linalg.inv(YCC.astype(np.float64))
    solutions = np.zeros((8, 3, 3), np.float32)
    for solution, known in zip(solutions, product((False, True), repeat=3), strict=True):
        solution[:, known] = np.linalg.pinv(rgb[list(known)])
    return solutions


_SOLUTIONS = _solutions()

_EVEN = [
    [8192, 10703, 8192, 4433],
    [8192, 4433, -8192, -10704],
    [8192, -4433, -8192, 10704],
    [8192, -10703, 8192, -4433],
]
_ODD = [
    [11363, 9633, 6437, 2260],
    [9633, -2259, -11362, -6436],
    [6437, -11362, 2261, 9633],
    [2260, -6436, 9633, -11363],
]
"""What the even and odd coefficients add to the first four samples in libjpeg (jidctint.c), times 2^13."""


def _transposed_inverse() -> NDArray[np.float64]:
    half = np.empty((BLOCK, 4))
    half[::2], half[1::2] = np.transpose(_EVEN), np.transpose(_ODD)
    signs = np.array([1, -1] * 4)[:, None]
    return np.hstack([half, (signs * half)[:, ::-1]])


_INVERSE = _transposed_inverse()


@dataclass
class _Units:
    """Units of a map that are corrected.

    Attributes:
        rows: (N,) unit rows.
        columns: (N,) unit columns.
        luma: (N, blocks, 64) coefficients in steps; fractions collect what is too little for a whole step.
        chroma: (N, 2, blocks, 64) the same.
    """

    rows: Positions
    columns: Positions
    luma: Floats
    chroma: Floats


def recover(scene: Scene, height: int, width: int, uncertain_share: float) -> Coded | None:
    """Return the samples that the file of a map probably stored, and which units are certain.

    None if its settings are not supported, or if more than a few of the units that compression changed are uncertain:
    then the map was changed after it was decoded, or too many of its labels are wrong yet.

    Args:
        scene: the map, with labels that are mostly right.
        height: of the picture in pixels; the map repeats its edges beyond.
        width: of the picture.
        uncertain_share: share of the units compared, 0 to 1, that may be uncertain; if more are, nothing is recovered.
    """
    encoded = scene.encoded(scene.labels)
    stored = coded.read(encoded)
    if stored is None:
        return None
    stored = replace(stored, height=height, width=width)
    uncertain = np.zeros([side // MCU for side in scene.labels.shape], bool)
    uncertain[differences.visible(scene, encoded, 0)] = True
    units = _units(scene, stored.scale, *np.nonzero(spectrum.around(uncertain)))
    wrong = _solve(scene, stored, units)
    if len(wrong) > uncertain_share * len(units.rows):
        return None
    uncertain[:] = False
    uncertain[units.rows[wrong], units.columns[wrong]] = True
    scale = stored.scale
    luma, chroma = _edged(stored.luma, height, width), _edged(stored.chroma, -(-height // scale), -(-width // scale))
    return replace(stored, luma=luma, chroma=chroma, certain=~uncertain)


def _edged(plane: Samples, height: int, width: int) -> Samples:
    """Return a plane, (H, W) or (H, W, 2), with the edges of the picture repeated beyond it, as decoders do."""
    beyond = ((0, plane.shape[0] - height), (0, plane.shape[1] - width), (0, 0))[: plane.ndim]
    return np.pad(plane[:height, :width], beyond, mode="edge") if any(map(any, beyond)) else plane


def _units(scene: Scene, scale: int, rows: Positions, columns: Positions) -> _Units:
    """Return units with the coefficients of their labels."""
    shape = scene.layout
    labels = planes.cut(scene.labels, rows, columns, MCU)
    luma = planes.transform(scene.ycc[:, 0].take(labels) - np.float32(GREY))
    chroma = []
    for channel in (1, 2):
        painted = scene.ycc[:, channel].take(labels)
        painted = samples.stored_means(painted) if scale > 1 else painted
        chroma.append(planes.transform(painted))
    return _Units(rows, columns, np.round(luma / shape.luma_steps), np.round(np.stack(chroma, 1) / shape.chroma_steps))


def _solve(scene: Scene, stored: Coded, units: _Units) -> Positions:
    """Correct units until they decode to the observed colours; return those that do not."""
    wrong = everything = np.arange(len(units.rows))
    for _ in range(_PASSES):
        wrong = everything
        for number in range(_ROUNDS):
            if not len(wrong) or (number == _PROMISING and 2 * len(wrong) > len(everything)):
                break
            wrong = _correct(scene, stored, units, wrong)
        wrong, _, _ = _wrong(scene, stored, units, everything)
        if not len(wrong) or 2 * len(wrong) > len(everything):
            break
    return wrong


def _wrong(
    scene: Scene, stored: Coded, units: _Units, some: Positions
) -> tuple[Positions, NDArray[np.uint8], Differences]:
    """Return those of some units that do not decode to the observed colours, these colours and their difference."""
    observed, difference = _differences(scene, stored, units.rows[some], units.columns[some])
    inner = _inner(stored.scale)
    wrong = difference[:, inner, inner].any((1, 2, 3))
    return some[wrong], observed[wrong], difference[wrong]


def _inner(scale: int) -> slice:
    """Return where a unit lies between its margins."""
    return slice(spectrum.REACH * scale, spectrum.REACH * scale + MCU)


def _correct(scene: Scene, stored: Coded, units: _Units, some: Positions) -> Positions:
    """Correct those of some units that do not decode to the observed colours; return them."""
    some, observed, difference = _wrong(scene, stored, units, some)
    known = (difference != 0) | (observed > 0) & (observed < 255)
    matrices = _SOLUTIONS[known @ np.array([4, 2, 1])]
    error = np.einsum("nhwij,nhwj->nhwi", matrices, difference.astype(np.float32))
    rows, columns, inner, shape = units.rows[some], units.columns[some], _inner(stored.scale), scene.layout
    luma = _moved(units.luma[some], error[:, inner, inner, 0], shape.luma_steps)
    _write(stored.luma, rows, columns, luma, shape.luma_steps)
    units.luma[some] = luma
    for channel in (0, 1):
        plane = error[..., channel + 1]
        if stored.scale == 1:
            plane = plane[:, inner, inner]
        else:
            plane = spectrum.sharpened(spectrum.halved(plane[..., None])[..., 0])
        chroma = _moved(units.chroma[some, channel], plane, shape.chroma_steps)
        _write(stored.chroma[..., channel], rows, columns, chroma, shape.chroma_steps)
        units.chroma[some, channel] = chroma
    return some


def _moved(numbers: Floats, error: Floats, steps: Floats) -> Floats:
    """Return coefficients in steps, (N, blocks, 64), moved by an error in samples: (N, side, side)."""
    whole = np.round(numbers)
    error = planes.transform(error) / steps
    return np.asarray(whole + _REMEMBERED * (numbers - whole) + error)


def _differences(
    scene: Scene, stored: Coded, rows: Positions, columns: Positions
) -> tuple[NDArray[np.uint8], Differences]:
    """Return the observed colours of units with a margin, (N, side, side, 3), and less those of stored samples."""
    margin = spectrum.REACH * stored.scale
    observed = differences.patches(scene.observed, rows, columns, margin)
    luma = differences.patches(stored.luma[..., None], rows, columns, margin)[..., 0]
    beyond = 0 if stored.scale == 1 else 1
    plane = _edged(stored.chroma, -(-stored.height // stored.scale), -(-stored.width // stored.scale))
    chroma = differences.patches(plane, rows, columns, spectrum.REACH + beyond, MCU // stored.scale)
    full = _interpolated(chroma) if stored.scale > 1 else chroma.astype(np.int32)
    difference = differences.before_clipping(observed, luma, full[..., 0], full[..., 1])
    # Encoders repeat the edges beyond the picture, so that is the best guess of what differs there.
    reach = np.arange(MCU + 2 * margin)
    down = np.minimum(reach, stored.height - 1 + margin - rows[:, None] * MCU)
    across = np.minimum(reach, stored.width - 1 + margin - columns[:, None] * MCU)
    return observed, difference[np.arange(len(rows))[:, None, None], down[:, :, None], across[:, None]]


def _interpolated(chroma: Samples) -> NDArray[np.int32]:
    """Return the chroma that libjpeg interpolates (jdsample.c) inside of (N, side, side, 2) samples, twice as many."""
    values, side = chroma.astype(np.int32), chroma.shape[1]
    near = 3 * values[:, 1:-1]
    down = np.stack([near + values[:, :-2], near + values[:, 2:]], 2).reshape(-1, 2 * (side - 2), side, 2)
    near = 3 * down[:, :, 1:-1]
    across = np.stack([near + down[:, :, :-2] + 8, near + down[:, :, 2:] + 7], 3) >> 4
    return across.reshape(-1, 2 * (side - 2), 2 * (side - 2), 2)


def _write(plane: Samples, rows: Positions, columns: Positions, numbers: Floats, steps: Floats) -> None:
    """Write the samples of units of a plane, (H, W), in place, from coefficients in steps: (N, blocks, 64)."""
    count = round(numbers.shape[1] ** 0.5)
    side = count * BLOCK
    after = _decoded(np.round(numbers) * steps).reshape(-1, count, count, BLOCK, BLOCK).swapaxes(2, 3)
    view = plane.reshape(plane.shape[0] // side, side, -1, side)
    view[rows, :, columns] = after.reshape(-1, side, side)


def _decoded(coefficients: Floats) -> Samples:
    """Return the samples of (..., 64) coefficients, to the bit as libjpeg computes them (jidctint.c)."""
    blocks = coefficients.astype(np.float64).reshape(-1, BLOCK, BLOCK)
    down = np.floor((_INVERSE.T @ blocks + 2**10) / 2**11)
    across = np.floor((down @ _INVERSE + 2**17) / 2**18) + GREY
    samples: Samples = np.clip(across, 0, 255).astype(np.uint8)
    return samples.reshape(coefficients.shape)
