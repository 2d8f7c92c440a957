"""Synthetic label maps, and the damage that tools do to control maps."""

import numpy as np
import pytest
from PIL import Image
from PIL.Image import Resampling

from segkit.maps import codec, plausibility, schemes
from segkit.palette import Palette
from segkit.toy.world import damage

ADE, COCO = Palette.load("ade20k"), Palette.load("coco_panoptic")


@pytest.mark.parametrize("palette", [ADE, COCO], ids=lambda palette: palette.name)
def test_regions_have_distinct_classes_with_colours_of_their_own(palette: Palette) -> None:
    """A map of 12 regions has at most 12 classes, none of which shares its colour with a lower one."""
    labels = damage.regions(5, 12, 96, palette)

    present = np.unique(labels).tolist()
    assert labels.shape == (96, 96)
    assert labels.dtype == np.uint8
    assert 8 <= len(present) <= 12
    assert all(palette.by_color[palette[index].rgb] == index for index in present)
    assert codec.read(damage.painted(labels, palette), palette)[1] == 0
    assert (codec.read(damage.painted(labels, palette), palette)[0] == labels).all()


def test_more_regions_than_classes_are_possible() -> None:
    """Classes are then repeated."""
    assert len(np.unique(damage.regions(0, 400, 64))) <= 150


def test_equal_seeds_give_equal_maps() -> None:
    """Both generators depend on their arguments alone."""
    for generate in (damage.regions, damage.place):
        assert (generate(3, 9, 64) == generate(3, 9, 64)).all()
        assert (generate(3, 9, 64) != generate(4, 9, 64)).any()


@pytest.mark.parametrize("seed", range(12))
def test_a_place_is_plausible(seed: int) -> None:
    """Its classes are of one place, and what belongs above or below is in that half on average."""
    labels = damage.place(seed, 15, 128)

    names = {ADE[index].name for index in np.unique(labels).tolist()}
    assert not (names & plausibility.INDOORS and names & plausibility.OUTDOORS)
    for name in names & (plausibility.ABOVE | plausibility.BELOW):
        rows = np.nonzero(labels == ADE.find(name).index)[0]
        assert (rows.mean() < 64) == (name in plausibility.ABOVE), name


def test_jpeg_damages_borders_most() -> None:
    """Solid areas stay near their colour, and fewer chroma samples do more damage."""
    image = damage.painted(damage.place(1, 6, 128))
    original = np.asarray(image, int)

    errors = [np.abs(np.asarray(damage.jpeg(image, 75, subsampling), int) - original).mean() for subsampling in (0, 2)]

    assert 0 < errors[0] < errors[1] < 10


def test_halving_blends_colours_unless_nearest() -> None:
    """NEAREST keeps exact colours at half the size, smooth filters do not."""
    image = damage.painted(damage.place(1, 8, 64))

    nearest, smooth = damage.halved(image, Resampling.NEAREST), damage.halved(image, Resampling.BICUBIC)

    assert nearest.size == smooth.size == (32, 32)
    assert codec.read(nearest, ADE)[1] == 0
    assert codec.read(smooth, ADE)[1] > 0


def test_lines_run_along_borders_only() -> None:
    """Inside a region every pixel is exact; aliased lines are purely white, smooth ones are blended too."""
    labels = np.zeros((40, 40), np.uint8)
    labels[:, 20:] = ADE.find("sky").index
    exact = np.asarray(damage.painted(labels))

    ruled, outlined = (np.asarray(draw(labels)) for draw in (damage.ruled, damage.outlined))

    assert np.nonzero((ruled != exact).any((0, 2)))[0].tolist() == [20]
    assert (ruled[:, 20] == 255).all()
    touched = np.nonzero((outlined != exact).any(-1).any(0))[0]
    assert {19, 20} <= set(touched.tolist())
    inner = outlined[4:-4, 4:-4] != exact[4:-4, 4:-4]
    assert np.nonzero(inner.any((0, 2)))[0].tolist() == [15, 16]
    assert (outlined[4:-4, 19:21] < 255).any()


def test_a_scheme_paints_its_own_colours() -> None:
    """Swapped red and blue twice is the right map; a class without a colour in the scheme becomes black."""
    labels = damage.place(2, 9, 64)

    swapped = damage.by("bgr", labels)

    assert (np.asarray(swapped)[..., ::-1] == np.asarray(damage.painted(labels))).all()
    exact = schemes.known(ADE)[0]
    assert ADE.find("skyscraper").index not in exact.classes
    sky = Image.fromarray(np.full((2, 2), ADE.find("skyscraper").index, np.uint8))
    assert damage.by("exact", np.asarray(sky)).getpixel((0, 0)) == (0, 0, 0)


def test_thin_shapes_bring_further_classes() -> None:
    """Shapes are drawn over regions in classes that these do not have, and are nowhere thick."""
    plain, labels = damage.regions(6, 10, 256), damage.thin(6, 10, 256)

    drawn = labels != plain

    assert 0 < drawn.mean() < 0.3
    assert not set(np.unique(labels[drawn])) & set(np.unique(plain))
    assert (damage.thin(6, 10, 256) == labels).all()


def test_colours_painted_by_hand_miss_their_class_by_little() -> None:
    """Each class has one flat colour, at most 3 from its own."""
    labels = damage.regions(7, 30, 128)
    exact, painted = (np.asarray(image).astype(int) for image in (damage.painted(labels), damage.by_hand(1, labels)))

    distance = np.linalg.norm(painted - exact, axis=2)

    assert 0 < distance.max() <= 3
    for label in np.unique(labels):
        assert len(np.unique(painted[labels == label], axis=0)) == 1
