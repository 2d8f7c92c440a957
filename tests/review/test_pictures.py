"""Pictures for the page: exact maps, small thumbnails, areas that follow edges."""

from io import BytesIO

import numpy as np
from PIL import Image

from segkit.dataset import Dataset
from segkit.maps import codec
from segkit.review import pictures


def test_the_stored_map_is_sent(rooms: Dataset) -> None:
    """A map as segkit writes it is sent byte for byte."""
    triple = rooms[0]

    assert (
        pictures.control_map(triple, rooms.info.palette)
        == (triple.folder / triple.conditioning_image_file_name).read_bytes()
    )


def test_a_repainted_map_is_sent_as_indices(rooms: Dataset) -> None:
    """A map that another program saved in true colours arrives as the indices of its classes."""
    triple, labels = rooms[0], rooms[0].labels
    path = triple.folder / triple.conditioning_image_file_name
    triple.control_map.convert("RGB").save(path)

    with Image.open(BytesIO(pictures.control_map(triple, rooms.info.palette))) as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), labels)


def test_thumbnails_are_small_and_have_no_new_class(rooms: Dataset) -> None:
    """A small map is a part of the pixels: scaling never mixes classes."""
    triple = rooms[0]
    labels = np.kron(triple.labels, np.ones((4, 4), np.uint8))
    triple_path = triple.folder / triple.conditioning_image_file_name
    triple_path.write_bytes(codec.encode(labels, rooms.info.palette))

    with Image.open(BytesIO(pictures.map_thumbnail(triple, rooms.info.palette))) as image:
        assert max(image.size) <= pictures.THUMBNAIL
        assert set(np.unique(np.asarray(image))) <= set(np.unique(labels))
    with Image.open(BytesIO(pictures.photo_thumbnail(triple))) as image:
        assert (image.format, max(image.size) <= pictures.THUMBNAIL) == ("JPEG", True)


def test_areas_follow_edges() -> None:
    """No area crosses a strong edge, and every pixel belongs to one."""
    picture = np.full((90, 120, 3), 40, np.uint8)
    picture[20:70, 33:85] = 220
    inside = picture[..., 0] == 220

    areas = pictures.areas(Image.fromarray(picture))

    assert areas.min() > 0
    mixed = set(np.unique(areas[inside])) & set(np.unique(areas[~inside]))
    wrong = sum(min((inside & (areas == area)).sum(), (~inside & (areas == area)).sum()) for area in mixed)
    assert wrong < 0.02 * inside.size


def test_areas_of_large_photos_fit_into_16_bits() -> None:
    """The grid widens with the photo."""
    areas = pictures.areas(Image.new("RGB", (1200, 900)), size=3)

    assert areas.dtype == np.uint16
    assert 10_000 < areas.max() <= 65_535
