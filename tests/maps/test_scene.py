"""The labels of a map under repair, and what speaks for their classes."""

import numpy as np

from segkit.maps import pixels
from segkit.maps.recompress import Compression
from segkit.maps.scene import Scene
from segkit.toy.world import damage

COLORS = np.array([swatch.rgb for swatch in damage.ADE], np.uint8)


def make(truth: np.ndarray, labels: np.ndarray) -> Scene:
    """Return a scene of a compressed map, with labels, none of them fixed."""
    compression = Compression(80, 2)
    observed = compression.apply(pixels.pack(COLORS)[truth])
    return Scene(observed, np.pad(labels, 1, mode="edge"), np.zeros(truth.shape, bool), COLORS, compression)


def test_lines_have_no_cores() -> None:
    """A line of two pixels is no evidence for a class, a bar of four is."""
    labels = np.zeros((64, 64), np.uint8)
    labels[10:12, 5:60] = 4
    labels[30:34, 5:60] = 6

    cores = make(labels, labels).cores()

    assert cores[4] == 0
    assert cores[6] > 100


def test_counts_follow_the_labels() -> None:
    """Pixels that change are counted, wherever the change is made, and a later call sees later changes."""
    labels = np.zeros((64, 64), np.uint8)
    map_ = make(labels, labels)
    assert map_.counts()[[0, 4, 6]].tolist() == [64 * 64, 0, 0]

    map_.board[1:3, 1:6] = 4
    assert map_.counts()[[0, 4, 6]].tolist() == [64 * 64 - 10, 10, 0]

    map_.labels[0, :3] = 6
    assert map_.counts()[[0, 4, 6]].tolist() == [64 * 64 - 10, 7, 3]
