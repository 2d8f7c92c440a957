"""Class indices: where they are stored, and whether they count from 0 or from 1."""

from pathlib import PurePath

import numpy as np
import pytest
from PIL import Image

from segkit.errors import MapError
from segkit.maps import diagnose, label_ids, pixels, snap
from segkit.toy import world
from segkit.toy.world import damage

ADE = damage.ADE
SCENE = world.scene(5, (128, 128)).labels


@pytest.mark.parametrize("first", [0, 1])
def test_positions_tell_the_first_class(first: int) -> None:
    """Nearly all scenes make sense in one of the two readings only; random classes in random places decide nothing."""
    scenes = [world.scene(seed, (128, 128)).labels + np.uint8(first) for seed in range(50, 62)]
    random = damage.regions(1, 12, 128)

    assert [label_ids.first_of([ids], ADE) for ids in scenes].count(first) >= 11
    assert {label_ids.first_of([ids], ADE) for ids in scenes} <= {first, None}
    assert label_ids.first_of([random], ADE) is None
    assert label_ids.first_of([random, *scenes], ADE) == first


def test_the_highest_value_decides() -> None:
    """150 can only be the last class counted from 1; 151 is none."""
    ids = damage.regions(1, 12, 64)
    ids[:9] = 150

    assert label_ids.first_of([ids], ADE) == 1
    ids[:9] = 151
    with pytest.raises(MapError, match="value 151 is not a class of ade20k, which has 150"):
        label_ids.first_of([ids], ADE)


@pytest.mark.parametrize(
    ("path", "first"),
    [
        ("/data/ADEChallengeData2016/annotations/training/ADE_train_00000001.png", 1),
        ("adechallengedata2016/annotations_detectron2/validation/a.png", 0),
        ("/data/annotations/a.png", None),
    ],
)
def test_official_folders_are_known(path: str, first: int | None) -> None:
    """The release counts from 1, Mask2Former's copy from 0."""
    assert label_ids.official_first(PurePath(path)) == first


def test_indices_are_read_wherever_they_are() -> None:
    """As grey of 8 or 16 bits, in one channel, or as an indexed picture's values."""
    empty = Image.new("L", (128, 128))
    indexed = Image.fromarray(SCENE)
    indexed.putpalette([(37 * number) % 256 for number in range(768)])
    images = [
        Image.fromarray(SCENE),
        Image.fromarray(SCENE.astype(np.uint16)),
        Image.merge("RGB", (Image.fromarray(SCENE), empty, empty)),
        Image.merge("RGB", (empty, empty, Image.fromarray(SCENE))),
    ]

    for image in images:
        result = snap.snap(image, ADE)
        assert result.diagnosis.cause == "label-ids"
        assert (result.labels == SCENE).all()
    assert (snap.snap(indexed, ADE, cause="label-ids").labels == SCENE).all()
    with pytest.raises(MapError, match="If its values are class indices: cause=label-ids"):
        snap.snap(indexed, ADE)


def test_other_numbers_are_refused_by_name() -> None:
    """ADE20K's full release, numbers of segments, and more than 150 classes in 16 bits."""
    full = np.dstack([SCENE % 3 * 10, SCENE * 3, SCENE * 7]).astype(np.uint8)
    segments = np.unique(SCENE, return_inverse=True)[1].reshape(SCENE.shape).astype(np.uint8) + np.uint8(1)
    images = {
        "full-ade": Image.fromarray(full),
        "panoptic-ids": Image.fromarray(np.dstack([segments, 0 * segments, 0 * segments])),
        "unknown": Image.fromarray(SCENE.astype(np.uint16) * 20 + 1),
    }

    for cause, image in images.items():
        assert diagnose.identify(image, ADE).cause == cause
        with pytest.raises(MapError, match="cannot be repaired"):
            snap.snap(image, ADE)


def test_two_values_are_classes_only_if_they_can_be() -> None:
    """Black and white are none, nor are colours or values beyond the last class."""
    values = {(3, 20): True, (3, 255): True, (0, 255): False, (3, 200): False}
    for pair, expected in values.items():
        image = Image.fromarray(np.array([pair], np.uint8).repeat(9, 0).repeat(9, 1))
        assert label_ids.are_two(image, ADE) == expected
    assert not label_ids.are_two(damage.painted(SCENE), ADE)


def test_the_only_channel_is_found() -> None:
    """None for black and for several channels."""
    for channel in range(3):
        color = [0, 0, 0]
        color[channel] = 9
        assert label_ids.only_channel(pixels.pack(np.array([[color]], np.uint8))) == channel
    assert label_ids.only_channel(np.zeros((2, 2), np.uint32)) is None
    assert label_ids.only_channel(pixels.pack(np.array([[[1, 0, 2]]], np.uint8))) is None
