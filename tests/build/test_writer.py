"""Units are written in order, pictures before their record; a failure is raised and nothing later is recorded."""

import json
import math
from pathlib import Path

import pytest

from segkit import storage
from segkit.build import annotate
from segkit.build.annotate import Finished
from segkit.build.settings import BuildSettings
from segkit.build.tools import Networks
from segkit.build.writer import Writer
from segkit.dataset import Dataset, Rejection, records
from segkit.dataset.info import Info
from segkit.dataset.prompts import Style
from segkit.errors import StorageError
from segkit.palette import Palette
from tests.build.test_annotate import candidates
from tests.dataset.test_dataset import brightness

ADE = Palette.load("ade20k")
REJECTION = Rejection("a.png", "", "not-an-image", "text")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """An empty dataset."""
    return Dataset.create(tmp_path / "d", Info(ADE, {"segmenter": {"name": "m", "revision": "1"}}, {}))


def finished(number: int) -> list[Finished]:
    """Return finished triples."""
    batches = annotate.finish(
        candidates(*[(128, 96)] * number), Networks(ADE, brightness, batch=9), BuildSettings(size=96), Style()
    )
    return [one for batch in batches for one in batch]


def test_pictures_and_hashes_are_recorded(dataset: Dataset) -> None:
    """The files hold the encoded pictures, the records their hashes, and rejections are recorded with them."""
    first, second = finished(2)

    with dataset.writing(), Writer(dataset) as writer:
        writer.write([first], [REJECTION])
        writer.write([second], [])

    assert [triple.source for triple in dataset.triples()] == ["0.jpg", "1.jpg"]
    assert list(dataset.rejections()) == [REJECTION]
    for triple, one in zip(dataset.triples(), (first, second), strict=True):
        photo, control_map = (
            (dataset.folder / name).read_bytes() for name in (triple.file_name, triple.conditioning_image_file_name)
        )
        assert (photo, control_map) == (one.photo_bytes(), one.map_bytes())
        assert (triple.photo_sha256, triple.map_sha256) == (storage.sha256(photo), storage.sha256(control_map))


def test_each_unit_is_one_part_in_order(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are numbered in the order of the calls; an empty unit leaves none. The first is in the manifest at once."""
    units = [[one] for one in finished(3)]
    monkeypatch.setattr(records, "SHARE", math.inf)  # so that no later unit is folded in before the end

    with dataset.writing(), Writer(dataset) as writer:
        for unit in (*units, []):
            writer.write(unit, [])
        writer.write([], [])

    lines = [json.loads(part.read_text()) for part in dataset.parts()]
    assert [line["triple"]["source"] for line in lines] == ["1.jpg", "2.jpg"]
    assert [triple.source for triple in dataset] == ["0.jpg", "1.jpg", "2.jpg"]


def test_a_failure_is_raised_and_nothing_later_recorded(dataset: Dataset) -> None:
    """A map that cannot be written stops the writer at the next call; its unit has no record."""
    first, second = finished(2)
    (dataset.folder / "maps").write_text("a file in the way")

    def write_both(writer: Writer) -> None:
        writer.write([first], [])
        with pytest.raises(StorageError):
            writer.write([second], [])

    with dataset.writing(), pytest.raises(StorageError), Writer(dataset) as writer:
        write_both(writer)

    assert dataset.parts() == []


def test_the_last_failure_is_raised_on_exit(dataset: Dataset) -> None:
    """Leaving the context waits for the unit that is still being written."""
    (dataset.folder / "images").write_text("a file in the way")

    with dataset.writing(), pytest.raises(StorageError), Writer(dataset) as writer:
        writer.write(finished(1), [])


def test_an_error_of_the_caller_is_not_masked(dataset: Dataset) -> None:
    """What went wrong first is what is raised."""
    (dataset.folder / "images").write_text("a file in the way")

    def fail(writer: Writer) -> None:
        writer.write(finished(1), [])
        raise KeyError("first")

    with dataset.writing(), pytest.raises(KeyError, match="first"), Writer(dataset) as writer:
        fail(writer)
