"""Repair of JPEG maps by compressing the repaired map again."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segkit.maps import borders, coded, nearest, pixels, synthesis
from segkit.maps.codec import Labels
from segkit.maps.coded import Coded
from segkit.maps.pixels import Packed
from segkit.toy.world import damage

COLORS = tuple(swatch.rgb for swatch in damage.ADE)


def repaired(image: Image.Image) -> Labels:
    """Return the classes after repair."""
    return synthesis.repair(pixels.pack_image(image), COLORS).indices


def as_file(image: Image.Image, quality: int) -> tuple[Packed, Coded]:
    """Return a picture saved as JPEG: its colours, and what the file stores."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    stored = coded.read(buffer.getvalue())
    assert stored is not None
    with Image.open(buffer) as decoded:
        return pixels.pack_image(decoded), stored


def with_bar(seed: int, width: int, upright: bool) -> tuple[Labels, int]:
    """Return a map of regions with a bar, 100 pixels long, of a class of its own, and that class."""
    truth = damage.regions(seed, 5, 160)
    label = int(np.setdiff1d(np.arange(1, 40), truth)[seed % 20])
    bar = truth.T if upright else truth
    bar[61 : 61 + width, 30:130] = label
    return truth, label


@pytest.mark.parametrize("quality", [90, 75])
def test_thin_bars_keep_their_classes(quality: int) -> None:
    """Of twelve bars too thin for a solid square at most one loses its class; areas alone keep at most two."""
    kept = {"synthesis": 0, "borders": 0}
    for seed in range(12):
        truth, label = with_bar(seed, 4 + seed % 3, seed % 2 == 0)
        image = damage.jpeg(damage.painted(truth), quality)
        by_areas = borders.repair(pixels.pack_image(image), COLORS).indices
        for method, labels in (("synthesis", repaired(image)), ("borders", by_areas)):
            kept[method] += 2 * ((labels == label) & (truth == label)).sum() >= (truth == label).sum()

    assert kept["synthesis"] >= 11
    assert kept["borders"] <= 2


@pytest.mark.parametrize(("quality", "limit"), [(90, 0.3), (75, 0.8), (50, 1.5)])
def test_thin_shapes_are_restored(quality: int, limit: float) -> None:
    """Few pixels are wrong in a map with poles, stripes, wires and letters, where areas alone leave many."""
    truth = damage.thin(3, 10, 320)
    image = damage.jpeg(damage.painted(truth), quality)
    packed = pixels.pack_image(image)

    wrong = 100 * (repaired(image) != truth).mean()

    assert wrong <= limit
    assert 3 * wrong < 100 * (borders.repair(packed, COLORS).indices != truth).mean()
    assert 10 * wrong < 100 * (nearest.nearest(packed, COLORS) != truth).mean()


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([75, 90]))
def test_no_class_is_lost_or_invented_among_solid_regions(seed: int, quality: int) -> None:
    """A map of large regions keeps its classes, and gets no other."""
    truth = damage.regions(seed, 6, 256)
    classes, counts = np.unique(truth, return_counts=True)

    labels = repaired(damage.jpeg(damage.painted(truth), quality))

    assert set(classes[counts >= 200]) <= set(np.unique(labels)) <= set(classes)


@pytest.mark.parametrize("rest", [0, 2])
def test_a_dissolved_line_is_doubtful(rest: int) -> None:
    """A line of one pixel is too thin to keep its class, but it does not vanish silently, in whatever map."""
    truth = np.zeros((160, 160), np.uint8)
    truth[120:] = rest
    truth[70, 20:140] = 4

    result = synthesis.repair(pixels.pack_image(damage.jpeg(damage.painted(truth), 90)), COLORS)

    assert not (result.indices == 4).any()
    assert result.doubtful[68:73, 20:140].any(0).mean() > 0.6
    assert not result.doubtful[:50].any()


def test_a_map_of_small_regions_is_repaired() -> None:
    """A map whose regions have few solid squares of five pixels loses no class of 200 pixels or more."""
    truth = damage.regions(533738644, 55, 256)
    classes, counts = np.unique(truth, return_counts=True)

    labels = repaired(damage.jpeg(damage.painted(truth), 75))

    lost = [label for label in classes[counts >= 200] if not (labels[truth == label] == label).any()]
    assert not lost
    assert 100 * (labels != truth).mean() < 1


def test_chroma_at_full_resolution_is_repaired() -> None:
    """A map saved with 4:4:4 is repaired like one saved with 4:2:0."""
    truth = damage.thin(3, 10, 320)

    assert 100 * (repaired(damage.jpeg(damage.painted(truth), 75, 0)) != truth).mean() <= 0.3


def test_sides_need_not_be_whole_units() -> None:
    """A map whose sides no block divides is repaired to its edges."""
    truth = damage.regions(4, 5, 200)[:171, :93]

    labels = repaired(damage.jpeg(damage.painted(truth), 75))

    assert labels.shape == truth.shape
    assert 100 * (labels != truth).mean() < 0.5


def test_damage_that_no_compression_explains_is_left_to_areas() -> None:
    """A map that was scaled after compression is repaired as by segkit.maps.borders."""
    truth = damage.regions(5, 8, 300)
    image = damage.halved(damage.jpeg(damage.painted(truth), 60), Image.Resampling.BILINEAR)

    assert (repaired(image) == borders.repair(pixels.pack_image(image), COLORS).indices).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 3)])
def test_tiny_maps_are_repaired(shape: tuple[int, int]) -> None:
    """Maps of a few pixels get the class of their colour."""
    truth = np.full(shape, 5, np.uint8)

    assert (repaired(damage.painted(truth)) == truth).all()


@pytest.mark.parametrize(("quality", "limit"), [(90, 0.15), (75, 0.4), (50, 1.0)])
def test_a_jpeg_file_is_restored_from_what_it_stores(quality: int, limit: float) -> None:
    """Few pixels are wrong in a map with thin shapes whose sides are no whole blocks."""
    truth = damage.thin(3, 10, 320)[:310, :300]
    packed, stored = as_file(damage.painted(truth), quality)

    result = synthesis.repair(packed, COLORS, stored)

    assert 100 * (result.indices != truth).mean() <= limit


def test_a_map_that_was_scaled_before_it_was_saved_is_repaired_by_its_colors() -> None:
    """What the file stores explains no labels, so it makes no difference."""
    truth = damage.regions(4, 8, 320)
    packed, stored = as_file(damage.halved(damage.painted(truth), Image.Resampling.BILINEAR), 95)

    result = synthesis.repair(packed, COLORS, stored)

    assert (result.indices == synthesis.repair(packed, COLORS).indices).all()


def test_a_file_of_many_small_areas_is_explained_by_its_last_labels() -> None:
    """Most of the first labels are wrong, so that its own settings seem not to explain it; the repaired map decides."""
    truth = damage.regions(0, 60, 192)
    packed, stored = as_file(damage.painted(truth), 75)

    result = synthesis.repair(packed, COLORS, stored)

    assert result.is_explained
    assert (result.indices != truth).mean() < 0.03
    assert (borders.repair(packed, COLORS).indices != truth).mean() > 0.1


def test_damage_that_no_settings_explain_is_told() -> None:
    """A map that was scaled before it was saved as JPEG is repaired by its colours alone."""
    scaled = damage.halved(damage.painted(damage.regions(1, 20, 512)), Image.Resampling.BILINEAR)
    packed, stored = as_file(scaled, 75)

    assert not synthesis.repair(packed, COLORS, stored).is_explained
