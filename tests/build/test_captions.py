"""Prompts of a dataset: drafts in units, prompts of a person all or none, and tables of them."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from segkit.build import captions
from segkit.build.settings import DraftingSettings
from segkit.build.tools import Drafter
from segkit.dataset import Dataset
from segkit.errors import DatasetError
from tests.commands.test_caption import build_four, refused, triples
from tests.conftest import Segkit
from tests.dataset.test_dataset import contents

SETTINGS = DraftingSettings(prefix="photo of")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset of four triples: one prompt written by a person, one drafted, two missing."""
    return build_four(tmp_path)


@pytest.mark.parametrize(
    "table",
    [
        "key,text\n000.png,a bed\n003.png,a chair\n",
        "\ufeffkey;text\r\n000.png;a bed\r\n003.png;a chair\r\n",
        'Source,Prompt\n"000.png","a\nbed"\n\n"003.png"," a  chair "\n',
        "note\ttext\tsource\nx\ta bed\t000.png\n\ta chair\t003.png\n",
        ",source,caption\n0,000.png,a bed\n1,003.png,a chair\n",
        "source,Caption,\n000.png,a bed,x\n003.png,a chair,\n",
        ",key,words,text\n0,000.png,no,a bed\n1,003.png,no,a chair\n",
    ],
)
def test_prompts_are_read_from_a_table(segkit: Segkit, dataset: Dataset, tmp_path: Path, table: str) -> None:
    """Commas, semicolons, tabs, a BOM, line breaks, additional columns, empty rows and pandas' index are accepted."""
    (tmp_path / "prompts.csv").write_bytes(table.encode())

    shown = segkit("caption", dataset.folder, "--from-csv", tmp_path / "prompts.csv", "--json")

    assert (shown.code, json.loads(shown.out)["written"]) == (0, 2)
    assert [triple.text for triple in triples(dataset)] == ["a bed", "an old draft", "", "a chair"]
    assert [triple.prompt.human for triple in triples(dataset)] == [True, False, False, True]


def test_cells_are_plain_text(segkit: Segkit, dataset: Dataset, tmp_path: Path) -> None:
    """Quoted commas and quotes, formulas and NA are stored as they were written."""
    (tmp_path / "prompts.csv").write_text('key,text\n000.png,"a ""red"" bed, a chair"\n001.png,=1+1\n002.png,NA\n')

    segkit("caption", dataset.folder, "--from-csv", tmp_path / "prompts.csv")

    assert [triple.text for triple in triples(dataset)][:3] == ['a "red" bed, a chair', "=1+1", "NA"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "No such file"),
        (b"", "has no columns. Expected one key column"),
        (b"name,words\n000.png,a bed\n", "has the columns name, words. Expected one key column"),
        (b",source,words\n0,000.png,a bed\n", "has the columns (no name), source, words. Expected one key column"),
        (b"source,\n000.png,a bed\n", "has the columns source, (no name). Expected"),
        (b",,text\n000.png,1,a bed\n", "has the columns (no name), (no name), text. Expected"),
        (b"key,text,text\n000.png,a bed,a chair\n", "Expected one key column (key, source or file_name) and one text"),
        (b"key,text\n000.png,a bed\nnothing.png,a chair\n", "'nothing.png' is not a key, source or file name"),
        (b"key,text\n000.png,a bed\n001.png,\n", "The prompt for 001.png is empty"),
        (b"key,text\n000.png,a bed\n000.png,a chair\n", "000.png has two prompts"),
        (b"key,text\n000.png,a bed, a chair\n", "line 2: 3 cells, expected 2. Put texts that contain ',' in quotes."),
        (b"key,text\n000.png\n", "line 2: 1 cell, expected 2"),
        (b'key,text\n000.png,"a bed\n', "line 2: unexpected end of data"),
        (b'key,text\n000.png,"a "bed"\n', "line 2: "),
        ("key,text\n000.png,café\n".encode("latin-1"), "neither UTF-8 nor UTF-16 text. Save it as CSV UTF-8"),
        ("key,text\n000.png,a bed\n".encode("utf-16-le"), "contains NUL characters, as UTF-16 without a byte-order"),
    ],
)
def test_an_invalid_table_changes_nothing(
    segkit: Segkit, dataset: Dataset, tmp_path: Path, table: bytes | None, message: str
) -> None:
    """A single bad row prevents all changes, and the message names the row and the problem."""
    if table is not None:
        (tmp_path / "prompts.csv").write_bytes(table)
    before = contents(dataset.folder)

    shown = segkit("caption", dataset.folder, "--from-csv", tmp_path / "prompts.csv")

    assert message in refused(shown)
    assert contents(dataset.folder) == before


def load(settings: DraftingSettings) -> Drafter:
    """Return a captioner without a network, which names the size of a photo."""

    def caption(photos: Sequence[Image.Image]) -> list[str]:
        return [f"a picture {photo.width} wide" for photo in photos]

    return Drafter(caption, lambda text: len(text.split()) + 2, "sizes", "1", batch=2)


@pytest.mark.parametrize(("redo", "places"), [(False, [2, 3]), (True, [1, 2, 3])])
def test_drafts_are_recorded_in_units(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, redo: bool, places: list[int]
) -> None:
    """Progress is reported for each unit; the networks are recorded with the dataset and with each prompt."""
    monkeypatch.setattr(captions, "UNIT", 2)
    calls = []

    result = captions.draft(
        dataset,
        SETTINGS,
        load,
        redo=redo,
        progress=lambda stage, done, total, note="": calls.append((stage, done, total)),
    )

    assert (result.drafted, result.restyled, result.unstyled) == (len(places), 0, 0 if redo else 1)
    number = len(places)
    assert calls == [("prompts", done, number) for done in ([2] if number == 2 else [2, 3])]
    after = triples(dataset)
    assert [place for place in range(4) if after[place].text.startswith("photo of a picture")] == places
    assert all((after[place].prompt.model, after[place].tokens) == ("sizes", 8) for place in places)
    assert Dataset.open(dataset.folder).info.models["captioner"] == {"name": "sizes", "revision": "1"}


