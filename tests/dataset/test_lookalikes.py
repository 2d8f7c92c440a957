"""Photos that show the same picture in two splits are found; photos whose hashes merely agree are not."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from PIL import Image, ImageOps

from segkit.dataset import Dataset, lookalikes
from segkit.dataset.triple import Triple
from segkit.photos import near_duplicates
from segkit.toy import world
from tests.dataset.test_dataset import build


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Three photos, and a mirrored and compressed copy of the first, in the group of the first."""
    folder = tmp_path_factory.mktemp("lookalikes")
    (folder / "photos").mkdir()
    for seed in range(3):
        world.scene(seed, (160, 120)).photo.save(folder / "photos" / f"{seed}.png")
    ImageOps.mirror(world.scene(0, (160, 120)).photo).save(folder / "photos" / "0 mirrored.jpg", quality=60)
    return build(folder / "photos", folder / "out", split="", keep_duplicates=True)


def pairs(dataset: Dataset, triples: list[Triple]) -> list[tuple[str, str]]:
    """Return the sources of the photos that are in different splits."""
    return [(one.source, other.source) for one, other in lookalikes.across_splits(dataset.folder, triples)]


def test_a_copy_in_another_split_is_found(dataset: Dataset) -> None:
    """The mirrored copy is reported unless it is in the same group, which another rule covers."""
    copy, *others = dataset.triples()
    moved = replace(copy, split="val")

    assert copy.source == "0 mirrored.jpg"
    assert pairs(dataset, [moved, *others]) == []
    assert pairs(dataset, [replace(moved, group="f" * 16), *others]) == [("0 mirrored.jpg", "0.png")]
    assert pairs(dataset, [*others, replace(copy, group="f" * 16)]) == []


def test_a_hash_alone_is_no_likeness(dataset: Dataset) -> None:
    """Photos with one hash and different pictures are not reported, nor are those without a file."""
    _, first, second, third = dataset.triples()
    same = [replace(triple, phash=first.phash) for triple in (first, second, third)]
    same[1] = replace(same[1], split="test")

    assert pairs(dataset, same) == []
    absent = replace(same[0], group="0" * 16, file_name="images/00/none.jpg", split="val")
    assert pairs(dataset, [same[0], absent, same[2]]) == []


def test_the_stored_photos_decide(dataset: Dataset, tmp_path: Path) -> None:
    """A photo that was replaced by the picture of another one counts as what it shows now."""
    _, first, second, third = dataset.triples()
    with Image.open(dataset.folder / first.file_name) as photo:
        shown = photo.convert("RGB")
    (tmp_path / "images").mkdir()
    for triple in (first, second, third):
        path = tmp_path / triple.file_name
        path.parent.mkdir(exist_ok=True)
        shown.resize((80, 60)).save(path, quality=70)
    phash = f"{near_duplicates.perceptual_hash(shown):016x}"
    renamed = [first, replace(second, split="val", phash=phash), third]

    assert pairs(Dataset(tmp_path, dataset.info), renamed) == [(second.source, first.source)]
