"""COCO's panoptic layout: ids of categories and segments for any palette."""

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from segkit.dataset.formats import coco_panoptic
from segkit.dataset.formats.writing import Item
from segkit.dataset.triple import Triple
from segkit.maps import codec
from segkit.maps.codec import Labels
from segkit.palette import Palette, extend
from tests.dataset.test_triple import record

COCO = Palette.load("coco_panoptic")
EXTENDED = extend.extended(COCO, [f"class {number}" for number in range(100)], "mine")


def test_cocos_classes_have_cocos_ids() -> None:
    """The official ids have gaps; added classes follow, and other palettes count from 1."""
    ids = coco_panoptic.category_ids(COCO)

    assert (ids[0], ids[79], ids[80], ids[132], len(set(ids))) == (1, 90, 92, 200, 133)
    assert coco_panoptic.category_ids(EXTENDED) == (*ids, *range(201, 301))
    assert coco_panoptic.category_ids(Palette.load("ade20k")) == tuple(range(1, 151))


@given(arrays(np.uint8, (5, 7), elements=st.sampled_from([0, 1, 132, 200, 232, 255])))
def test_ids_beyond_one_byte_lead_back_to_the_labels(labels: Labels) -> None:
    """R + 256 G + 65536 B is the category, whose place is the label; unlabelled pixels have none."""
    item = Item(Triple.from_json(record()), 0, b"photo", codec.encode(labels, EXTENDED), EXTENDED)
    ids = [category["id"] for category in coco_panoptic.categories(EXTENDED)]

    files = coco_panoptic.files(item, "all")
    pixels = np.asarray(Image.open(io.BytesIO(files[f"annotations/panoptic_train/{item.key}.png"]))).astype(int)
    segments = coco_panoptic.annotation(item)["segments_info"]

    found = pixels[:, :, 0] + 256 * pixels[:, :, 1] + 65536 * pixels[:, :, 2]
    assert [[ids.index(value) if value else 255 for value in row] for row in found.tolist()] == labels.tolist()
    assert {segment["id"]: segment["area"] for segment in segments} == {
        value: int((found == value).sum()) for value in np.unique(found).tolist() if value
    }
