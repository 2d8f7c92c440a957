"""What the compressed picture of labels leaves unexplained."""

import numpy as np

from segkit.maps import pixels
from segkit.maps.recompress import Compression
from segkit.maps.scene import Scene, find_residual
from segkit.toy.world import damage

COLORS = np.array([swatch.rgb for swatch in damage.ADE], np.uint8)


def make(truth: np.ndarray, labels: np.ndarray) -> Scene:
    """Return a scene of a compressed map, with labels, none of them fixed."""
    compression = Compression(80, 2)
    observed = compression.apply(pixels.pack(COLORS)[truth])
    return Scene(observed, np.pad(labels, 1, mode="edge"), np.zeros(truth.shape, bool), COLORS, compression)


def test_the_true_labels_leave_nothing_unexplained() -> None:
    """Compressing the truth again gives the observed map, so no block is worked on."""
    truth = damage.regions(1, 6, 64)

    assert find_residual(make(truth, truth)).places.size == 0


def test_a_wrong_square_is_unexplained_where_it_lies() -> None:
    """The residual is the colour that is missing, in the blocks of the square."""
    truth = np.zeros((96, 96), np.uint8)
    truth[32:48, 48:64] = 4
    scene = make(truth, np.zeros_like(truth))

    residual = find_residual(scene)

    inside = (residual.rows * 8 >= 32) & (residual.rows * 8 < 48) & (residual.columns * 8 >= 48)
    inside &= residual.columns * 8 < 64
    expected = scene.ycc[4] - scene.ycc[0]
    assert abs(residual.luma[inside].mean() - expected[0]) < 3
    assert np.abs(residual.chroma[inside].mean((0, 1, 2)) - expected[1:]).max() < 6
    assert scene.board.ravel()[residual.places].shape == residual.luma.shape


def test_lines_have_no_cores() -> None:
    """A line of two pixels is no evidence for a class, a bar of four is."""
    labels = np.zeros((64, 64), np.uint8)
    labels[10:12, 5:60] = 4
    labels[30:34, 5:60] = 6

    cores = make(labels, labels).cores()

    assert cores[4] == 0
    assert cores[6] > 100
