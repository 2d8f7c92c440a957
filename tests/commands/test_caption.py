"""segkit caption: drafting fills gaps and never overwrites hand-written prompts."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from segkit.dataset import Dataset
from segkit.dataset.triple import NOBODY, PERSON, Triple
from tests.conftest import Models, Result, Segkit
from tests.dataset.test_dataset import build, contents, drafted, render, written


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset of four triples: one hand-written prompt, one draft, two missing prompts."""
    made = build(render(tmp_path / "photos", 4), tmp_path / "out")
    first, second, *rest = made.triples()
    made.replace_all([written(first, "my own words"), drafted(second, "an old draft"), *rest])
    return made


@pytest.fixture
def draft(models: Models) -> list[object]:
    """Options that make segkit caption use the small networks."""
    return ["--captioner", models.blip, "--tokenizer", models.clip, "--caption-tokens", "6", "--prefix", "photo of"]


def triples(dataset: Dataset) -> list[Triple]:
    """Reread the manifest."""
    return list(Dataset.open(dataset.folder).triples())


def refused(result: Result) -> str:
    """Return the error line of a command that exited with code 2."""
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    return result.err


@pytest.mark.parametrize(
    ("options", "changed"), [([], [2, 3]), (["--only-missing"], [2, 3]), (["--redo-drafts"], [1, 2, 3])]
)
def test_drafting_keeps_hand_written_prompts(
    segkit: Segkit, dataset: Dataset, draft: list[object], options: list[str], changed: list[int]
) -> None:
    """By default missing prompts are drafted, with --redo-drafts earlier drafts too, but never hand-written ones."""
    before = triples(dataset)

    shown = segkit("caption", dataset.folder, *options, *draft, "--json")

    after = triples(dataset)
    assert (shown.code, json.loads(shown.out)["drafted"]) == (0, len(changed))
    assert [place for place in range(4) if after[place] != before[place]] == changed
    assert all(after[place].text.startswith("photo of") and not after[place].prompt.human for place in changed)
    assert [replace(triple, text="", tokens=0, prompt=NOBODY, problems=()) for triple in after] == [
        replace(triple, text="", tokens=0, prompt=NOBODY, problems=()) for triple in before
    ]


def test_redrafting_gives_the_same_bytes(segkit: Segkit, dataset: Dataset, draft: list[object]) -> None:
    """Redoing drafts with the same model and settings changes nothing."""
    segkit("caption", dataset.folder, "--redo-drafts", *draft)
    before = contents(dataset.folder)

    again = segkit("caption", dataset.folder, "--redo-drafts", *draft)
    missing = segkit("caption", dataset.folder, *draft)

    assert (again.code, missing.code) == (0, 0)
    assert "--redo-drafts redrafts them" in missing.out
    assert contents(dataset.folder) == before


def test_the_captioner_is_recorded(segkit: Segkit, dataset: Dataset, draft: list[object]) -> None:
    """The captioner is recorded in the dataset and with each prompt."""
    segkit("caption", dataset.folder, *draft)

    model = Dataset.open(dataset.folder).info.models["captioner"]
    assert model["name"] == triples(dataset)[2].prompt.model != ""
    assert model["revision"] == triples(dataset)[2].prompt.revision


def test_one_broken_photo_does_not_stop_the_others(segkit: Segkit, dataset: Dataset, draft: list[object]) -> None:
    """Photos that do not open are reported at the end with the next step; all others get prompts."""
    broken = triples(dataset)[2].file_name
    (dataset.folder / broken).write_bytes(b"broken")

    shown = segkit("caption", dataset.folder, *draft)

    line = refused(shown)
    assert f"1 of 2 photos do not open, such as {broken}" in line
    assert "segkit check" in line
    assert [bool(triple.text) for triple in triples(dataset)] == [True, True, False, True]


