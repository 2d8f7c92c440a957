"""Known photos are compared as they are stored, before and after they are."""

from array import array
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageOps

from segkit import photos
from segkit.build.lookalikes import Lookalikes, Pictures
from segkit.photos import Limits, near_duplicates
from segkit.photos.near_duplicates import Grey
from segkit.toy import world
from tests.dataset.test_dataset import build


def test_a_source_is_compared_as_it_will_be_stored(tmp_path: Path) -> None:
    """Its grey copy equals that of the stored photo, pixel by pixel; a missing or damaged file has none."""
    source = tmp_path / "photos" / "a.jpg"
    source.parent.mkdir()
    world.scene(0, (321, 240)).photo.save(source, quality=60)
    dataset = build(source.parent, tmp_path / "out")
    pictures = Pictures(dataset)
    pictures.limits = Limits(size=96, min_size=80)

    stored, expected = pictures.stored(dataset[0].key), pictures.to_be_stored(source)

    assert stored is not None
    assert expected is not None
    assert np.array_equal(stored, expected)
    assert pictures.stored("0" * 16) is None
    assert pictures.to_be_stored(tmp_path / "none.jpg") is None
    assert pictures.new(tmp_path / "none.jpg") is None
    new = pictures.new(source)
    opened = photos.open_photo(source.read_bytes(), pictures.limits).image
    assert new is not None
    assert np.array_equal(new, near_duplicates.grey_copy(opened))


@pytest.fixture
def scenes() -> list[Grey]:
    """Grey copies of a photo, its mirror image and another photo."""
    first, second = (world.scene(seed, (160, 120)).photo for seed in (0, 1))
    return [near_duplicates.grey_copy(image) for image in (first, ImageOps.mirror(first), second)]


def test_a_hash_proposes_and_the_picture_decides(scenes: list[Grey]) -> None:
    """Of two known photos with one hash, only the one that shows the picture is the same."""
    phash = near_duplicates.perceptual_hash(world.scene(0, (160, 120)).photo)
    known = Lookalikes(lambda photo: (scenes[0], scenes[2])[photo], array("Q", [phash, phash]))

    (number,) = known.search(scenes[1], 0)

    assert known.photos(number) == [0, 1]
    assert [known.is_same(photo, number, scenes[1]) for photo in (0, 1)] == [True, False]


def test_without_a_picture_an_equal_hash_decides(scenes: list[Grey]) -> None:
    """Of a photo that is missing only plain and mirrored copies are recognised, until it can be compared."""
    pictures: list[Grey | None] = [None, None]
    phash = near_duplicates.perceptual_hash(world.scene(0, (160, 120)).photo)
    known = Lookalikes(lambda photo: pictures[photo], array("Q", [phash ^ 0x0FF0, phash]))  # numbered by their values
    near, far = (0, 1) if known.photos(0) == [1] else (1, 0)

    assert known.is_same(1, near, scenes[0])
    assert known.is_same(1, near, scenes[1])
    assert not known.is_same(0, far, scenes[0])
    pictures[1] = scenes[2]
    assert not known.is_same(1, near, scenes[0])