def test_the_captioner_is_loaded_only_if_needed(dataset: Dataset) -> None:
    """With a prompt for every triple there is nothing to draft, and nothing changes."""
    captions.draft(dataset, SETTINGS, load)
    before = contents(dataset.folder)

    def fail(settings: DraftingSettings) -> Drafter:
        raise AssertionError

    assert captions.draft(dataset, SETTINGS, fail) == captions.Drafted()
    assert contents(dataset.folder) == before


def test_a_photo_that_does_not_open_is_reported_at_the_end(dataset: Dataset) -> None:
    """All other prompts are drafted first."""
    broken = triples(dataset)[2].file_name
    (dataset.folder / broken).write_bytes(b"broken")

    with pytest.raises(DatasetError, match=rf"1 of 2 photos cannot be opened, such as {broken}; all other prompts"):
        captions.draft(dataset, SETTINGS, load)

    assert [bool(triple.text) for triple in triples(dataset)] == [True, True, False, True]


def styled(dataset: Dataset, *, prefix: str = "", suffix: str = "", template: str = "") -> captions.Drafted:
    """Draft with a style and a captioner that must not run."""

    def fail(settings: DraftingSettings) -> Drafter:
        raise AssertionError

    return captions.draft(dataset, DraftingSettings(prefix=prefix, suffix=suffix, template=template), fail)


def texts(dataset: Dataset) -> list[str]:
    """Return the prompts."""
    return [triple.text for triple in triples(dataset)]


def test_a_new_style_is_applied_to_stored_captions(dataset: Dataset) -> None:
    """Without a captioner; a person's words and drafts without a caption stay, and the style is remembered."""
    captions.draft(dataset, SETTINGS, load)

    changed = styled(dataset, suffix=", 35mm", template="{caption} of {classes}")

    assert changed == captions.Drafted(0, 2, 1)
    first, second, *others = triples(dataset)
    assert (first.text, second.text) == ("my own words", "an old draft")
    assert all(triple.text.startswith("photo of a picture") and triple.text.endswith(", 35mm") for triple in others)
    assert all(triple.classes[0].name in triple.text and not triple.by_person for triple in others)
    assert all(triple.prompt.model == "sizes" and triple.tokens > 2 for triple in others)
    settings = Dataset.open(dataset.folder).info.settings
    assert [settings[name] for name in ("prefix", "suffix", "template")] == [
        "photo of",
        ", 35mm",
        "{caption} of {classes}",
    ]
    assert styled(dataset) == captions.Drafted()


def test_a_style_can_be_removed(dataset: Dataset, segkit: Segkit) -> None:
    """On the command line by an empty text, from Python by a blank: the bare captions are the prompts again."""
    captions.draft(dataset, SETTINGS, load)
    styled(dataset, suffix="35mm", template="{classes}")
    before = texts(dataset)

    shown = segkit("caption", dataset.folder, "--suffix", "", "--template", "", "--prefix", "")

    assert "without a captioner: 2" in shown.out
    assert all(text.endswith("35mm") for text in before[2:])
    assert texts(dataset)[2:] == [f"a picture {triple.width} wide" for triple in triples(dataset)[2:]]
    styled(dataset, prefix="x", suffix="y")
    styled(dataset, prefix=" ", suffix=" ")
    assert texts(dataset)[2:] == [f"a picture {triple.width} wide" for triple in triples(dataset)[2:]]


def test_a_killed_change_of_style_is_completed(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after the style was recorded, the next run composes the prompts with it, without being asked."""
    captions.draft(dataset, SETTINGS, load)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Dataset, "commit", stop)
        with pytest.raises(KeyboardInterrupt):
            styled(dataset, suffix="35mm")
    left = texts(dataset)
    changed = styled(dataset)

    assert not any(text.endswith("35mm") for text in left)
    assert changed.restyled == 2
    assert all(text.endswith("35mm") for text in texts(dataset)[2:])
    assert captions.UNFINISHED not in Dataset.open(dataset.folder).info.settings


def test_photos_without_a_row_in_the_table_are_named(segkit: Segkit, dataset: Dataset, tmp_path: Path) -> None:
    """A table for two of four photos, in UTF-16 as Excel saves Unicode text, says which two it leaves out."""
    (tmp_path / "prompts.txt").write_bytes("source\ttext\n000.png\ta bed\n003.png\tein Stuhl, grün\n".encode("utf-16"))

    shown = segkit("caption", dataset.folder, "--from-csv", tmp_path / "prompts.txt")

    assert shown.out.splitlines() == [
        "Photos without a row in the table, whose prompts stay: 2 (001.png, 002.png).",
        f"{dataset.folder}: 2 hand-written prompts set.",
    ]
    assert texts(dataset)[3] == "ein Stuhl, grün"


def test_a_style_and_an_edit_do_not_mix(segkit: Segkit, dataset: Dataset) -> None:
    """A suffix for drafts together with a typed prompt is refused instead of being ignored."""
    shown = segkit("caption", dataset.folder, "--suffix", "35mm", "--edit", "000.png", "a bed")

    assert "--suffix and --template change drafts and cannot be combined with --edit" in refused(shown)
