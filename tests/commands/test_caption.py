"""segkit caption: drafts fill gaps, people's words stay."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from segkit.dataset import Dataset
from segkit.dataset.triple import NOBODY, PERSON, Triple
from tests.conftest import Models, Result, Segkit
from tests.dataset.test_dataset import build, contents, drafted, render, written


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset of four triples: one prompt by a person, one drafted, two missing."""
    made = build(render(tmp_path / "photos", 4), tmp_path / "out")
    first, second, *rest = made.triples()
    made.replace_all([written(first, "my own words"), drafted(second, "an old draft"), *rest])
    return made


@pytest.fixture
def draft(models: Models) -> list[object]:
    """The options that make segkit caption use the small networks."""
    return ["--captioner", models.blip, "--tokenizer", models.clip, "--caption-tokens", "6", "--prefix", "photo of"]


def triples(dataset: Dataset) -> list[Triple]:
    """Read the manifest anew."""
    return list(Dataset.open(dataset.folder).triples())


def refused(result: Result) -> str:
    """Return the one line of a refusal."""
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    return result.err


@pytest.mark.parametrize(
    ("options", "changed"), [([], [2, 3]), (["--only-missing"], [2, 3]), (["--redo-drafts"], [1, 2, 3])]
)
def test_drafts_leave_people_alone(
    segkit: Segkit, dataset: Dataset, draft: list[object], options: list[str], changed: list[int]
) -> None:
    """By default what is missing is drafted, with --redo-drafts earlier drafts too; never what a person wrote."""
    before = triples(dataset)

    shown = segkit("caption", dataset.folder, *options, *draft, "--json")

    after = triples(dataset)
    assert (shown.code, json.loads(shown.out)["drafted"]) == (0, len(changed))
    assert [place for place in range(4) if after[place] != before[place]] == changed
    assert all(after[place].text.startswith("photo of") and not after[place].prompt.human for place in changed)
    assert [replace(triple, text="", tokens=0, prompt=NOBODY, problems=()) for triple in after] == [
        replace(triple, text="", tokens=0, prompt=NOBODY, problems=()) for triple in before
    ]


def test_drafting_again_ends_in_the_same_bytes(segkit: Segkit, dataset: Dataset, draft: list[object]) -> None:
    """Redoing drafts with the same model and settings changes nothing."""
    segkit("caption", dataset.folder, "--redo-drafts", *draft)
    before = contents(dataset.folder)

    again = segkit("caption", dataset.folder, "--redo-drafts", *draft)
    missing = segkit("caption", dataset.folder, *draft)

    assert (again.code, missing.code) == (0, 0)
    assert "--redo-drafts drafts anew" in missing.out
    assert contents(dataset.folder) == before


def test_the_captioner_is_recorded(segkit: Segkit, dataset: Dataset, draft: list[object]) -> None:
    """Who drafted stands in the dataset and with each prompt."""
    segkit("caption", dataset.folder, *draft)

    model = Dataset.open(dataset.folder).info.models["captioner"]
    assert model["name"] == triples(dataset)[2].prompt.model != ""
    assert model["revision"] == triples(dataset)[2].prompt.revision


def test_one_broken_photo_does_not_stop_the_others(segkit: Segkit, dataset: Dataset, draft: list[object]) -> None:
    """Photos that do not open are named at the end, with the next step; all others get their prompts."""
    broken = triples(dataset)[2].file_name
    (dataset.folder / broken).write_bytes(b"broken")

    shown = segkit("caption", dataset.folder, *draft)

    line = refused(shown)
    assert f"1 of 2 photos do not open, such as {broken}" in line
    assert "segkit check" in line
    assert [bool(triple.text) for triple in triples(dataset)] == [True, True, False, True]


def test_a_captioner_that_is_not_there_changes_nothing(segkit: Segkit, dataset: Dataset, tmp_path: Path) -> None:
    """A wrong --captioner is one line, before anything is drafted."""
    before = contents(dataset.folder)

    shown = segkit("caption", dataset.folder, "--captioner", tmp_path / "nowhere")

    refused(shown)
    assert contents(dataset.folder) == before


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("name", ["key", "prefix", "source", "file_name"])
def test_a_person_edits_one_prompt(segkit: Segkit, dataset: Dataset, place: int, name: str) -> None:
    """--edit finds the triple by key, its beginning, source or file, and replaces any prompt, tidied."""
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
    """No such triple, or no text: one line, and the dataset is as it was."""
    before = contents(dataset.folder)

    shown = segkit("caption", dataset.folder, "--edit", key, text)

    assert message in refused(shown)
    assert contents(dataset.folder) == before


