"""segkit.dataset.edits: prompts of a person are set all or none, and read from tables."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from segkit.dataset import Dataset, edits
from segkit.errors import UsageError
from tests.commands.test_caption import build_four, refused, triples
from tests.conftest import Segkit
from tests.dataset.test_dataset import contents


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset of four triples: one prompt written by a person, one drafted, two missing."""
    return build_four(tmp_path)


def test_a_dataset_sets_prompts(dataset: Dataset) -> None:
    """A hand-written prompt replaces a draft, its length is estimated, and the sequence shows it."""
    key = dataset[2].key

    assert dataset.set_prompts({key: "a  bright kitchen"}) == 1
    assert (dataset[key].text, dataset[key].by_person) == ("a bright kitchen", True)
    assert dataset[key].tokens > 3


def test_an_ambiguous_name_lists_the_candidates(segkit: Segkit, dataset: Dataset) -> None:
    """A source that two triples share, from two photo folders, is refused with a list of their keys."""
    first, second, *rest = triples(dataset)
    dataset.replace_all([first, replace(second, source=first.source), *rest])
    before = contents(dataset.folder)

    shown = segkit("caption", dataset.folder, "--edit", first.source, "a bed")

    line = refused(shown)
    assert "matches 2 triples" in line
    assert first.key in line
    assert second.key in line
    assert contents(dataset.folder) == before


def test_prompts_are_set_all_or_none(dataset: Dataset) -> None:
    """A mistake in the last prompt changes nothing; equal prompts for one triple are accepted."""
    before = contents(dataset.folder)
    first, second, *_ = triples(dataset)
    prompts = [(first.key, "a bed"), (second.source, "a  chair"), (second.key[:4], "a chair")]

    with pytest.raises(UsageError, match=r"'nothing' is not a key, source or file name"):
        edits.set_prompts(dataset, [*prompts, ("nothing", "a lamp")], len)
    with pytest.raises(UsageError, match=r"has two prompts: 'a bed' and 'a lamp'\. Keep one"):
        edits.set_prompts(dataset, [*prompts, (first.file_name, "a lamp")], len)
    assert contents(dataset.folder) == before

    assert len(edits.set_prompts(dataset, prompts, len)) == 2
    assert [(triple.text, triple.tokens) for triple in triples(dataset)][:2] == [("a bed", 5), ("a chair", 7)]


def test_only_prompts_of_a_person_can_be_too_long(dataset: Dataset) -> None:
    """Drafts are cut to fit; 77 tokens are allowed."""
    first, _, third, _ = triples(dataset)
    edits.set_prompts(dataset, [(first.key, "a" * 78), (third.key, "a" * 77)], len)

    assert edits.too_long(dataset) == 1


def test_a_column_is_chosen_by_preference(tmp_path: Path) -> None:
    """A key is preferred to a source, and text to prompt; other columns are ignored."""
    (tmp_path / "a.csv").write_text("prompt,source,key,text\nno,no.jpg,abcd,yes\n")

    assert edits.read_csv(tmp_path / "a.csv") == [("abcd", "yes")]


def test_the_table_that_pandas_writes_is_read(dataset: Dataset, tmp_path: Path) -> None:
    """With the key as index, or with a numbered one that has no name."""
    table = dataset.to_pandas()[["source", "text"]]
    table["text"] = "a bed"
    table.to_csv(tmp_path / "keys.csv")
    table.reset_index(drop=True).to_csv(tmp_path / "numbers.csv")

    assert edits.read_csv(tmp_path / "keys.csv") == [(key, "a bed") for key in table.index]
    assert edits.read_csv(tmp_path / "numbers.csv") == [(source, "a bed") for source in table["source"]]
