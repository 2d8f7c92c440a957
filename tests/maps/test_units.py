"""Units of a JPEG file whose labels cannot be right, searched one by one."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from segkit.maps import coded, spectrum, units
from segkit.maps.coded import Coded
from segkit.maps.scene import Scene
from segkit.toy.world import damage

COLORS = np.array([swatch.rgb for swatch in damage.ADE], np.uint8)
EVERYWHERE = np.ones((4, 6), bool)


def make(truth: np.ndarray, labels: np.ndarray, subsampling: int = 2) -> tuple[Scene, Coded]:
    """Return a scene of a map saved as JPEG, with labels, and what the file stores."""
    buffer = BytesIO()
    Image.fromarray(COLORS[truth]).save(buffer, "JPEG", quality=75, subsampling=subsampling)
    stored = coded.read(buffer.getvalue())
    assert stored is not None
    board = np.pad(labels, 1, mode="edge")
    observed = np.zeros((*truth.shape, 3), np.uint8)
    return Scene(observed, board, np.zeros(truth.shape, bool), COLORS, stored.compression, stored), stored


@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_wrong_class_gives_way_to_the_right_one_beside_it(subsampling: int) -> None:
    """A part of a bar in a class of nearly the same colour, with an outline that fits it, becomes a part of the bar."""
    truth = np.full((64, 96), 2, np.uint8)
    truth[28:36, 4:90] = 12
    labels = truth.copy()
    labels[27:37, 10:40] = 4
    scene, stored = make(truth, labels, subsampling)

    assert units.search(scene, stored, EVERYWHERE, 40.0) > 0

    assert (scene.labels == truth).mean() > 0.995
    assert (scene.labels != 4).all()
    assert spectrum.measure(scene, EVERYWHERE).excess().max() < 40


def test_labels_that_explain_the_map_stay() -> None:
    """Nothing is searched where no step is exceeded."""
    truth = damage.thin(3, 6, 96)[:64]
    scene, stored = make(truth, truth)

    assert units.search(scene, stored, EVERYWHERE, 40.0) == 0
    assert (scene.labels == truth).all()


def test_only_units_in_the_focus_are_searched() -> None:
    """A wrong square outside it stays as it is."""
    truth = np.zeros((64, 96), np.uint8)
    truth[20:28, 20:28] = 4
    truth[20:28, 68:76] = 4
    scene, stored = make(truth, np.zeros_like(truth))
    scene.labels[:4, :4] = 4  # the class is known
    focus = EVERYWHERE.copy()
    focus[:, 3:] = False

    units.search(scene, stored, focus, 40.0)

    assert (scene.labels[16:32, 16:32] == truth[16:32, 16:32]).mean() > 0.95
    assert (scene.labels[:, 48:] == 0).all()
