"""Hugging Face `datasets` loads a segkit dataset without conversion."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image

from segkit import storage
from segkit.dataset import Dataset, remove
from segkit.dataset.triple import NOBODY, PERSON, Edits, Triple, map_name, photo_name
from segkit.maps.codec import ClassShare
from segkit.palette import Palette
from tests.dataset.test_dataset import build, render

Change = Callable[[int, Triple], Triple]


def load(folder: Path, cache: Path) -> Any:
    """Load a dataset as users do, with default column names."""
    import datasets

    datasets.disable_progress_bars()
    return datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(cache))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset of five triples."""
    return build(render(tmp_path / "photos", 5), tmp_path / "test photos" / "val")


def fill(triple: Triple) -> Triple:
    """Return the triple with all lists and texts filled."""
    geometry = replace(triple.geometry, conversions=("alpha-over-white",))
    triple = triple.edited(edits=Edits(map_by="person", segmenter="oneformer@1", map_edit=3))
    return replace(triple, text="a bed", prompt=PERSON, problems=("prompt-cut", "prompt-repeats"), geometry=geometry)


def empty(triple: Triple) -> Triple:
    """Return the triple with all lists and texts empty."""
    return replace(triple, text="", prompt=NOBODY, problems=(), classes=())


CHANGES: dict[str, Change] = {
    "as built": lambda place, triple: triple,
    "all lists full": lambda place, triple: fill(triple),
    "all lists empty": lambda place, triple: empty(triple),
    "the first empty": lambda place, triple: fill(triple) if place else empty(triple),
    "the last empty": lambda place, triple: empty(triple) if place == 4 else fill(triple),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_triples_load_completely_and_in_exact_colours(dataset: Dataset, tmp_path: Path, change: Change) -> None:
    """Photos, maps and prompts have the default column names, and map pixels the exact colours of their classes."""
    dataset.replace_all([change(place, triple) for place, triple in enumerate(dataset.triples())])
    expected = list(dataset.triples())
    colors = np.frombuffer(Palette.load("ade20k").bytes, np.uint8).reshape(256, 3)

    loaded = load(dataset.folder, tmp_path / "cache")

    assert list(loaded) == ["train"]
    assert [*loaded["train"].column_names[:1], len(loaded["train"])] == ["image", 5]
    assert {"image", "conditioning_image", "text"} <= set(loaded["train"].column_names)
    for row, triple in zip(loaded["train"], expected, strict=True):
        with Image.open(dataset.folder / triple.conditioning_image_file_name) as stored:
            labels = np.asarray(stored)
        assert (np.asarray(row["conditioning_image"].convert("RGB")) == colors[labels]).all()
        assert row["image"].size == row["conditioning_image"].size == (triple.width, triple.height)
        assert (row["text"], row["key"], row["problems"]) == (triple.text, triple.key, " ".join(triple.problems))
        assert [ClassShare(**share) for share in row["classes"]] == list(triple.classes)
        assert Edits(**row["edits"]) == triple.edits


def test_what_is_done_loads_while_a_build_runs_after_a_kill_and_after_a_removal(
    dataset: Dataset, tmp_path: Path
) -> None:
    """While a build runs or after it was killed, what is done; after a removal, no triple that was left out."""
    first, second, *_ = dataset.triples()
    building = Dataset.create(tmp_path / "half", dataset.info)
    for triple in (first, second):
        for name in (triple.file_name, triple.conditioning_image_file_name):
            storage.write(building.folder / name, (dataset.folder / name).read_bytes())
    building.commit([first])
    building.publish()
    (building.folder / first.file_name).with_name(".part-0123456789ab").write_bytes(b"torn")
    remove.remove(dataset, [first.key], None, delete_files=True)

    half = load(building.folder, tmp_path / "cache")["train"]
    rest = load(dataset.folder, tmp_path / "cache2")["train"]

    assert half["key"][:] == [first.key]
    assert rest["key"][:] == [triple.key for triple in dataset]
    assert len(rest) == 4


@pytest.mark.parametrize("number", [1, 300])
def test_any_number_of_lines_is_read(dataset: Dataset, tmp_path: Path, number: int) -> None:
    """One triple can be loaded, and so can hundreds of which only the last has non-empty lists."""
    first = next(dataset.triples())
    data = [(dataset.folder / name).read_bytes() for name in (first.file_name, first.conditioning_image_file_name)]
    triples = []
    for place in range(number):
        key = f"{place:016x}"
        names = photo_name(key, ".jpg"), map_name(key)
        triple = replace(
            first, key=key, sha256=key * 4, group=key, file_name=names[0], conditioning_image_file_name=names[1]
        )
        triples.append(fill(triple) if place == number - 1 else empty(triple))
        for name, content in zip(names, data, strict=True):
            (dataset.folder / name).parent.mkdir(exist_ok=True, parents=True)
            (dataset.folder / name).write_bytes(content)
    dataset.replace_all(triples)

    loaded = load(dataset.folder, tmp_path / "cache")["train"]

    problems = {row["key"]: row["problems"] for row in loaded.remove_columns(["image", "conditioning_image"])}
    assert len(problems) == number
    assert problems[f"{number - 1:016x}"] == "prompt-cut prompt-repeats"
