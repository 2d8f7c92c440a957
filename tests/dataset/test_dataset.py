"""segkit.dataset.dataset: parts, folding and damage; and the quick builds that other tests share."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image

from segkit.build import pipeline as building
from segkit.build import units
from segkit.build.settings import BuildSettings
from segkit.build.tools import Networks
from segkit.dataset import Dataset, Rejection
from segkit.dataset.triple import PERSON, Prompt, Triple
from segkit.errors import DatasetError
from segkit.models.segment import Segmentation
from segkit.palette import Palette
from segkit.toy import world
from tests.conftest import Segkit

UNIT = 3
"""Photos per unit in quick builds, so that a few photos form several parts."""


class Unbatched(Networks):
    """Networks that are plain functions, without torch."""

    def __call__(self, photos: Sequence[Image.Image]) -> list[Segmentation]:
        """Segment photos of one size."""
        return self.segment(photos)


def brightness(photos: Sequence[Image.Image]) -> list[Segmentation]:
    """Segment by brightness: eight classes, from wall to bed."""
    grey = [np.asarray(photo.convert("L")) // 32 for photo in photos]
    return [Segmentation(labels, np.full(labels.shape, 0.5, np.float32)) for labels in grey]


def render(folder: Path, number: int, first: int = 0) -> Path:
    """Render small photos in three sizes into a folder and return it."""
    folder.mkdir(exist_ok=True)
    for seed in range(first, first + number):
        size = ((160, 120), (120, 160), (144, 96))[seed % 3]
        world.scene(seed, size).photo.save(folder / f"{seed:03}.png")
    return folder


def build(photos: Path, out: Path, split: str = "val=0.2", keep_duplicates: bool = False) -> Dataset:
    """Build a dataset quickly: no networks, small units, no prompts."""
    chosen = BuildSettings(size=96, min_size=80, caption=False, split=split, keep_duplicates=keep_duplicates)
    tools = Unbatched(Palette.load("ade20k"), brightness, None, "brightness", "1", batch=2)
    before, units.UNIT = units.UNIT, UNIT
    try:
        building.build_dataset(photos, out, chosen, load=lambda _: tools)
    finally:
        units.UNIT = before
    return Dataset.open(out)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a dataset except the lock and what is derived from the others."""
    files = (
        path for path in folder.rglob("*") if path.is_file() and path.name != "lock" and path.parent.name != "cache"
    )
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def drafted(triple: Triple, text: str) -> Triple:
    """Return the triple with a drafted prompt."""
    return replace(triple, text=text, tokens=_tokens(text), prompt=Prompt("model", "m", "1", human=False))


def written(triple: Triple, text: str) -> Triple:
    """Return the triple with a hand-written prompt."""
    return replace(triple, text=text, tokens=_tokens(text), prompt=PERSON)


