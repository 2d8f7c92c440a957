"""The import of every export equals the dataset: photos, maps, prompts with their authors, splits and decisions."""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from PIL import Image

import segkit
from segkit.dataset import Dataset, history, relabel
from segkit.dataset.formats import shards
from segkit.dataset.origin import Origin
from segkit.dataset.triple import SPLITS, Triple
from segkit.errors import DatasetError
from segkit.exports import pipeline as exporting
from tests.dataset.test_dataset import written
from tests.exports.conftest import Exporter, chosen
from tests.imports.conftest import Importer

KINDS = ("webdataset", "imagefolder", "parquet", "fill50k", "kohya", "coco-panoptic", "label-ids")


def pictures(triple: Triple) -> tuple[bytes, bytes]:
    """Return the bytes of photo and map."""
    files = (triple.file_name, triple.conditioning_image_file_name)
    photo, control_map = ((triple.folder / name).read_bytes() for name in files)
    return photo, control_map


def require_equal(restored: Dataset, dataset: Dataset, but: tuple[str, ...] = ()) -> None:
    """Compare all records and all bytes; the origin of a restored triple says that it was imported."""
    before, after = ({triple.key: triple for triple in one} for one in (dataset, restored))
    assert after.keys() == before.keys() - set(but)
    for key, triple in after.items():
        assert replace(triple, origin=before[key].origin) == before[key]
        assert triple.origin == Origin("segkit")
        assert pictures(triple) == pictures(before[key])
    assert restored.info.palette.hash == dataset.info.palette.hash
    assert {problem.rule for problem in restored.check()} <= {problem.rule for problem in dataset.check()}


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_is_restored_exactly_and_once(kind: str, rooms: Dataset, exported: Exporter, bring: Importer) -> None:
    """Each layout carries everything, also what it has no place for; a second import changes nothing."""
    first = bring(exported(kind), size=0, min_size=0)
    before = first.dataset.manifest.read_bytes()
    second = bring(exported(kind), size=0, min_size=0)

    assert (first.imported, first.found) == (7, 7)
    require_equal(first.dataset, rooms)
    assert (second.imported, second.merged, second.unchanged, second.conflicts) == (0, 0, 7, [])
    assert second.dataset.manifest.read_bytes() == before


@pytest.mark.parametrize("kind", ["imagefolder", "parquet", "fill50k", "kohya"])
def test_maps_in_rgb_are_restored_exactly(kind: str, rooms: Dataset, exported: Exporter, bring: Importer) -> None:
    """A record tells whether a colour was road or skyscraper; where both occur, the stored map lies beside it."""
    outcome = bring(exported(kind, maps="rgb"), size=0, min_size=0)

    assert (outcome.imported, dict(outcome.rejected)) == (7, {})
    require_equal(outcome.dataset, rooms)


def test_a_map_in_rgb_that_was_changed_is_not_replaced_by_the_stored_one(
    rooms: Dataset, exported: Exporter, bring: Importer, tmp_path: Path
) -> None:
    """One pixel in another colour: the map is no longer that of its record, and its triple is left out."""
    folder = shutil.copytree(exported("fill50k", maps="rgb"), tmp_path / "edited")
    path = next(folder.rglob(f"source/{rooms[0].key}.png"))
    with Image.open(path) as image:
        image.putpixel((0, 0), (1, 2, 3))
        image.save(path)

    outcome = bring(folder, size=0, min_size=0)

    assert (outcome.imported, outcome.rejected.total()) == (6, 1)


def test_a_damaged_shard_is_named_with_its_damaged_triples(
    rooms: Dataset, exported: Exporter, bring: Importer, tmp_path: Path
) -> None:
    """A byte of a prompt in a record, which no hash of a picture covers, is noticed; the rest is imported."""
    folder = shutil.copytree(exported("webdataset", shard_size="40kB"), tmp_path / "damaged")
    path = folder / "000001.tar"
    data = path.read_bytes()
    index = shards.decode_index((folder / shards.INDEX).read_bytes(), "")
    samples = shards.decode_samples((folder / "000001.index.jsonl").read_bytes(), index.shards[1], "")
    start, size = samples[0].members[shards.RECORD]
    place = data.index(b'"text": "', start, start + size) + len(b'"text": "')
    path.write_bytes(data[:place] + b"X" + data[place + 1 :])

    outcome = bring(folder, size=0, min_size=0)

    source = samples[0].triple.source
    assert (outcome.imported, dict(outcome.rejected)) == (6, {"record-damaged": 1})
    assert f"its SHA-256 is not that in index.json. Left out of it: 1 damaged triple ({source})." in outcome.notes[0]
    require_equal(outcome.dataset, rooms, but=(samples[0].key,))

    header = data.index(f"{samples[0].key}.txt".encode())
    path.write_bytes(data[: header + 400] + b"X" + data[header + 401 :])
    assert "All its photos, maps and records are intact" in bring(folder, out="all", size=0, min_size=0).notes[0]


