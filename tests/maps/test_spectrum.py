"""What the coefficients of a JPEG map say about its labels."""

import numpy as np
import pytest

from segkit.maps import pixels, spectrum
from segkit.maps.recompress import Compression
from segkit.maps.scene import Scene
from segkit.toy.world import damage

COLORS = np.array([swatch.rgb for swatch in damage.ADE], np.uint8)
EVERYWHERE = np.ones((6, 6), bool)


def make(truth: np.ndarray, labels: np.ndarray, compression: Compression) -> Scene:
    """Return a scene of a compressed map, with labels, none of them fixed."""
    observed = compression.apply(pixels.pack(COLORS)[truth])
    return Scene(observed, np.pad(labels, 1, mode="edge"), np.zeros(truth.shape, bool), COLORS, compression)


@pytest.mark.parametrize("compression", [Compression(90, 2), Compression(50, 2), Compression(75, 0)])
def test_the_true_labels_exceed_no_step(compression: Compression) -> None:
    """Nothing differs visibly, and every coefficient of the truth is within half a step of the stored one."""
    truth = damage.thin(1, 8, 96)
    scene = make(truth, truth, compression)

    assert len(spectrum.measure(scene).rows) == 0
    measured = spectrum.measure(scene, EVERYWHERE)
    assert measured.excess().max() == 0
    assert (np.abs(measured.luma) <= measured.layout.luma_limits).all()


@pytest.mark.parametrize("compression", [Compression(80, 2), Compression(80, 0)])
def test_a_wrong_square_is_unexplained_where_it_lies(compression: Compression) -> None:
    """The residual is the colour that is missing, in the units of the square; those apart from it are explained."""
    truth = np.zeros((96, 96), np.uint8)
    truth[32:48, 48:64] = 4
    scene = make(truth, np.zeros_like(truth), compression)

    measured = spectrum.measure(scene, EVERYWHERE)

    inside = (measured.rows == 2) & (measured.columns == 3)
    assert (measured.excess()[inside] > 1000).all()
    assert measured.excess()[~inside].max() == 0
    loud = spectrum.badly_explained(scene, measured, 100)
    assert np.argwhere(loud).tolist() == [[2, 3]]
    assert np.argwhere(spectrum.around(loud)).tolist() == [[row, column] for row in (1, 2, 3) for column in (2, 3, 4)]
    expected = scene.ycc[4] - scene.ycc[0]
    assert abs(measured.luma_residual[inside].mean() - expected[0]) < 3
    assert np.abs(measured.chroma_residual[inside].mean((0, 1, 2)) - expected[1:]).max() < 4
    rows, columns = np.divmod(measured.places[inside][0], scene.stride)
    assert (truth[rows - 1, columns - 1] == 4).all()


@pytest.mark.parametrize("compression", [Compression(80, 2), Compression(80, 0)])
def test_few_units_compressed_alone_differ_from_the_map_as_in_the_whole_picture(compression: Compression) -> None:
    """Inside the map the residual of a single unit is the same, at its edges it differs by rounding."""
    truth = damage.thin(1, 8, 160)
    scene = make(truth, damage.regions(1, 8, 160), compression)
    whole = spectrum.measure(scene, np.ones((10, 10), bool))

    for row, column in ((4, 5), (0, 0), (0, 9), (9, 9)):
        focus = np.zeros((10, 10), bool)
        focus[row, column] = True
        alone = spectrum.measure(scene, focus)

        tolerance = 1e-4 if row == 4 or compression.subsampling == 0 else 2
        place = row * 10 + column
        assert np.abs(alone.luma_residual[0] - whole.luma_residual[place]).max() <= tolerance
        assert np.abs(alone.chroma_residual[0] - whole.chroma_residual[place]).max() <= tolerance


def test_only_what_changed_is_compared_again() -> None:
    """After a change of labels a refreshed spectrum is that of the new labels."""
    truth = damage.thin(1, 8, 160)
    scene = make(truth, damage.regions(1, 8, 160), Compression(80, 0))
    everywhere = np.ones((10, 10), bool)
    measured = spectrum.measure(scene, everywhere)
    labels = scene.board.ravel()[measured.places]

    scene.labels[70:90, 70:90] = truth[70:90, 70:90]
    spectrum.refresh(scene, measured, labels)

    again = spectrum.measure(scene, everywhere)
    assert np.abs(measured.luma - again.luma).max() < 1e-3
    assert np.abs(measured.chroma_residual - again.chroma_residual).max() < 1e-3