def _tokens(text: str) -> int:
    """Return a plausible number of tokens of a text, within the budget."""
    return min(len(text.split()) + 2, 77)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset of five triples."""
    return build(render(tmp_path / "photos", 5), tmp_path / "out")


def test_a_finished_unit_is_visible_and_folded_in_by_the_next_writer(dataset: Dataset) -> None:
    """A part left by a killed run counts as finished, and the next writer merges it into the manifest."""
    first, *_ = dataset.triples()
    dataset.commit([drafted(first, "a bed")])

    before = [triple.text for triple in dataset.triples()]
    with dataset.writing():
        pass

    assert before == ["a bed", "", "", "", ""]
    assert [triple.text for triple in dataset.triples()] == before
    assert dataset.parts() == []
    assert b"a bed" in dataset.manifest.read_bytes()


@pytest.mark.parametrize("replaced", [(), ("rejected.jsonl",), ("rejected.jsonl", "metadata.jsonl")])
@pytest.mark.parametrize("left", [(0, 1), (1,)])
def test_a_killed_fold_can_be_repeated(dataset: Dataset, replaced: tuple[str, ...], left: tuple[int, ...]) -> None:
    """Killed before or between replacing the lists, or while removing parts: the next writer gets the same result."""
    first, second, *_ = dataset.triples()
    dataset.commit([drafted(first, "a bed")], [Rejection("x.jpg", "", "unreadable", "Input/output error")])
    dataset.commit([drafted(second, "a chair")], [Rejection("x.jpg", "0" * 64, "damaged", "truncated")])
    parts = {part: part.read_bytes() for part in dataset.parts()}
    old = contents(dataset.folder)
    dataset.fold()
    whole = contents(dataset.folder)

    for name in ("metadata.jsonl", ".segkit/rejected.jsonl"):
        if Path(name).name not in replaced:
            (dataset.folder / name).write_bytes(old[name])
    for place, (part, data) in enumerate(parts.items()):
        if place in left or "metadata.jsonl" not in replaced:
            part.write_bytes(data)
    with dataset.writing():
        pass

    assert contents(dataset.folder) == whole


def test_a_draft_never_replaces_a_hand_written_prompt(dataset: Dataset) -> None:
    """A unit of drafts recorded after a hand-written prompt leaves that prompt alone."""
    first, second, *_ = dataset.triples()
    with dataset.writing():
        dataset.commit([written(first, "my own words")])
        dataset.commit([drafted(first, "a room with a room"), drafted(second, "a chair")])
        seen = [triple.text for triple in dataset.triples()]
        dataset.fold()

    assert seen[:2] == ["my own words", "a chair"]
    assert [triple.text for triple in dataset.triples()] == seen
    assert next(dataset.triples()).prompt == PERSON


def test_a_rejection_is_dropped_when_the_photo_becomes_a_triple(dataset: Dataset) -> None:
    """A photo that was unreadable or too small is no longer listed as rejected once it has become a triple."""
    first, *_ = dataset.triples()
    with dataset.writing():
        stays = Rejection("b.jpg", "1" * 64, "damaged", "truncated")
        rejections = [
            Rejection(first.source, "", "unreadable", "No space left on device"),
            Rejection(first.source, first.sha256, "too-small", "8x8"),
            stays,
        ]
        dataset.commit([], rejections)
        dataset.fold()

    assert list(dataset.rejections()) == [stays]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("dataset.toml", b"format = 1", b"format = 2"), "has format 2; this segkit reads up to 1. Update segkit."),
        (("dataset.toml", b"format = 1", b"format = '1'"), "dataset.toml is damaged"),
        (("dataset.toml", b"format = 1\n", b""), "dataset.toml is damaged: format is missing"),
        (("dataset.toml", b"[palette]", b"[pal"), "dataset.toml is damaged"),
        (("dataset.toml", b'name = "wall"', b'name = "walls"'), "its hash does not match"),
        (("dataset.toml", b'name = "wall"', b'name = "sky"'), "dataset.toml is damaged"),
        (("dataset.toml", b"[models.segmenter]", b"[models]"), "dataset.toml is damaged"),
        (("dataset.toml", b"format", b"\xff"), "dataset.toml is damaged"),
        (("../metadata.jsonl", b'{"file_name"', b'{"file_name'), "metadata.jsonl, line 1 is damaged"),
        (("../metadata.jsonl", b'"file_name"', b'"photo"'), "metadata.jsonl, line 1 is damaged: file_name missing"),
        (("../metadata.jsonl", b'{"file_name"', b"[" * 100_000), "metadata.jsonl, line 1 is damaged"),
        (("../metadata.jsonl", b"{", b"\x00\xff{"), "metadata.jsonl, line 1 is damaged"),
        (("rejected.jsonl", b"", b'{"source": 1}\n'), "rejected.jsonl, line 1 is damaged"),
    ],
)
def test_damage_is_one_clear_line(
    segkit: Segkit, dataset: Dataset, tmp_path: Path, change: tuple[str, bytes, bytes], message: str
) -> None:
    """A damaged dataset is refused with one line that names the place, and is not changed."""
    name, before, after = change
    file = dataset.hidden / name
    assert before in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(before, after, 1))
    damaged = contents(dataset.folder)

    with pytest.raises(DatasetError) as refused:
        build(tmp_path / "photos", dataset.folder)
    assert message in str(refused.value)
    if name != "rejected.jsonl":  # an edit of a prompt does not read it
        shown = segkit("caption", dataset.folder, "--edit", "000.png", "a room")
        assert (shown.code, shown.err.count("\n"), shown.out) == (2, 1, "")
        assert message in shown.err
    assert contents(dataset.folder) == damaged


@pytest.mark.parametrize("command", ["check", "caption"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "no such folder"),
        ("photos", "it contains no .segkit/dataset.toml"),
        ("photos/000.png", "it is a file"),
    ],
)
def test_a_folder_that_is_not_a_dataset_is_refused(
    segkit: Segkit, tmp_path: Path, command: str, name: str, message: str
) -> None:
    """Any other path in place of a dataset: one line that says what it is and how to create one."""
    render(tmp_path / "photos", 1)

    shown = segkit(command, tmp_path / name)

    assert (shown.code, shown.err.count("\n")) == (2, 1)
    assert message in shown.err
    assert "segkit build-dataset PHOTOS" in shown.err


@pytest.mark.parametrize(
    ("out", "message"), [("file", "is a file"), ("full", "not empty"), ("file/below", "file: File exists")]
)
def test_an_unsuitable_output_is_refused(segkit: Segkit, tmp_path: Path, out: str, message: str) -> None:
    """A file or a folder with other content never becomes a dataset, and is not changed."""
    render(tmp_path / "photos", 1)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    before = contents(tmp_path)

    shown = segkit("build-dataset", tmp_path / "photos", "-o", tmp_path / out)

    assert (shown.code, shown.err.count("\n")) == (2, 1)
    assert message in shown.err
    assert contents(tmp_path) == before


def test_every_line_has_every_key_with_one_type(dataset: Dataset) -> None:
    """A schema inferred from some lines is valid for all of them."""

    def types(value: object) -> object:
        if isinstance(value, dict):
            return {key: types(each) for key, each in value.items()}
        if isinstance(value, list):
            return [types(each) for each in value[:1]] or "any list"
        return type(value).__name__

    lines = [json.loads(line) for line in dataset.manifest.read_text().splitlines()]

    assert len(lines) == 5
    assert all(types(line) == types(lines[0]) for line in lines)


def test_settings_recorded_by_another_process_are_kept(dataset: Dataset) -> None:
    """A dataset that was opened before a second process changed its settings reads them again with the lock."""
    other = Dataset.open(dataset.folder)
    other.save_info(replace(other.info, settings={**other.info.settings, "split": "val=0.5"}))

    with dataset.writing():
        dataset.save_info(replace(dataset.info, models={**dataset.info.models, "tokenizer": {"name": "estimate"}}))

    assert Dataset.open(dataset.folder).info.settings["split"] == "val=0.5"
