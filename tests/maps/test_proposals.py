"""Classes proposed for what labels leave unexplained."""

import numpy as np
import pytest

from segkit.maps import pixels, proposals, spectrum
from segkit.maps.areas import NONE
from segkit.maps.recompress import Compression
from segkit.maps.scene import Scene
from segkit.toy.world import damage

COLORS = np.array([swatch.rgb for swatch in damage.ADE], np.uint8)


@pytest.mark.parametrize("compression", [Compression(90, 2), Compression(90, 0)])
def test_a_missing_bar_is_proposed_where_it_lies(compression: Compression) -> None:
    """Most pixels of a bar that the labels lack get its class, and few beside it."""
    truth = np.zeros((96, 96), np.uint8)
    truth[40:44, 20:76] = 4
    observed = compression.apply(pixels.pack(COLORS)[truth])
    scene = Scene(observed, np.zeros((98, 98), np.uint8), np.zeros(truth.shape, bool), COLORS, compression)
    measured = spectrum.measure(scene)

    proposed = np.full(scene.board.size, NONE, np.uint8)
    proposed[measured.places] = proposals.propose(scene, measured)

    inside = proposed.reshape(98, 98)[1:-1, 1:-1] == 4
    assert inside[truth == 4].mean() > 0.8
    assert inside[truth != 4].sum() < 20