def test_a_missing_captioner_changes_nothing(segkit: Segkit, dataset: Dataset, tmp_path: Path) -> None:
    """A wrong --captioner is reported in one line before anything is drafted."""
    before = contents(dataset.folder)

    shown = segkit("caption", dataset.folder, "--captioner", tmp_path / "nowhere")

    refused(shown)
    assert contents(dataset.folder) == before


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("name", ["key", "prefix", "source", "file_name"])
def test_edit_sets_one_prompt(segkit: Segkit, dataset: Dataset, place: int, name: str) -> None:
    """--edit finds the triple by key, key prefix, source or file, and sets the normalised prompt."""
    before = triples(dataset)
    wanted = before[place].key[:6] if name == "prefix" else getattr(before[place], name)

    shown = segkit("caption", dataset.folder, "--edit", wanted, "  a red\n bed, Zürich ")

    after = triples(dataset)
    assert (shown.code, shown.err) == (0, "")
    assert (after[place].text, after[place].prompt, after[place].problems) == ("a red bed, Zürich", PERSON, ())
    assert after[place].tokens > 2
    assert [*after[:place], *after[place + 1 :]] == [*before[:place], *before[place + 1 :]]


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("nothing.png", "a bed", "'nothing.png' is no key or source of the dataset. Keys stand in metadata.jsonl"),
        ("", "a bed", "'' is no key"),
        ("000.png", "", "The prompt for 000.png is empty"),
        ("000.png", " \n ", "The prompt for 000.png is empty"),
        ("000.png", "caf\udce9", "The prompt for 000.png is not UTF-8 text"),
    ],
)
def test_an_edit_that_cannot_be_done_changes_nothing(
    segkit: Segkit, dataset: Dataset, key: str, text: str, message: str
) -> None:
    """An unknown triple or an invalid text is reported in one line, and the dataset is unchanged."""
    before = contents(dataset.folder)

    shown = segkit("caption", dataset.folder, "--edit", key, text)

    assert message in refused(shown)
    assert contents(dataset.folder) == before


def test_an_ambiguous_name_lists_the_candidates(segkit: Segkit, dataset: Dataset) -> None:
    """A source shared by two triples (from two photo folders) is refused; the error lists their keys."""
    first, second, *rest = triples(dataset)
    dataset.replace_all([first, replace(second, source=first.source), *rest])
    before = contents(dataset.folder)

    shown = segkit("caption", dataset.folder, "--edit", first.source, "a bed")

    line = refused(shown)
    assert "means 2 triples" in line
    assert first.key in line
    assert second.key in line
    assert contents(dataset.folder) == before


def test_drafting_and_editing_cannot_be_combined(segkit: Segkit, dataset: Dataset) -> None:
    """--redo-drafts is refused, not ignored, together with --edit."""
    shown = segkit("caption", dataset.folder, "--redo-drafts", "--edit", "000.png", "a bed")

    assert "--redo-drafts cannot be combined with --edit or --from-csv" in refused(shown)


@pytest.mark.parametrize(
    "table",
    [
        "key,text\n000.png,a bed\n003.png,a chair\n",
        "\ufeffkey;text\r\n000.png;a bed\r\n003.png;a chair\r\n",
        'Source,Prompt\n"000.png","a\nbed"\n\n"003.png"," a  chair "\n',
        "note\ttext\tsource\nx\ta bed\t000.png\n\ta chair\t003.png\n",
    ],
)
def test_prompts_come_from_a_table(segkit: Segkit, dataset: Dataset, tmp_path: Path, table: str) -> None:
    """Commas, semicolons, tabs, a BOM, quoted line breaks, further columns and empty rows are accepted."""
    (tmp_path / "prompts.csv").write_bytes(table.encode())

    shown = segkit("caption", dataset.folder, "--from-csv", tmp_path / "prompts.csv", "--json")

    assert (shown.code, json.loads(shown.out)["written"]) == (0, 2)
    assert [triple.text for triple in triples(dataset)] == ["a bed", "an old draft", "", "a chair"]
    assert [triple.prompt.human for triple in triples(dataset)] == [True, False, False, True]


