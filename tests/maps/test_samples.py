"""The stored samples of a JPEG map, compared with those of its labels."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from segkit.maps import coded, samples, spectrum
from segkit.maps.coded import Coded
from segkit.maps.scene import Scene
from segkit.toy.world import damage

COLORS = np.array([swatch.rgb for swatch in damage.ADE], np.uint8)
SIDE = 96
EVERYWHERE = np.ones((6, 6), bool)


def make(
    truth: np.ndarray, labels: np.ndarray, quality: int, subsampling: int = 2, palette: np.ndarray = COLORS
) -> tuple[Scene, Coded]:
    """Return a scene of a map saved as JPEG, with labels; beyond the map the last row and column are repeated."""
    buffer = BytesIO()
    Image.fromarray(palette[truth]).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    stored = coded.read(buffer.getvalue())
    assert stored is not None
    board = np.pad(labels, [(1, 1 + -length % 16) for length in labels.shape], mode="edge")
    shape = stored.luma.shape
    return Scene(
        np.zeros((*shape, 3), np.uint8), board, np.zeros(shape, bool), palette, stored.compression, stored
    ), stored


def explains(scene: Scene, stored: Coded) -> bool:
    """Return whether the labels look like the map."""
    measured = spectrum.measure(scene)
    return samples.unexplained(scene, stored, measured.rows, measured.columns, measured.luma_residual) < 0.5


@pytest.mark.parametrize("quality", [40, 75])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_the_true_labels_exceed_no_step(quality: int, subsampling: int) -> None:
    """Every coefficient of the truth is within half a step of the stored one, clipped samples included."""
    truth = damage.thin(3, 12, SIDE)
    scene, stored = make(truth, truth, quality, subsampling)

    measured = spectrum.measure(scene, EVERYWHERE)

    assert measured.excess().max() < 0.1
    assert (np.abs(measured.luma) <= measured.layout.luma_steps / 2 + 0.2).all()
    assert explains(scene, stored)


def test_saturated_colors_are_compared_where_samples_are_clipped() -> None:
    """Blue and red reach the ends of chroma, which ringing exceeds; the truth is explained all the same."""
    palette = np.array([(0, 0, 255), (255, 0, 0), (0, 0, 0), (255, 255, 255)], np.uint8)
    truth = np.random.default_rng(0).integers(0, 4, (24, 24), np.uint8).repeat(4, 0).repeat(4, 1)
    scene, stored = make(truth, truth, 50, palette=palette)
    assert ((stored.chroma == 255) | (stored.chroma == 0)).any()

    assert np.median(spectrum.measure(scene, EVERYWHERE).excess()) < 1


def test_a_wrong_square_is_seen_where_it_lies_and_nowhere_else() -> None:
    """Units do not depend on those beside them: only the unit of the square differs, by the missing colour."""
    truth = np.zeros((SIDE, SIDE), np.uint8)
    truth[32:48, 48:64] = 4
    scene, stored = make(truth, np.zeros_like(truth), 80)

    rows, columns = samples.visible(scene, stored)
    difference = samples.seen(scene, stored, rows, columns)

    assert (rows.tolist(), columns.tolist()) == ([2], [3])
    assert np.abs(difference.mean((0, 1, 2)) - (scene.ycc[4] - scene.ycc[0])).max() < 4


def test_what_lies_beyond_the_picture_is_no_evidence() -> None:
    """A map whose sides are no whole blocks is explained by its labels at its edges, too."""
    truth = damage.regions(5, 6, SIDE)[:83, :90]
    scene, _ = make(truth, truth, 75)

    assert np.median(spectrum.measure(scene, EVERYWHERE).excess()) == 0
    assert (spectrum.measure(scene, EVERYWHERE).excess()[:-6] < 1).mean() > 0.8


def test_a_map_that_was_scaled_before_it_was_saved_is_not_explained() -> None:
    """Its blends do not stem from compression."""
    truth = damage.regions(5, 6, 2 * SIDE)
    picture = damage.halved(damage.painted(truth), Image.Resampling.BILINEAR)
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=95)
    stored = coded.read(buffer.getvalue())
    assert stored is not None
    labels = np.pad(truth[1::2, 1::2], 1, mode="edge")
    blank = np.zeros((SIDE, SIDE), bool)
    scene = Scene(np.zeros((SIDE, SIDE, 3), np.uint8), labels, blank, COLORS, stored.compression, stored)

    assert not explains(scene, stored)


def test_no_units_are_compared_without_an_error() -> None:
    """An empty focus, as where nothing is badly explained, gives an empty spectrum."""
    truth = damage.thin(3, 12, SIDE)
    scene, _ = make(truth, truth, 75)

    measured = spectrum.measure(scene, np.zeros_like(EVERYWHERE))

    assert measured.luma.shape == (0, 4, 64)
    assert measured.chroma.shape == (0, 1, 2, 64)
