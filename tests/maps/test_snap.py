"""Foreign maps mended."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segkit.errors import MapError
from segkit.maps import codec, schemes, snap
from segkit.maps.codec import Labels
from segkit.palette import Palette
from segkit.toy.world import damage

ADE, COCO = Palette.load("ade20k"), Palette.load("coco_panoptic")


def share_wrong(result: snap.Snapped, truth: Labels) -> float:
    """Return the share of wrong pixels."""
    return float((result.labels != truth).mean())


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([ADE, COCO]))
def test_an_exact_map_is_kept(seed: int, number: int, table: Palette) -> None:
    """Indexed or in RGB, every pixel keeps its class, by its own palette."""
    truth = damage.regions(seed, number, 64, table)
    truth[:7, :7] = 255
    for image in (codec.paint(truth, table), damage.painted(truth, table)):
        result = snap.snap(image, table, cause="exact")

        assert (result.labels == truth).all()
        assert (result.changed, result.doubtful, result.appeared, result.vanished) == (0, 0, (), ())


@pytest.mark.parametrize("name", ["bgr", "golden-angle", "shifted"])
def test_a_wrong_painter_is_undone(name: str) -> None:
    """All pixels get their class back, but for classes that share a colour there; told or found, it is the same."""
    truth = damage.place(6, 20, 256)
    (scheme,) = (way for way in schemes.known(ADE) if way.name == name)
    truth[~np.isin(truth, scheme.classes)] = 0

    result = snap.snap(damage.by(name, truth), ADE)

    assert result.diagnosis.cause == name
    assert share_wrong(result, truth) == 0
    assert share_wrong(snap.snap(damage.by(name, truth), ADE, cause=name), truth) == 0


@pytest.mark.parametrize("first", [0, 1])
def test_label_ids_become_classes(first: int) -> None:
    """Counted from 0, or from 1 where the highest value says so; 255 is no class."""
    truth = damage.regions(2, 40, 128)
    truth[:5], truth[5:9] = 149, 255

    result = snap.snap(Image.fromarray(np.where(truth == 255, 255, truth + first).astype(np.uint8)), ADE)

    assert share_wrong(result, truth) == 0


def test_coco_becomes_ade_by_name() -> None:
    """What has no name in ADE becomes unlabelled; without being asked the map stays COCO's."""
    truth = np.repeat(np.array([COCO.find(name).index for name in ("tree-merged", "car", "zebra")], np.uint8), 20)
    image = damage.painted(truth[None].repeat(30, 0), COCO)

    kept, renamed = snap.snap(image, ADE), snap.snap(image, ADE, target_palette=ADE)

    assert (kept.labels[0] == truth).all()
    assert kept.palette.name == "coco_panoptic"
    wanted = np.repeat(np.array([ADE.find("tree").index, ADE.find("car").index, 255], np.uint8), 20)
    assert (renamed.labels[0] == wanted).all()
    assert renamed.palette.name == "ade20k"


@pytest.mark.parametrize(
    ("coco", "ade"),
    [
        ("wall-brick", "wall"),
        ("window-blind", "blind"),
        ("window-other", "windowpane"),
        ("couch", "sofa"),
        ("dining table", "table"),
        ("pavement-merged", "sidewalk"),
        ("zebra", ""),
        ("hot dog", ""),
    ],
)
def test_names_are_understood(coco: str, ade: str) -> None:
    """COCO's additions are passed over; what ADE does not have has no class."""
    index = int(snap.class_mapping(COCO, ADE)[COCO.find(coco).index])

    assert (ADE[index].name if index < len(ADE) else "") == ade


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_a_wrong_painter_under_jpeg_is_undone_too(quality: int) -> None:
    """Both faults are told and mended."""
    truth = damage.place(9, 8, 512)

    result = snap.snap(damage.jpeg(damage.by("bgr", truth), quality), ADE)

    assert (result.diagnosis.cause, result.diagnosis.damage) == ("bgr", "jpeg")
    assert share_wrong(result, truth) < 0.01


def test_pixels_in_doubt_can_be_left_unlabelled() -> None:
    """They are then nearly all of what would be wrong, and few."""
    truth = damage.place(5, 15, 512)
    image = damage.halved(damage.painted(truth), Image.Resampling.BILINEAR)

    sure = snap.snap(image, ADE, unsure="unlabelled")

    decided = sure.labels != 255
    small = truth[1::2, 1::2]
    assert 0 < sure.doubtful < 0.03
    assert (sure.labels != small)[decided].mean() < (snap.snap(image, ADE).labels != small).mean()


def test_a_class_that_is_lost_is_named() -> None:
    """A sign of 5 x 5 pixels is too small to be believed in a JPEG."""
    truth = damage.place(4, 5, 256)
    truth[40:45, 40:45] = ADE.find("signboard").index

    result = snap.snap(damage.jpeg(damage.painted(truth), 98, 0), ADE)

    assert result.vanished == ("signboard",)


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (damage.painted(damage.place(1, 9, 128)).convert("L"), "turned to grey"),
        (Image.effect_noise((64, 64), 90).convert("RGB").resize((64, 64)), "cannot be mended"),
    ],
)
def test_what_cannot_be_undone_is_refused(image: Image.Image, told: str) -> None:
    """With the reason."""
    with pytest.raises(MapError, match=told):
        snap.snap(image, ADE)


@pytest.mark.parametrize("cause", ["", "exact", "label-ids"])
def test_deep_grey_is_never_taken_for_classes(cause: str) -> None:
    """Indices of 16 bits, of which no pixel is an 8-bit colour, would all become walls; told or not, it is refused."""
    deep = Image.fromarray(damage.place(1, 9, 64).astype(np.uint16))

    with pytest.raises(MapError, match="more than 8 bits"):
        snap.snap(deep, ADE, cause=cause)


def test_colours_are_never_read_as_indices() -> None:
    """Not even when the user says that they are."""
    with pytest.raises(MapError, match="its pixels have colours"):
        snap.snap(damage.painted(damage.place(1, 9, 64)), ADE, cause="label-ids")
