"""Single pixels that change their label."""

import numpy as np
import pytest

from segkit.maps import flips, pixels, spectrum
from segkit.maps.recompress import Compression
from segkit.maps.scene import Scene
from segkit.toy.world import damage

COLORS = np.array([swatch.rgb for swatch in damage.ADE], np.uint8)


def scene(truth: np.ndarray, labels: np.ndarray, compression: Compression) -> Scene:
    """Return a scene of a compressed map, with labels, none of them fixed."""
    observed = compression.apply(pixels.pack(COLORS)[truth])
    return Scene(observed, np.pad(labels, 1, mode="edge"), np.zeros(truth.shape, bool), COLORS, compression)


@pytest.mark.parametrize("compression", [Compression(90, 2), Compression(75, 2), Compression(75, 0)])
def test_pixels_along_borders_get_their_labels_back(compression: Compression) -> None:
    """Of labels that were disturbed along the borders of three regions, nearly all are restored."""
    truth = damage.regions(3, 3, 96)
    random = np.random.default_rng(0)
    shifted = np.roll(truth, (0, 1), (0, 1))
    labels = np.where(random.random(truth.shape) < 0.5, shifted, truth)
    map_ = scene(truth, labels, compression)
    before = (map_.labels != truth).sum()
    assert before > 30

    for _ in range(3):
        flips.move_pixels(map_, spectrum.measure(map_))

    assert 10 * (map_.labels != truth).sum() < before


def test_the_spectrum_follows_the_labels() -> None:
    """After flips, the errors are nearly those that compressing the new labels gives."""
    truth = np.zeros((64, 64), np.uint8)
    truth[20:40, 20:40] = 4
    labels = truth.copy()
    labels[20:40, 40:42] = 4
    map_ = scene(truth, labels, Compression(75, 2))
    measured = spectrum.measure(map_)
    before = measured.excess().sum()

    flips.move_pixels(map_, measured)

    assert measured.excess().sum() < before / 4
    again = spectrum.measure(map_, np.ones((4, 4), bool))
    rows = measured.rows * 4 + measured.columns
    assert again.excess()[rows] == pytest.approx(measured.excess(), rel=0.2, abs=1)


def test_labels_that_explain_the_map_stay() -> None:
    """Nothing is flipped where the compressed labels are the observed map."""
    truth = damage.thin(2, 4, 64)
    map_ = scene(truth, truth, Compression(75, 2))

    flips.move_pixels(map_, spectrum.measure(map_, np.ones((4, 4), bool)))

    assert (map_.labels == truth).all()


@pytest.mark.parametrize("seed", range(4))
def test_settled_units_need_no_second_look(seed: int) -> None:
    """Moves go on where they were stopped, with the same labels as if all units were looked at again."""
    truth = damage.thin(seed, 8, 256)
    disturbed = np.random.default_rng(seed).random(truth.shape) < 0.5
    disturbed[:, 96:] = False
    labels = np.where(disturbed, np.roll(truth, 4, 1), truth)
    results = []
    for forgetting in (False, True):
        map_ = scene(truth, labels, Compression(75, 2))
        measured = spectrum.measure(map_, np.ones((16, 16), bool))
        flips.move_pixels(map_, measured)
        assert measured.settled.any()
        assert not measured.settled.all()
        first = map_.labels.copy()
        measured.settled[:] &= not forgetting
        flips.move_pixels(map_, measured)
        assert (map_.labels != first).any()
        results.append(map_.labels)

    assert (results[0] == results[1]).all()
