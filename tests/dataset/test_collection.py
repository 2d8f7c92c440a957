"""segkit.dataset.collection: a dataset is a sequence of triples, and a table for pandas and Hugging Face."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from segkit.build.pipeline import build_dataset
from segkit.build.settings import BuildSettings
from segkit.dataset import Dataset
from segkit.dataset.collection import Triples
from segkit.dataset.triple import Triple
from segkit.errors import DatasetError
from segkit.maps import codec


@pytest.fixture(scope="module")
def rooms(six_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Six triples, two of them held out. Do not change them."""
    folder = tmp_path_factory.mktemp("collection") / "rooms"
    settings = BuildSettings(segmenter="toy", captioner="toy", split="val=0.3", size=128, min_size=64)
    build_dataset(six_photos, folder, settings)
    return Dataset.open(folder)


def test_a_dataset_is_a_sequence(rooms: Dataset) -> None:
    """Length, iteration, positions from both ends, keys, slices and membership."""
    triples = list(rooms.triples())

    assert len(rooms) == 6
    assert list(rooms) == triples
    assert (rooms[0], rooms[-1]) == (triples[0], triples[-1])
    assert rooms[triples[3].key] == triples[3]
    assert list(rooms[1:3]) == triples[1:3]
    assert triples[2] in rooms
    keys: Any = (triples[2].key, "kitchen")
    assert [key in rooms for key in keys] == [True, False]
    with pytest.raises(KeyError, match="no triple has the key 'kitchen'"):
        rooms["kitchen"]
    with pytest.raises(IndexError):
        rooms[6]


def test_splits_are_sequences_too(rooms: Dataset) -> None:
    """Together they are the dataset."""
    assert len(rooms.val) > 0
    assert [triple.split for triple in rooms.val] == ["val"] * len(rooms.val)
    assert len(rooms.train) + len(rooms.val) + len(rooms.test) == 6
    assert rooms.val[rooms.val[0].key] == rooms.val[0]


def test_a_triple_opens_its_files(rooms: Dataset) -> None:
    """Photo, control map and labels have one size, and the map is painted with the labels' colours."""
    triple = rooms[0]

    assert (triple.photo.mode, triple.photo.size) == ("RGB", (triple.width, triple.height))
    assert codec.is_exact(triple.control_map, rooms.info.palette)
    assert triple.labels.dtype == np.uint8
    assert triple.labels.shape == (triple.height, triple.width)
    painted = codec.paint(triple.labels, rooms.info.palette).convert("RGB")
    assert painted.tobytes() == triple.control_map.convert("RGB").tobytes()


def test_a_triple_without_a_dataset_has_no_files(rooms: Dataset) -> None:
    """A changed copy says where files come from instead of guessing."""
    with pytest.raises(DatasetError, match="does not belong to a dataset"):
        _ = replace(rooms[0], text="x").photo


def test_changes_on_the_disk_are_seen(rooms: Dataset, tmp_path: Path) -> None:
    """The sequence follows what another process, or this one, has written since."""
    copy = Dataset.create(tmp_path / "copy", rooms.info)
    assert len(copy) == 0

    copy.commit(rooms[:2])
    assert [triple.key for triple in copy] == [triple.key for triple in rooms[:2]]
    copy.commit(rooms[2:])
    copy.fold()
    copy.replace_all([replace(triple, text="edited") for triple in rooms])

    assert [triple.text for triple in copy] == ["edited"] * 6
    assert copy[rooms[5].key].text == "edited"


def test_a_table_has_a_row_for_each_triple(rooms: Dataset) -> None:
    """Every field of the manifest is a column; class shares are on request and add up as in the manifest."""
    table = rooms.to_pandas()
    shares = rooms.to_pandas(class_shares=True)

    assert list(table.index) == [triple.key for triple in rooms]
    assert list(table["text"]) == [triple.text for triple in rooms]
    assert {"split", "width", "prompt_by", "geometry_source_width", "map_sha256"} <= set(table.columns)
    classes = [name for name in shares.columns if name not in table.columns]
    assert set(classes) == {share.name for triple in rooms for share in triple.classes}
    for triple in rooms:
        assert shares.loc[triple.key, classes].sum() == pytest.approx(sum(share.share for share in triple.classes))


def test_columns_of_yours_are_in_the_table(rooms: Dataset) -> None:
    """Those that only some lines have too, beside class shares that have the same name."""
    first, second, *rest = rooms
    stars = Triple.from_json({**second.to_json(), "stars": 5, "wall": "red"})

    table = Triples([first, stars, *rest]).to_pandas(class_shares=True)

    assert table["stars"].tolist()[1] == 5
    assert table["stars"].isna().sum() == len(rest) + 1
    assert table["wall"].tolist()[1] == "red"


def test_an_empty_collection_has_an_empty_table() -> None:
    """No triples, no rows, no error."""
    assert len(Triples([]).to_pandas()) == 0
    assert len(Triples([]).to_pandas(class_shares=True)) == 0
    with pytest.raises(DatasetError, match="no triples to convert"):
        Triples([]).to_hf()


def test_hugging_face_sees_the_same_pixels(rooms: Dataset) -> None:
    """Pictures and text of the converted dataset equal those of the triples; indexed maps stay indexed."""
    table = rooms.val.to_hf()

    row, triple = table[0], rooms.val[0]
    assert (row["text"], row["key"], row["split"]) == (triple.text, triple.key, "val")
    assert row["image"].convert("RGB").tobytes() == triple.photo.tobytes()
    assert np.array_equal(np.asarray(row["conditioning_image"]), triple.labels)


def test_a_dataset_prints_well(rooms: Dataset) -> None:
    """Its folder and size."""
    assert repr(rooms) == f"Dataset({str(rooms.folder)!r}, 6 triples)"
    assert repr(rooms[:2]) == "Triples(2)"
