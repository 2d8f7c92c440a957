"""Connected areas of pixels in a JPEG map that may get another class together."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from segkit.maps.recompress import MCU
from segkit.maps.scene import Indices, Positions, Scene
from segkit.maps.spectrum import Spectrum

NONE = 255
"""Marks a pixel without a proposal."""

_SMALLEST = 4
"""Pixels of the smallest area that is reconsidered."""

_FIXED = 0.05
"""Share of fixed pixels up to which an area is reconsidered: a class may look like a nearly equal one in places."""

_VISIBLE = 2.0
"""Length of a residual, in luma and chroma, that right labels do not leave."""

_LARGE = 30
"""Pixels of the smallest area that is reconsidered because its residual is visible."""


@dataclass(frozen=True)
class Areas:
    """Sets of pixels in the units of a spectrum.

    Attributes:
        owners: (N, 256) area of each pixel of each unit, -1 for none.
        sizes: (areas,) pixels of each.
        labels: (areas,) the class of each, None if its pixels may have several.
    """

    owners: NDArray[np.int32]
    sizes: NDArray[np.intp]
    labels: Indices | None


def same_label(scene: Scene, spectrum: Spectrum) -> Areas | None:
    """Return connected areas of one label with hardly any fixed pixels, None if there are none."""
    labels = scene.board.ravel()[spectrum.places]
    owners, sizes = _connect(scene, spectrum, labels)
    fixed = scene.fixed_board.ravel()[spectrum.places]
    share = np.bincount(owners.ravel(), fixed.ravel(), len(sizes)) / sizes
    kept = (sizes >= _SMALLEST) & (share <= _FIXED)
    return _kept(owners, sizes, kept, labels)


def same_proposal(scene: Scene, spectrum: Spectrum, proposed: Indices) -> Areas | None:
    """Return connected areas of one proposed label, None if there are none.

    Args:
        scene: the map.
        spectrum: the units that are not explained.
        proposed: (N, 256) a label for pixels of its units, NONE for no proposal.
    """
    fixed = scene.fixed_board.ravel()[spectrum.places]
    proposed = np.where(fixed | (proposed == scene.board.ravel()[spectrum.places]), np.uint8(NONE), proposed)
    owners, sizes = _connect(scene, spectrum, proposed)
    kept = sizes >= _SMALLEST
    kept[owners[proposed == NONE]] = False
    return _kept(owners, sizes, kept, None)


def same_residual(scene: Scene, spectrum: Spectrum) -> Areas | None:
    """Return connected areas of one label in which the compressed labels differ visibly from the map, None if none.

    Colours clipped at 0 and 255 hide the difference between two classes from the coefficients, not from the pixels.
    """
    chroma = spectrum.chroma_residual
    scale = MCU // chroma.shape[1]
    square = spectrum.luma_residual**2 + np.repeat(np.repeat((chroma**2).sum(3), scale, 1), scale, 2)
    near = ndimage.maximum_filter(square, (1, 3, 3)).reshape(spectrum.places.shape)
    hidden = (near <= _VISIBLE**2) | scene.fixed_board.ravel()[spectrum.places]
    labels = np.where(hidden, np.uint8(NONE), scene.board.ravel()[spectrum.places])
    owners, sizes = _connect(scene, spectrum, labels)
    kept = sizes >= _LARGE
    kept[owners[hidden]] = False
    return _kept(owners, sizes, kept, labels)


def _connect(scene: Scene, spectrum: Spectrum, values: Indices) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Return the area of each pixel, and the sizes; pixels connect to those of the same value on their four sides.

    Pixels of NONE belong to areas of their own, whatever these are.
    """
    runs, nodes = _runs(values)
    value = values.ravel().take(nodes)
    numbers = np.full([side // MCU + 1 for side in scene.labels.shape], -1)
    numbers[spectrum.rows, spectrum.columns] = np.arange(len(runs))
    right = numbers[spectrum.rows, spectrum.columns + 1]
    below = numbers[spectrum.rows + 1, spectrum.columns]
    edges = [(runs[:, :-MCU], runs[:, MCU:])]  # in a unit, between its rows
    edges.append((runs[right >= 0, MCU - 1 :: MCU], runs[right[right >= 0], ::MCU]))
    edges.append((runs[below >= 0, -MCU:], runs[below[below >= 0], :MCU]))
    starts, ends = [], []
    for before, after in edges:
        start, end = before.ravel(), after.ravel()
        # Pixel after pixel, a run mostly meets the same run: one edge between two runs suffices.
        new = np.ones(len(start), bool)
        new[1:] = (start[1:] != start[:-1]) | (end[1:] != end[:-1])
        start, end = start[new], end[new]
        equal = value[start] == value[end]
        starts.append(start[equal])
        ends.append(end[equal])
    ends_of_edges = np.concatenate(starts), np.concatenate(ends)
    graph = coo_matrix((np.ones(len(ends_of_edges[0]), bool), ends_of_edges), shape=(len(nodes), len(nodes)))
    number, owners = connected_components(graph, directed=False)
    lengths = np.diff(nodes, append=values.size)
    return owners.take(runs), np.bincount(owners, lengths, number).astype(np.intp)


def _runs(values: Indices) -> tuple[NDArray[np.int32], Positions]:
    """Return the run of each pixel of (N, 256) units, and the position of the first pixel of each run.

    A run has one value, and lies in one row of a unit.
    """
    rows = values.reshape(-1, MCU)
    is_first = np.ones(rows.shape, bool)
    is_first[:, 1:] = rows[:, 1:] != rows[:, :-1]
    runs = np.cumsum(is_first, dtype=np.int32)
    runs -= 1
    return runs.reshape(values.shape), np.flatnonzero(is_first)


def _kept(
    owners: NDArray[np.int32], sizes: NDArray[np.intp], kept: NDArray[np.bool_], labels: Indices | None
) -> Areas | None:
    if not kept.any():
        return None
    renumbered = np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32).take(owners)
    label = None
    if labels is not None:
        label = np.zeros(int(kept.sum()), np.uint8)
        label[renumbered[renumbered >= 0]] = labels[renumbered >= 0]
    return Areas(renumbered, sizes[kept], label)