def test_what_is_missing_of_shards_is_said(exported: Exporter, bring: Importer, tmp_path: Path) -> None:
    """A shard that is missing, or of another size, and a missing index of one."""
    folder = shutil.copytree(exported("webdataset", shard_size="40kB"), tmp_path / "shards")
    tar, index = folder / "000001.tar", folder / "000000.index.jsonl"
    size = tar.stat().st_size

    tar.write_bytes(tar.read_bytes()[:-1])
    with pytest.raises(DatasetError, match=rf"000001\.tar has {size - 1:,} bytes; index\.json says {size:,}\."):
        bring(folder)
    tar.unlink()
    with pytest.raises(DatasetError, match=r"000001\.tar is missing; index\.json lists it\. Copy it again\."):
        bring(folder)
    index.unlink()
    with pytest.raises(DatasetError, match=r"000000\.index\.jsonl is missing; index\.json lists it"):
        bring(folder)


def test_a_dataset_is_copied_with_all_that_it_knows(rooms: Dataset, bring: Importer) -> None:
    """Triples that were left out come along, and so does what can be undone."""
    outcome = bring(rooms.folder, size=0, min_size=0)

    assert outcome.imported == 8
    require_equal(outcome.dataset, rooms)
    assert [triple.review for triple in outcome.dataset.triples()].count("rejected") == 1
    key = rooms[0].key
    relabel.undo(outcome.dataset, key)
    assert pictures(outcome.dataset[key])[1] == history.original_path(rooms.folder, key).read_bytes()
    assert pictures(outcome.dataset[key]) != pictures(rooms[key])


TEXTS = st.text(st.characters(categories=["L", "P", "Zs"]), min_size=1).filter(str.strip)


@settings(max_examples=4)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 2**32), texts=st.lists(TEXTS, min_size=1, max_size=7))
def test_any_prompts_splits_and_decisions_survive(
    kind: Any, seed: int, texts: list[str], rooms: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever persons typed and decided, in any layout."""
    folder, rng = tmp_path_factory.mktemp("any"), random.Random(seed)
    shutil.copytree(rooms.folder, folder / "rooms")
    dataset = Dataset.open(folder / "rooms")

    def changed(triple: Triple) -> Triple:
        text = " ".join(rng.choice(texts).split())
        return replace(written(triple, text), split=rng.choice(SPLITS), review=rng.choice(("open", "accepted")))

    with dataset.writing():
        dataset.replace_all(
            [triple if triple.review == "rejected" else changed(triple) for triple in dataset.triples()]
        )

    exporting.export(dataset, folder / "export", chosen(kind))
    restored = segkit.import_data(folder / "export", folder / "restored").dataset

    require_equal(restored, Dataset.open(folder / "rooms"))


def test_a_caption_that_was_edited_in_an_export_is_taken_over(
    rooms: Dataset, exported: Exporter, bring: Importer, tmp_path: Path
) -> None:
    """Texts of an export belong to whoever changes them; a photo that was changed is no longer that of its record."""
    folder = shutil.copytree(exported("kohya"), tmp_path / "edited")
    first, second = sorted((folder / "img").glob("*.jpg"))[:2]
    first.with_suffix(".txt").write_text("a corrected prompt", "utf-8")
    second.write_bytes(first.read_bytes())

    outcome = bring(folder, size=0, min_size=0)

    triple = outcome.dataset[first.stem]
    assert (triple.text, triple.by_person) == ("a corrected prompt", True)
    assert dict(outcome.rejected) == {"record-damaged": 1}
    assert second.stem not in [triple.key for triple in outcome.dataset]
