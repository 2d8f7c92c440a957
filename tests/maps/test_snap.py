"""Repair of foreign maps."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segkit import maps
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
def test_an_exact_map_is_unchanged(seed: int, number: int, palette: Palette) -> None:
    """Indexed or in RGB, every pixel keeps its class, for both shipped palettes."""
    truth = damage.regions(seed, number, 64, palette)
    truth[:7, :7] = 255
    for image in (codec.paint(truth, palette), damage.painted(truth, palette)):
        result = snap.snap(image, palette, cause="exact")

        assert (result.labels == truth).all()
        assert (result.changed, result.doubtful, result.appeared, result.vanished) == (0, 0, (), ())


@pytest.mark.parametrize("name", ["bgr", "golden-angle", "shifted"])
def test_a_wrong_scheme_is_reversed(name: str) -> None:
    """Classes with a distinct colour are restored completely, whether the cause is diagnosed or specified."""
    truth = damage.place(6, 20, 256)
    (scheme,) = (scheme for scheme in schemes.known(ADE) if scheme.name == name)
    truth[~np.isin(truth, scheme.classes)] = 0

    result = snap.snap(damage.by(name, truth), ADE)

    assert result.diagnosis.cause == name
    assert share_wrong(result, truth) == 0
    assert share_wrong(snap.snap(damage.by(name, truth), ADE, cause=name), truth) == 0


@pytest.mark.parametrize("first", [0, 1])
def test_label_ids_become_classes(first: int) -> None:
    """They count from 0 or from 1: the positions of the classes tell, or the value 150; 255 remains unlabelled."""
    truth = damage.place(2, 12, 128)
    truth[:5] = 255
    image = Image.fromarray(np.where(truth == 255, 255, truth + first).astype(np.uint8))

    assert share_wrong(snap.snap(image, ADE), truth) == 0
    random = damage.regions(2, 40, 128)
    random[:5] = 149
    ids = Image.fromarray(random + np.uint8(first))
    if first:
        assert share_wrong(snap.snap(ids, ADE), random) == 0
    else:
        with pytest.raises(MapError, match="count from 0 or from 1"):
            snap.snap(ids, ADE)
        assert share_wrong(snap.snap(ids, ADE, first_id=0), random) == 0


def test_coco_is_converted_to_ade_by_name() -> None:
    """Classes without a counterpart become unlabelled; without a target palette the map stays COCO."""
    truth = np.repeat(np.array([COCO.find(name).index for name in ("tree-merged", "car", "zebra")], np.uint8), 20)
    image = damage.painted(truth[None].repeat(30, 0), COCO)

    unconverted, converted = snap.snap(image, ADE), snap.snap(image, ADE, target_palette=ADE)

    assert (unconverted.labels[0] == truth).all()
    assert unconverted.palette.name == "coco_panoptic"
    expected = np.repeat(np.array([ADE.find("tree").index, ADE.find("car").index, 255], np.uint8), 20)
    assert (converted.labels[0] == expected).all()
    assert converted.palette.name == "ade20k"


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
def test_class_names_are_matched(coco: str, ade: str) -> None:
    """COCO's additions are ignored; classes that ADE20K lacks are not mapped."""
    index = int(snap.class_mapping(COCO, ADE)[COCO.find(coco).index])

    assert (ADE[index].name if index < len(ADE) else "") == ade


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_a_wrong_scheme_under_jpeg_is_reversed(quality: int) -> None:
    """Both faults are diagnosed and repaired."""
    truth = damage.place(9, 8, 512)

    result = snap.snap(damage.jpeg(damage.by("bgr", truth), quality), ADE)

    assert (result.diagnosis.cause, result.diagnosis.damage) == ("bgr", "jpeg")
    assert share_wrong(result, truth) < 0.01


def test_doubtful_pixels_can_be_left_unlabelled() -> None:
    """They are few, and without them the share of wrong pixels is lower."""
    truth = damage.place(5, 15, 512)
    image = damage.halved(damage.painted(truth), Image.Resampling.BILINEAR)

    result = snap.snap(image, ADE, unsure="unlabelled")

    labelled = result.labels != 255
    expected = truth[1::2, 1::2]
    assert 0 < result.doubtful < 0.03
    assert (result.labels != expected)[labelled].mean() < (snap.snap(image, ADE).labels != expected).mean()


def test_a_lost_class_is_reported() -> None:
    """A sign of 5 x 5 pixels is too small to be trusted in a JPEG."""
    truth = damage.place(4, 5, 256)
    truth[40:45, 40:45] = ADE.find("signboard").index

    result = snap.snap(damage.jpeg(damage.painted(truth), 98, 0), ADE)

    assert result.vanished == ("signboard",)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (damage.painted(damage.place(1, 9, 128)).convert("L"), "converted to grey"),
        (Image.effect_noise((64, 64), 90).convert("RGB").resize((64, 64)), "cannot be repaired"),
    ],
)
def test_irreversible_damage_is_refused(image: Image.Image, message: str) -> None:
    """The error states the reason."""
    with pytest.raises(MapError, match=message):
        snap.snap(image, ADE)


@pytest.mark.parametrize("cause", ["", "exact", "label-ids"])
def test_deep_grey_is_never_read_as_classes(cause: str) -> None:
    """16-bit grey is refused whatever the cause if it holds more than 8-bit values; indices in 16 bits are read."""
    indices = damage.place(1, 9, 64).astype(np.uint16)
    assert (snap.snap(Image.fromarray(indices), ADE, first_id=0).labels == indices).all()
    deep = Image.fromarray(indices * 300 + 100)

    with pytest.raises(MapError, match="more than 8 bits"):
        snap.snap(deep, ADE, cause=cause)


def test_colours_are_never_read_as_indices() -> None:
    """This holds even if the user specifies label IDs."""
    with pytest.raises(MapError, match="its pixels have colours"):
        snap.snap(damage.painted(damage.place(1, 9, 64)), ADE, cause="label-ids")


def test_a_jpeg_file_is_repaired_from_what_it_stores(tmp_path: Path) -> None:
    """With its file a map is repaired from its samples, whatever their steps; turned, from colours."""
    truth = damage.thin(8, 12, 256)
    path, turned = tmp_path / "map.jpg", tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 3
    damage.painted(truth).save(path, qtables=[[16] * 64, [24] * 64])  # of no quality, so that colours alone tell less
    damage.painted(truth).save(turned, quality=75, exif=exif)

    by_file = snap.snap(maps.read_file(path), ADE)

    assert by_file.diagnosis.cause == "jpeg"
    assert share_wrong(by_file, truth) < 0.002
    assert (by_file.labels != snap.snap(maps.read(path), ADE).labels).any()
    upside_down = snap.snap(maps.read_file(turned), ADE)
    assert (upside_down.labels == snap.snap(maps.read(turned), ADE).labels).all()


def test_the_colors_of_a_jpeg_file_are_repaired_as_the_file_is(tmp_path: Path) -> None:
    """A PNG made from a JPEG file of a usual quality gets the same labels."""
    path = tmp_path / "map.jpg"
    damage.painted(damage.thin(8, 12, 256)).save(path, quality=75)

    by_file = snap.snap(maps.read_file(path), ADE)

    assert (by_file.labels == snap.snap(maps.read(path), ADE).labels).all()
