"""Pictures for the page: exact maps and small thumbnails."""

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
