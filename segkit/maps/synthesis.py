"""Repair of JPEG maps by synthesis: the labels whose compressed picture is the observed map.

Solid areas show most classes, and the colours at borders most labels (segkit.maps.borders). The result is painted and
compressed as the map was. Where that differs from the map, something is wrong: the difference, added to what was
painted, is the map with the known part of the ringing removed. Pixels and whole areas are relabelled from it, also with
classes too thin to have solid areas, and the comparison is repeated. A class stays if it explains enough pixels.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segkit.maps import areas, borders, pixels, recompress
from segkit.maps.borders import Repaired
from segkit.maps.pixels import Packed
from segkit.maps.scene import BLOCK, Floats, Indices, Residual, Scene, blocks, find_residual
from segkit.palette.color import RGB

_PLAUSIBLE = 5
"""Side in pixels of the solid square that suggests a class; one of borders.SOLID proves it."""

_SAFER = 7
_COARSE = 65
"""Below this quality blends form squares of _PLAUSIBLE, and _SAFER is the side that suggests a class."""

_ROUNDS = 5
"""Rounds with new classes."""

_FINAL_ROUNDS = 2
"""Rounds without new classes, and without those that have few cores."""

_LOUD = 30.0
"""Length of a residual that is hardly ever the noise of quantization."""

_LOUD_PIXELS = 8
"""Pixels with such a residual that make a block badly explained."""

_FEW = 1 / 36
"""Share of the map up to which only the surroundings of badly explained places are searched."""

_CORES = 30
"""Pixels inside an unproven class (see Scene.cores) that it takes to keep it."""

_CORE_SHARE = 0.15
"""Least share of the pixels of such a class; a line of three pixels has a third, one of two has none."""

_MISFIT = 25.0
"""Root mean square of the residual on the pixels of a class that refutes it."""

_SMOOTH = 100.0
"""Cost of each of the eight neighbours with a different label, in squared colour distance."""

_SWEEPS = 2

_VISIBLE = 8.0
"""Length of a residual that may belong to a class that is missing."""

_PROMINENT = 0.35
"""Least share of the largest residual near by: what is less is ringing."""

_RADIUS = 3
"""Colours of missing classes are averaged over squares of twice this and one pixel."""

_HALO = 4
"""Pixels around a block that are averaged with it: the radius, to whole cells of chroma."""

_NONE = 255


def repair(packed: Packed, colors: tuple[RGB, ...]) -> Repaired:
    """Determine which of the given colours each pixel of a JPEG map had.

    If no compression explains the damage (the map was cropped or scaled afterwards), borders.repair decides alone.

    Args:
        packed: (H, W) the damaged map, as from pixels.pack_image.
        colors: the 1 to 255 colours that the map was painted with.
    """
    height, width = packed.shape
    sides = ((0, -height % recompress.MCU), (0, -width % recompress.MCU))
    padded = np.pad(packed, sides, mode="edge")
    seeded, (plausible, safer, proven) = borders.solid_areas(padded, colors, (_PLAUSIBLE, _SAFER, borders.SOLID))
    start = borders.spread(padded, colors, np.where(plausible[seeded], seeded, np.uint8(borders.NO_LABEL)))
    table = np.array(colors, np.uint8)
    painted = pixels.pack(table).take(start.indices)
    compression = recompress.estimate(padded, painted)
    if compression is None:
        return borders.repair(packed, colors)
    if compression.quality < _COARSE and (plausible & ~safer).any():
        start = borders.spread(padded, colors, np.where(safer[seeded], seeded, np.uint8(borders.NO_LABEL)))
    fixed = proven[seeded]
    scene = Scene(pixels.unpack(padded), np.pad(start.indices, 1, mode="edge"), fixed, table, compression)
    _search(scene)
    return Repaired(scene.labels[:height, :width].copy(), start.doubtful[:height, :width])


def _search(scene: Scene) -> None:
    """Relabel until the compressed picture of the labels resembles the observed map.

    If little of the map is badly explained, only that is searched.
    """
    residual = find_residual(scene)
    if len(_badly_explained(residual)) * recompress.MCU**2 > _FEW * scene.labels.size:
        _relabel(scene, residual)
        return
    _move_pixels(scene, residual, scene.rarity(scene.cores()), None)
    units = _badly_explained(find_residual(scene))
    if len(units):
        _relabel_bands(scene, units)
    _prune(scene)


def _badly_explained(residual: Residual) -> NDArray[np.intp]:
    """Return the row and column of each MCU with a block that is badly explained: (N, 2)."""
    loud = (residual.squares() > _LOUD**2).sum((1, 2)) >= _LOUD_PIXELS
    places = np.stack([residual.rows[loud], residual.columns[loud]], 1)
    return np.unique(places * BLOCK // recompress.MCU, axis=0)


def _relabel(scene: Scene, residual: Residual) -> None:
    """Alternate moves of pixels and of areas; then drop the classes that too little speaks for."""
    every = np.ones(len(scene.colors), bool)
    for turn in range(_ROUNDS):
        cores = scene.cores()
        proposed, votes = _propose(scene, residual, cores)
        _move_pixels(scene, residual, scene.rarity(cores + votes), proposed)
        residual = find_residual(scene)
        settled = not len(_badly_explained(residual))
        move = areas.try_alternatives if settled or turn in (1, _ROUNDS - 1) else areas.relabel
        if move(scene, residual, every):
            residual = find_residual(scene)
        if settled:
            break
    for _ in range(_FINAL_ROUNDS if (scene.counts() > 0)[~scene.proven].any() else 0):
        allowed = _prune(scene, find_residual(scene))
        rarity = np.where(allowed, scene.rarity(scene.cores()), np.float32(np.inf))
        _move_pixels(scene, find_residual(scene), rarity, None)
        areas.try_alternatives(scene, find_residual(scene), allowed)
        present = scene.counts() > 0
        areas.try_alternatives(scene, find_residual(scene), present, connected=False)
    _prune(scene)


def _relabel_bands(scene: Scene, units: NDArray[np.intp]) -> None:
    """Relabel around the (N, 2) given units of MCU x MCU pixels: only bands of rows that hold them are compressed."""
    height, width = (side // recompress.MCU for side in scene.labels.shape)
    focus = np.zeros((height, width), bool)
    focus[units[:, 0], units[:, 1]] = True
    focus = ndimage.binary_dilation(focus, np.ones((3, 3), bool))
    banded = ndimage.binary_dilation(focus.any(1))  # what lies beside a band changes the chroma at its edge
    rows = np.flatnonzero(np.repeat(banded, recompress.MCU))
    band = Scene(
        scene.observed[rows],
        np.pad(scene.labels[rows], 1, mode="edge"),
        scene.fixed[rows],
        scene.colors,
        scene.compression,
        np.repeat(np.repeat(focus[banded], 2, 0), 2, 1),
    )
    band.proven = scene.proven | (scene.cores() >= _CORES)
    _relabel(band, find_residual(band))
    scene.labels[rows] = band.labels
    scene.repeat_edges()


def _prune(scene: Scene, residual: Residual | None = None) -> NDArray[np.bool_]:
    """Replace classes of too few cores by the labels around them; return the classes that remain allowed.

    With a residual, so are classes whose pixels are badly explained on average.
    """
    allowed: NDArray[np.bool_] = scene.cores() >= np.maximum(_CORES, _CORE_SHARE * scene.counts())
    if residual is not None:
        labels = scene.board.ravel()[residual.places].ravel()
        misfit = np.bincount(labels, residual.squares().ravel(), len(scene.colors))
        allowed &= misfit <= _MISFIT**2 * scene.counts()
    allowed |= scene.proven
    refuted = (scene.counts() > 0) & ~allowed
    if not refuted.any() or not ((scene.counts() > 0) & allowed).any():
        return allowed
    refuted = np.resize(refuted, 256)
    rows, columns = np.nonzero(refuted.take(scene.labels, mode="clip"))
    places, flat = (rows + 1) * scene.stride + columns + 1, scene.board.ravel()
    while len(places):
        label = flat[places]
        for offset in scene.neighbors:
            beside = flat[places + offset]
            label = np.where(refuted[label], beside, label)
        flat[places] = label
        scene.repeat_edges()
        places = places[refuted[label]]
    return allowed


def _move_pixels(scene: Scene, residual: Residual, rarity: Floats, proposed: Indices | None) -> None:
    """Give pixels the label of a neighbour, or the proposed one, where it explains the residual better.

    The four pixels of a cell share its chroma, so they move one after the other, and each move updates the residual.
    A move has a linear effect: the change of luma at the pixel, and a quarter of the change of chroma in the cell.
    """
    flat = scene.board.ravel()
    for corner in [(row, column) for row in (0, 1) for column in (0, 1)] * _SWEEPS:
        part = (slice(None), slice(corner[0], None, 2), slice(corner[1], None, 2))
        places = residual.places[part].ravel()
        current = flat[places]
        wanted = (
            current if proposed is None else np.where(proposed[part].ravel() == _NONE, current, proposed[part].ravel())
        )
        mixed = wanted != current
        for offset in scene.neighbors:
            mixed |= flat[places + offset] != current
        movable = np.flatnonzero(mixed)
        places, current, wanted = places[movable], current[movable], wanted[movable]
        neighbors = np.stack([flat[places + offset] for offset in scene.neighbors])
        luma, chroma = residual.luma[part].ravel()[movable], residual.chroma.reshape(-1, 2)[movable]
        chosen = _cheapest(scene, rarity, (luma, chroma), current, np.vstack([current, wanted, neighbors]))
        change = scene.ycc[chosen] - scene.ycc[current]
        rest = residual.luma[part].ravel()
        rest[movable] -= change[:, 0]
        residual.luma[part] = rest.reshape(residual.luma[part].shape)
        residual.chroma.reshape(-1, 2)[movable] -= change[:, 1:] / 4
        flat[places] = chosen
        scene.repeat_edges()


def _cheapest(
    scene: Scene, rarity: Floats, unexplained: tuple[Floats, Floats], current: Indices, candidates: Indices
) -> Indices:
    """Return the cheapest of the candidates, the last eight of which are the labels of the neighbours."""
    luma, chroma = unexplained
    neighbors = candidates[-len(scene.neighbors) :]
    chosen, lowest = current.copy(), np.full(len(current), np.inf, np.float32)
    for label in candidates:
        change = scene.ycc[label] - scene.ycc[current]
        cost = (luma - change[:, 0]) ** 2 + (change[:, 1:] * (change[:, 1:] / 4 - 2 * chroma)).sum(1)
        cost += rarity[label] + _SMOOTH * (neighbors != label).sum(0, np.float32)
        better = cost < lowest
        lowest[better], chosen[better] = cost[better], label[better]
    return chosen


def _propose(scene: Scene, residual: Residual, cores: NDArray[np.intp]) -> tuple[Indices, NDArray[np.intp]]:
    """Propose a class for pixels with a prominent residual, from the mean colour of such pixels around them.

    A thin shape of a missing class appears as a residual of its form. Luma is averaged over its pixels; chroma, which
    is blurred, is the least-squares fit to its share of the cells.

    Returns:
        (N, 8, 8) classes in the blocks of the residual, 255 for none; and the number of pixels that would choose each
        class for themselves.
    """
    height, width = scene.labels.shape
    luma = np.zeros((height, width), np.float32)
    chroma = np.zeros((height // 2, width // 2, 2), np.float32)
    blocks(luma, BLOCK)[residual.rows, residual.columns] = residual.luma
    blocks(chroma, BLOCK // 2)[residual.rows, residual.columns] = residual.chroma
    square = luma**2 + np.repeat(np.repeat((chroma**2).sum(2), 2, 0), 2, 1)
    prominent = square > np.maximum(_VISIBLE**2, _PROMINENT**2 * ndimage.maximum_filter(square, 2 * _RADIUS + 1))
    proposed = np.full(residual.places.shape, _NONE, np.uint8)
    mask = blocks(prominent, BLOCK)[residual.rows, residual.columns]
    rows, columns = np.nonzero(prominent)
    if not len(rows):
        return proposed, np.zeros(len(scene.colors), np.intp)
    painted = scene.ycc[scene.labels]
    weight = prominent.astype(np.float32)
    mean_luma = _mean(weight * (painted[..., 0] + luma), weight, _RADIUS)[rows, columns]
    share = _cells(weight)
    colored = chroma + _cells(weight[..., None] * painted[..., 1:])
    fit = [_mean(share * colored[..., channel], share**2, (_RADIUS + 1) // 2) for channel in (0, 1)]
    mean = np.stack([mean_luma, *(plane[rows // 2, columns // 2] for plane in fit)], 1)
    distance = (mean**2).sum(1)[:, None] - 2 * mean @ scene.ycc.T + (scene.ycc**2).sum(1)
    votes = np.bincount(distance.argmin(1), minlength=len(scene.colors))
    labels = np.full((height, width), _NONE, np.uint8)
    labels[rows, columns] = (distance + scene.rarity(cores + votes)).argmin(1)
    proposed[mask] = blocks(labels, BLOCK)[residual.rows, residual.columns][mask]
    return proposed, votes


def _cells(picture: Floats) -> Floats:
    height, width, *rest = picture.shape
    cells: Floats = picture.reshape(height // 2, 2, width // 2, 2, *rest).mean((1, 3))
    return cells


def _mean(values: Floats, weights: Floats, radius: int) -> Floats:
    """Return sums of values over sums of weights in squares around each pixel."""
    top, bottom = (ndimage.uniform_filter(plane, 2 * radius + 1, mode="constant") for plane in (values, weights))
    return np.asarray(top / (bottom + 1e-6))
