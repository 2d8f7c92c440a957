"""The plausible interpretation of a map: classes that occur together, each at its usual height."""

import numpy as np
import pytest
from PIL import Image

from segkit.errors import MapError
from segkit.maps import diagnose, pixels, plausibility, schemes, snap
from segkit.palette import Palette
from segkit.toy import world
from segkit.toy.world import damage

ADE = Palette.load("ade20k")


def cause(image: Image.Image) -> str:
    """Return the diagnosed cause, relative to ADE20K."""
    return diagnose.identify(image, damage.ADE).cause


def likeliest(*names: str, shifted: bool = False) -> str:
    """Return the likeliest scheme of a map of equal bands, from top to bottom."""
    labels = np.repeat(np.array([ADE.find(name).index for name in names], np.uint8), 10)[:, None].repeat(40, 1)
    image = damage.by("shifted", labels) if shifted else damage.painted(labels)
    exact, other, *_ = schemes.known(ADE)
    return plausibility.likeliest(pixels.pack_image(image), [exact, other])[0].name


def test_shifted_maps_are_recognised_by_implausible_classes() -> None:
    """At least 36 of 40 shifted toy scenes and nearly all of 40 larger ones are recognised, without false alarms."""
    scenes = [world.scene(seed, (256, 256)).labels for seed in range(300, 340)]
    places = [damage.place(seed, 15 + 10 * (seed % 2), 256) for seed in range(40)]

    assert sum(cause(damage.by("shifted", labels)) == "shifted" for labels in scenes) >= 36
    assert sum(cause(damage.by("shifted", labels)) == "shifted" for labels in places) >= 38
    assert {cause(damage.painted(labels)) for labels in scenes + places} == {"exact"}


@pytest.mark.parametrize("names", [("sky", "tree", "grass", "road"), ("ceiling", "windowpane", "bed", "floor")])
def test_a_plausible_map_is_read_as_it_is(names: tuple[str, ...]) -> None:
    """A street and a room painted in the right colours stay what they are."""
    assert likeliest(*names) == "exact"


@pytest.mark.parametrize(
    "names", [("ceiling", "wall", "windowpane", "bed", "floor"), ("sky", "building", "tree", "car", "road")]
)
def test_shifted_bands_are_recognised(names: tuple[str, ...]) -> None:
    """A room, whose wall is black then, and a street without a wall: sky becomes building, road a ceiling below."""
    assert likeliest(*names, shifted=True) == "shifted"


def test_an_unsure_map_is_no_exact_map() -> None:
    """If another reading is likelier, but not by much, the map counts as neither, and can only be read on request."""
    images = (damage.by("shifted", damage.place(seed, 15, 256)) for seed in range(100))
    image = next(image for image in images if cause(image) == "unsure")

    assert diagnose.identify(image, ADE).possible == ("exact", "shifted")
    with pytest.raises(MapError, match=r"Say which is right: cause=exact or cause=shifted"):
        snap.snap(image, ADE)
    assert [snap.snap(image, ADE, cause=name).changed > 0 for name in ("exact", "shifted")] == [False, True]


def test_a_few_odd_classes_are_tolerated() -> None:
    """A sky below and a floor above do not turn a map into another scheme, which would have to be plausible."""
    assert likeliest("floor", "tree", "car", "sky") == "exact"


def test_the_lists_name_classes_of_ade() -> None:
    """Each name is a primary name, and no class is typical of both places or of both heights."""
    names = {swatch.name for swatch in ADE}

    for listed in (plausibility.INDOORS, plausibility.OUTDOORS, plausibility.ABOVE, plausibility.BELOW):
        assert listed <= names
    assert not plausibility.INDOORS & plausibility.OUTDOORS
    assert not plausibility.ABOVE & plausibility.BELOW


def bands(*names: str) -> np.ndarray:
    """Return a map of equal bands from top to bottom; "" is unlabelled."""
    indices = [ADE.find(name).index if name else 255 for name in names]
    return np.repeat(np.array(indices, np.uint8), 20)[:, None].repeat(40, 1)


def test_a_shifted_map_of_few_classes_is_hinted_at() -> None:
    """Two or three classes prove nothing, so the map counts as exact, with the reason why it may not be."""
    shifted = diagnose.identify(damage.by("shifted", bands("ceiling", "wall", "floor")), ADE)
    partial = diagnose.identify(damage.painted(bands("sky", "", "road")), ADE)

    assert shifted.cause == partial.cause == "exact"
    assert shifted.hint.startswith("33% of its pixels are black, and its classes make more sense if black is the first")
    assert partial.hint == ""