def test_an_ambiguous_name_lists_the_candidates(segkit: Segkit, dataset: Dataset) -> None:
    """A source that two triples share (from two photo folders) is refused with their keys."""
    first, second, *rest = triples(dataset)
    dataset.replace_all([first, replace(second, source=first.source), *rest])
    before = contents(dataset.folder)

    shown = segkit("caption", dataset.folder, "--edit", first.source, "a bed")

    line = refused(shown)
    assert "means 2 triples" in line
    assert first.key in line
    assert second.key in line
    assert contents(dataset.folder) == before


def test_drafting_and_writing_do_not_mix(segkit: Segkit, dataset: Dataset) -> None:
    """--redo-drafts is not passed over in silence when prompts are written."""
    shown = segkit("caption", dataset.folder, "--redo-drafts", "--edit", "000.png", "a bed")

    assert "One at a time" in refused(shown)


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
    """Commas, semicolons or tabs, a BOM, quoted line breaks, further columns and empty rows are all read."""
    (tmp_path / "prompts.csv").write_bytes(table.encode())

    shown = segkit("caption", dataset.folder, "--from-csv", tmp_path / "prompts.csv", "--json")

    assert (shown.code, json.loads(shown.out)["written"]) == (0, 2)
    assert [triple.text for triple in triples(dataset)] == ["a bed", "an old draft", "", "a chair"]
    assert [triple.prompt.human for triple in triples(dataset)] == [True, False, False, True]


def test_quoted_separators_and_quotes_stay(segkit: Segkit, dataset: Dataset, tmp_path: Path) -> None:
    """A cell is text and nothing else: commas, quotes, =formulas and NA arrive as they were typed."""
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
def test_a_table_with_a_fault_changes_nothing(
    segkit: Segkit, dataset: Dataset, tmp_path: Path, table: bytes | None, message: str
) -> None:
    """One bad row, and no prompt at all is set; the line says which and why."""
    if table is not None:
        (tmp_path / "prompts.csv").write_bytes(table)
    before = contents(dataset.folder)

    shown = segkit("caption", dataset.folder, "--from-csv", tmp_path / "prompts.csv")

    assert message in refused(shown)
    assert contents(dataset.folder) == before


def test_a_long_prompt_by_a_person_is_kept_and_reported(segkit: Segkit, dataset: Dataset, models: Models) -> None:
    """It is never cut; segkit check says that CLIP would."""
    text = " ".join(["bed"] * 100)

    shown = segkit("caption", dataset.folder, "--edit", "000.png", text, "--tokenizer", models.clip)
    checked = segkit("check", dataset.folder, "--json")

    assert shown.code == 0
    assert triples(dataset)[0].text == text
    assert json.loads(checked.out)["counts"]["prompt-too-long"] == 1


def test_building_again_leaves_people_alone(segkit: Segkit, build_options: list[str], tmp_path: Path) -> None:
    """A prompt that a person wrote outlives every further build, also one with other ways to draft."""
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


def test_words_typed_into_the_manifest_are_a_persons(segkit: Segkit, dataset: Dataset, draft: list[object]) -> None:
    """Who changes a draft or an empty prompt straight in metadata.jsonl keeps it, whatever is drafted later."""
    segkit("caption", dataset.folder, "--redo-drafts", *draft)
    first, second, third, fourth = triples(dataset)
    typed = [replace(second, text="typed over a draft"), replace(third, text="typed too", prompt=NOBODY)]
    dataset.replace_all([first, *typed, fourth])

    redone = segkit("caption", dataset.folder, "--redo-drafts", *draft, "--json")

    assert json.loads(redone.out)["drafted"] == 1
    assert [triple.text for triple in triples(dataset)][:3] == ["my own words", "typed over a draft", "typed too"]


def test_several_edits_in_one_go(segkit: Segkit, dataset: Dataset) -> None:
    """--edit may be given more than once; a prompt that CLIP will not read whole gets a word."""
    keys = [triple.key for triple in triples(dataset)]

    shown = segkit("caption", dataset.folder, "--edit", keys[2], "one", "--edit", keys[3], "word " * 90)

    assert [triple.text for triple in triples(dataset)][2:] == ["one", ("word " * 90).strip()]
    assert "1 prompts of a person are over CLIP's 77 tokens" in shown.out
