"""Maps painted by hand, in flat colours that are not quite those of classes."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.Image import Resampling

from segkit.errors import MapError
from segkit.maps import diagnose, painted, pixels, schemes, snap
from segkit.maps.codec import Labels
from segkit.palette.color import RGB
from segkit.toy.world import damage

ADE = damage.ADE
EXACT = schemes.known(ADE)[0]
SOFA = ADE.find("sofa").index


def area(color: RGB) -> painted.PaintedArea:
    """Return what a flat colour stands for."""
    return painted.areas(pixels.pack(np.array([color], np.uint8)), np.array([1]), EXACT)[0]


def off_colors(labels: Labels, seed: int, radius: float) -> Image.Image:
    """Return a map in which each class has one colour at up to this distance that certainly stands for it."""
    random = np.random.default_rng(seed)
    colors = np.zeros((*labels.shape, 3), np.uint8)
    for label in np.unique(labels).tolist():
        rgb = np.array(ADE[label].rgb)
        while True:
            drawn = rgb + np.rint(random.uniform(-radius, radius, 3)).astype(int)
            if ((drawn < 0) | (drawn > 255)).any() or np.linalg.norm(drawn - rgb) > radius:
                continue
            nearest = area((int(drawn[0]), int(drawn[1]), int(drawn[2])))
            if nearest.certain and nearest.label == label:
                break
        colors[labels == label] = drawn
    return Image.fromarray(colors)


def with_sofa(color: RGB) -> tuple[Image.Image, Labels]:
    """Return a room with a sofa of 28,341 pixels in this colour, and its labels."""
    labels = damage.place(3, 6, 512)
    labels[labels == SOFA] = ADE.find("floor").index
    labels[100:267, 100:269] = SOFA
    labels[267, 100:218] = SOFA
    image = np.asarray(damage.painted(labels)).copy()
    image[labels == SOFA] = color
    return Image.fromarray(image), labels


@settings(max_examples=12)
@example(40, 1, 16, 3.5)  # of one class only, whose colour has one channel
@given(st.integers(0, 10**6), st.integers(1, 40), st.sampled_from([16, 64, 150]), st.sampled_from([3.5, 8, 20]))
def test_painted_maps_come_back_exact(seed: int, regions: int, size: int, radius: float) -> None:
    """Any map whose areas have flat colours that certainly stand for their classes, however small the areas are."""
    truth = damage.regions(seed, regions, size)

    assert (snap.snap(off_colors(truth, seed, radius), ADE).labels == truth).all()


@settings(max_examples=50)
@given(st.sampled_from(EXACT.colors), st.tuples(*[st.integers(-2, 2)] * 3))
def test_colours_near_a_class_are_certain(color: RGB, offset: RGB) -> None:
    """Within half the distance of the closest two colours, 3.5 in ADE20K, no other class can be meant."""
    red, green, blue = (min(255, max(0, channel + step)) for channel, step in zip(color, offset, strict=True))
    if (red, green, blue) != color and sum(step**2 for step in offset) <= 3.5**2:
        assert area((red, green, blue)).certain


def test_a_colour_between_two_classes_is_uncertain() -> None:
    """Palm and monitor are 10 apart; a free colour is far from all classes."""
    assert (ADE.find("palm").rgb, ADE.find("monitor").rgb) == ((0, 82, 255), (0, 92, 255))

    assert [area((0, green, 255)).certain for green in (84, 87, 90)] == [True, False, True]
    assert not area((0xA8, 0x77, 0xFF)).certain


@pytest.mark.parametrize("color", [(13, 100, 250), (15, 105, 247), (20, 110, 240)])
def test_a_painted_sofa_stays_a_sofa(color: RGB) -> None:
    """It is described with its colour and distance, in a map without blur, and kept in blurred ones."""
    image, truth = with_sofa(color)

    diagnosis = diagnose.identify(image, ADE)

    distance = np.linalg.norm(np.subtract(color, ADE[SOFA].rgb))
    assert (diagnosis.cause, diagnosis.damage) == ("painted", "none")
    assert diagnosis.painted == (
        "28,341 flat pixels of #{:02X}{:02X}{:02X}, no ADE20K colour; the nearest is sofa, ".format(*color)
        + f"{distance:.1f} away"
    )
    assert (snap.snap(image, ADE).labels == truth).all()
    blurred = {
        "jpeg": (damage.jpeg(image, 90), truth),
        "resized": (damage.halved(image, Resampling.LANCZOS), truth[1::2, 1::2]),
    }
    for cause, (picture, expected) in blurred.items():
        result = snap.snap(picture, ADE)
        assert result.diagnosis.cause == cause
        assert "the nearest is sofa" in result.diagnosis.painted
        assert (result.labels != expected).mean() < 0.01


def test_a_colour_of_no_class_is_refused() -> None:
    """Whether blurred or not; on request such an area becomes unlabelled."""
    image, truth = with_sofa((0xA8, 0x77, 0xFF))

    for picture in (image, damage.jpeg(image, 90)):
        with pytest.raises(MapError, match=r"flat pixels of #A[78]77FF, no ADE20K colour.*palette=FILE"):
            snap.snap(picture, ADE)
    labels = snap.snap(image, ADE, unsure="unlabelled").labels

    assert (labels == np.where(truth == SOFA, 255, truth)).all()


def test_small_squares_of_no_class_are_refused() -> None:
    """A square of 9 x 9 pixels is no accident, however large the map is."""
    image = damage.painted(damage.place(3, 9, 512))
    image.paste((0xA8, 0x77, 0xFF), (300, 300, 309, 309))

    with pytest.raises(MapError, match="81 flat pixels of #A877FF"):
        snap.snap(image, ADE)


def test_a_stray_pixel_is_no_jpeg() -> None:
    """It takes the class around it, and all else, however small, stays."""
    truth = damage.place(3, 9, 128)
    truth[5, 5], truth[60:69, 60:69] = SOFA, ADE.find("door").index
    image = damage.painted(truth)
    image.putpixel((64, 64), (1, 2, 3))

    result = snap.snap(image, ADE)

    assert (result.diagnosis.cause, result.diagnosis.damage) == ("stray", "stray")
    assert "1 pixel of #010203 that is no class" in result.diagnosis.evidence
    assert (result.labels == truth).all()


def test_squares_of_one_colour_are_found() -> None:
    """At their upper left pixel, for odd and even sides; a map smaller than the square has none."""
    packed = np.arange(400, dtype=np.uint32).reshape(20, 20)
    packed[3:10, 4:11] = 7

    for side in (2, 3, 5, 7):
        rows, columns = np.nonzero(painted.constant(packed, side))
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 10 - side, 4, 11 - side)
    assert not painted.constant(packed, 8).any()
    assert not painted.constant(packed, 21).any()
