"""Parts and lists: an edit costs one small part, whatever the size of the dataset, and every reader sees it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from segkit import rows
from segkit.dataset import Dataset, Rejection, records
from segkit.dataset.dataset import Dataset as OpenDataset
from segkit.dataset.lists import Damaged
from segkit.dataset.records import Records
from segkit.dataset.triple import Triple
from tests.dataset.test_dataset import build, drafted, render, written


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset of four triples."""
    return build(render(tmp_path / "photos", 4), tmp_path / "out")


@pytest.fixture
def large(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """The same, taken for one whose manifest is too large to be replaced for an edit."""
    monkeypatch.setattr(records, "SMALL", 0)
    return dataset


def test_an_edit_of_a_large_dataset_writes_one_part(large: Dataset) -> None:
    """The manifest stays as it is, and no other line is decoded; the sequence and every reader see the new prompt."""
    before, key, others = large.manifest.read_bytes(), large[2].key, [large[place].text for place in (0, 1, 3)]

    large.set_prompts({key: "a bright kitchen"})
    reopened = Dataset.open(large.folder)

    assert large.manifest.read_bytes() == before
    assert len(large.parts()) == 1
    assert [triple.text for triple in reopened.triples()] == [*others[:2], "a bright kitchen", others[2]]
    assert reopened[2].text == reopened[key].text == reopened[-2:][0].text == "a bright kitchen"
    assert len(reopened) == 4


def test_many_edits_are_folded_in(large: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts do not pile up: from some number on, the manifest is replaced."""
    monkeypatch.setattr(records, "PARTS", 3)
    texts = [f"room {number}" for number in range(3)]

    for text in texts:
        large.set_prompts({large[0].key: text})

    assert large.parts() == []
    assert b"room 2" in large.manifest.read_bytes()


def test_an_edit_reads_neither_list_nor_rejections(large: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an index, only the lines that are named are read."""
    key, source = large[1].key, large[1].source
    large.commit([], [Rejection("x.jpg", "0" * 64, "damaged", "truncated")])
    with large.writing():
        large.fold()
    other = OpenDataset(large.folder, large.info)
    passes: list[str] = []
    numbered = rows.numbered

    def read(path: Path) -> Iterator[tuple[int, int, bytes]]:
        passes.append(path.parent.name)
        return numbered(path)

    monkeypatch.setattr(rows, "numbered", read)

    other.set_prompts({source: "a bed", key[:6]: "a bed"})

    assert set(passes) <= {"parts"}


def test_what_is_done_is_published_while_a_build_runs(dataset: Dataset) -> None:
    """The first unit is in the manifest at once, later ones as soon as that is cheap, and many at the latest."""
    first, second, third, *_ = dataset.triples()
    dataset.manifest.unlink()
    dataset.commit([first])
    dataset.publish()
    published = [triple.key for triple in dataset]
    dataset._cost = 1000.0
    dataset.commit([second])
    dataset.publish()
    waiting = len(dataset.parts())
    dataset._unfolded = records.PENDING
    dataset.commit([third])
    dataset.publish()

    assert (published, waiting, dataset.parts()) == ([first.key], 1, [])
    assert dataset.manifest.read_bytes().count(b"\n") == 3


def test_names_are_found_in_parts_too(large: Dataset) -> None:
    """A photo that was renamed, and a triple that is not folded in yet, have their names at once."""
    first, *_ = large.triples()
    with large.writing():
        large.commit([replace(first, source="moved/here.jpg")])

    assert large.named("moved/here.jpg") == large.named(first.file_name) == {first.key}
    assert large.named(first.source) == set()
    assert large.named("nothing") == large.named("") == set()


def test_parts_of_another_process_are_not_overwritten(dataset: Dataset) -> None:
    """Two objects that write one after the other number their parts on."""
    first, second, *_ = dataset.triples()
    other = Dataset.open(dataset.folder)
    dataset.commit([written(first, "one")])
    other.commit([written(second, "two")])
    dataset.commit([drafted(first, "three")])

    assert len(dataset.parts()) == 3
    assert [triple.text for triple in dataset.triples()][:2] == ["one", "two"]


def test_edits_of_a_review_are_folded_seldom(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each writes one part that every reader sees, and only new parts are read; many, or another writer, fold them."""
    monkeypatch.setattr(records, "QUICK", 0)
    monkeypatch.setattr(records, "EDITS", 4)
    key, before = dataset[1].key, dataset.manifest.read_bytes()
    reader, parts_read = Dataset.open(dataset.folder), []
    read = Records.read

    def noted(self: Records, path: Path, damaged: Damaged) -> Iterator[Triple | Rejection]:
        if self is reader and path.parent.name == "parts":
            parts_read.append(path.name)
        return read(self, path, damaged)

    monkeypatch.setattr(Records, "read", noted)
    seen = []
    for number in range(3):
        dataset.set_prompt(key, f"text {number}")
        seen.append(reader[key].text)
    left = len(dataset.parts()), dataset.manifest.read_bytes() == before
    dataset.set_prompt(key, "text 3")
    after_four = len(dataset.parts())
    dataset.decide(key, "accepted")
    with dataset.writing():
        pass

    assert seen == ["text 0", "text 1", "text 2"]
    assert len(parts_read) == 3
    assert left == (3, True)
    assert after_four == 0
    assert dataset.parts() == []
    assert (reader[key].text, reader[key].review) == ("text 3", "accepted")