def test_cells_are_read_verbatim(segkit: Segkit, dataset: Dataset, tmp_path: Path) -> None:
    """Cells are plain text: commas, quotes, =formulas and NA are read verbatim."""
    (tmp_path / "prompts.csv").write_text('key,text\n000.png,"a ""red"" bed, a chair"\n001.png,=1+1\n002.png,NA\n')

    segkit("caption", dataset.folder, "--from-csv", tmp_path / "prompts.csv")

    assert [triple.text for triple in triples(dataset)][:3] == ['a "red" bed, a chair', "=1+1", "NA"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "No such file"),
        (b"", "the columns are . Expected one key and one text"),
        (b"name,words\n000.png,a bed\n", "the columns are name, words. Expected one key and one text"),
        (b"key,text,text\n000.png,a bed,a chair\n", "Expected one key and one text"),
        (b"key,text\n000.png,a bed\nnothing.png,a chair\n", "'nothing.png' is no key or source"),
        (b"key,text\n000.png,a bed\n001.png,\n", "The prompt for 001.png is empty"),
        (b"key,text\n000.png,a bed\n000.png,a chair\n", "000.png is given two prompts"),
        (b"key,text\n000.png,a bed, a chair\n", "line 2: 3 cells, expected 2. Put a text with , in quotes."),
        (b"key,text\n000.png\n", "line 2: 1 cells, expected 2"),
        (b'key,text\n000.png,"a bed\n', "line 2: unexpected end of data"),
        (b'key,text\n000.png,"a "bed"\n', "line 2: "),
        ("key,text\n000.png,café\n".encode("latin-1"), "not UTF-8 text. Save it as CSV UTF-8"),
        ("key,text\n000.png,a bed\n".encode("utf-16"), "not UTF-8 text. Save it as CSV UTF-8"),
    ],
)
def test_an_invalid_table_changes_nothing(
    segkit: Segkit, dataset: Dataset, tmp_path: Path, table: bytes | None, message: str
) -> None:
    """With one bad row no prompt is set; the error names the row and the reason."""
    if table is not None:
        (tmp_path / "prompts.csv").write_bytes(table)
    before = contents(dataset.folder)

    shown = segkit("caption", dataset.folder, "--from-csv", tmp_path / "prompts.csv")

    assert message in refused(shown)
    assert contents(dataset.folder) == before


def test_a_long_hand_written_prompt_is_kept_and_reported(segkit: Segkit, dataset: Dataset, models: Models) -> None:
    """It is never truncated; segkit check reports that it exceeds CLIP's limit."""
    text = " ".join(["bed"] * 100)

    shown = segkit("caption", dataset.folder, "--edit", "000.png", text, "--tokenizer", models.clip)
    checked = segkit("check", dataset.folder, "--json")

    assert shown.code == 0
    assert triples(dataset)[0].text == text
    assert json.loads(checked.out)["counts"]["prompt-too-long"] == 1


def test_building_again_keeps_hand_written_prompts(segkit: Segkit, build_options: list[str], tmp_path: Path) -> None:
    """A hand-written prompt survives further builds, also with other caption settings."""
    photos, out = render(tmp_path / "photos", 3), tmp_path / "out"
    options = ["-o", out, *build_options, "--size", 96, "--min-size", 80]
    segkit("build-dataset", photos, *options, "--limit", 2)
    segkit("caption", out, "--edit", "001.png", "my own words")

    again = segkit("build-dataset", photos, *options, "--prefix", "photo of", "--split", "val=0.5")

    texts = {triple.source: triple.text for triple in Dataset.open(out).triples()}
    assert again.code == 0
    assert texts["001.png"] == "my own words"
    assert texts["002.png"].startswith("photo of")
    assert len(texts) == 3


def test_prompts_edited_in_the_manifest_are_hand_written(segkit: Segkit, dataset: Dataset, draft: list[object]) -> None:
    """A prompt edited directly in metadata.jsonl is never overwritten by later drafting."""
    segkit("caption", dataset.folder, "--redo-drafts", *draft)
    first, second, third, fourth = triples(dataset)
    typed = [replace(second, text="typed over a draft"), replace(third, text="typed too", prompt=NOBODY)]
    dataset.replace_all([first, *typed, fourth])

    redone = segkit("caption", dataset.folder, "--redo-drafts", *draft, "--json")

    assert json.loads(redone.out)["drafted"] == 1
    assert [triple.text for triple in triples(dataset)][:3] == ["my own words", "typed over a draft", "typed too"]


def test_edit_can_be_repeated(segkit: Segkit, dataset: Dataset) -> None:
    """--edit is repeatable; a prompt that exceeds CLIP's limit is reported."""
    keys = [triple.key for triple in triples(dataset)]

    shown = segkit("caption", dataset.folder, "--edit", keys[2], "one", "--edit", keys[3], "word " * 90)

    assert [triple.text for triple in triples(dataset)][2:] == ["one", ("word " * 90).strip()]
    assert "Hand-written prompts over CLIP's 77 tokens: 1." in shown.out
