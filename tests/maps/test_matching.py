"""How well the colours of a map match those of painting schemes, and maps with noise."""

import numpy as np
import pytest
from PIL import Image

from segkit.errors import MapError
from segkit.maps import diagnose, matching, pixels, schemes, snap
from segkit.maps.codec import Labels
from segkit.palette import UNLABELLED
from segkit.palette.color import BLACK
from segkit.toy.world import damage

LABELS = damage.place(3, 12, 128)
EXACT = schemes.known(damage.ADE)[0]


def noisy(labels: Labels, amplitude: int) -> Image.Image:
    """Return a map with uniform noise in every channel."""
    rgb = np.asarray(damage.painted(labels)).astype(int)
    noise = np.random.default_rng(0).integers(-amplitude, amplitude + 1, rgb.shape)
    return Image.fromarray(np.clip(rgb + noise, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("amplitude", [1, 2])
def test_noise_within_the_certain_radius_is_undone(amplitude: int) -> None:
    """Two colours of ADE20K are 7 apart or more, so that within 3.5 the nearest class is the right one: no doubt."""
    image = noisy(LABELS, amplitude)

    snapped = snap.snap(image, damage.ADE)

    assert (snapped.labels == LABELS).all()
    assert snapped.doubtful == 0


def test_noise_beside_flat_areas_is_undone() -> None:
    """A map of which only one half has noise is neither a JPEG nor a resized map."""
    rgb = np.asarray(noisy(LABELS, 2)).copy()
    rgb[:64] = np.asarray(damage.painted(LABELS))[:64]

    snapped = snap.snap(Image.fromarray(rgb), damage.ADE)

    assert snapped.diagnosis.cause == "noisy"
    assert (snapped.labels == LABELS).all()


def test_stronger_noise_is_refused_by_name() -> None:
    """The message states the radius, and how to have the nearest classes all the same."""
    with pytest.raises(MapError, match=r"noise, stronger than the 3\.5 .*cause=exact"):
        snap.snap(noisy(LABELS, 6), damage.ADE)


def test_nearest_classes_are_certain_within_half_the_smallest_distance() -> None:
    """Black is unlabelled; a colour in the middle of two is uncertain."""
    red, green, blue = damage.ADE[0].rgb
    colors = np.array([BLACK, *((red + drift, green, blue) for drift in (0, 3, 4))], np.uint8)

    classes, certain = matching.nearest(pixels.pack(colors), EXACT)

    assert classes[:3].tolist() == [UNLABELLED, 0, 0]
    assert certain.tolist() == [True, True, True, False]


def test_a_map_with_noise_is_diagnosed() -> None:
    """In shares of exact colours."""
    diagnosis = diagnose.identify(noisy(LABELS, 2), damage.ADE)

    assert (diagnosis.cause, diagnosis.damage) == ("noisy", "noisy")
    assert "no other class is possible" in diagnosis.evidence
