"""segkit caption: missing prompts are drafted, and prompts written by a person are never replaced."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from segkit.dataset import Dataset
from segkit.dataset.triple import NOBODY, PERSON, Triple
from segkit.models import hub
from tests.conftest import Models, Result, Segkit
from tests.dataset.test_dataset import build, contents, drafted, render, written
from tests.models import talkers


def build_four(folder: Path) -> Dataset:
    """Build a dataset of four triples: one prompt written by a person, one drafted, two missing."""
    dataset = build(render(folder / "photos", 4), folder / "out")
    first, second, *rest = dataset.triples()
    dataset.replace_all([written(first, "my own words"), drafted(second, "an old draft"), *rest])
    return dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset of four triples: one prompt written by a person, one drafted, two missing."""
    return build_four(tmp_path)


@pytest.fixture
def draft(models: Models) -> list[object]:
    """Options that let segkit caption use the tiny networks."""
    return ["--captioner", models.blip, "--tokenizer", models.clip, "--caption-tokens", "6", "--prefix", "photo of"]


def triples(dataset: Dataset) -> list[Triple]:
    """Read the manifest again."""
    return list(Dataset.open(dataset.folder).triples())


def refused(result: Result) -> str:
    """Return the single error line of a failed command."""
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    return result.err


@pytest.mark.parametrize(
    ("options", "changed"), [([], [2, 3]), (["--only-missing"], [2, 3]), (["--redo-drafts"], [1, 2, 3])]
)
def test_drafts_never_replace_a_persons_prompt(
    segkit: Segkit, dataset: Dataset, draft: list[object], options: list[str], changed: list[int]
) -> None:
    """Missing prompts are drafted, with --redo-drafts earlier drafts too, but never those written by a person."""
    before = triples(dataset)

    shown = segkit("caption", dataset.folder, *options, *draft, "--json")

    after = triples(dataset)
    assert (shown.code, json.loads(shown.out)["drafted"]) == (0, len(changed))
    assert [place for place in range(4) if after[place] != before[place]] == changed
    assert all(after[place].text.startswith("photo of") and not after[place].prompt.human for place in changed)
    assert [replace(triple, text="", tokens=0, prompt=NOBODY, problems=()) for triple in after] == [
        replace(triple, text="", tokens=0, prompt=NOBODY, problems=()) for triple in before
    ]


def test_drafting_again_changes_nothing(segkit: Segkit, dataset: Dataset, draft: list[object]) -> None:
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
    """Photos that cannot be opened are reported at the end, with the next step; all others get their prompts."""
    broken = triples(dataset)[2].file_name
    (dataset.folder / broken).write_bytes(b"broken")

    shown = segkit("caption", dataset.folder, *draft)

    line = refused(shown)
    assert f"1 of 2 photos cannot be opened, such as {broken}" in line
    assert "segkit check" in line
    assert [bool(triple.text) for triple in triples(dataset)] == [True, True, False, True]


def test_a_missing_captioner_changes_nothing(segkit: Segkit, dataset: Dataset, tmp_path: Path) -> None:
    """A --captioner that does not exist is reported in one line, before anything is drafted."""
    before = contents(dataset.folder)

    shown = segkit("caption", dataset.folder, "--captioner", tmp_path / "nowhere")

    refused(shown)
    assert contents(dataset.folder) == before


def test_florence2_drafts_with_a_task(segkit: Segkit, dataset: Dataset, tmp_path: Path) -> None:
    """Without --caption-task, Florence-2 ends in one line that names the option; with it, prompts are drafted."""
    with hub.quiet():
        folder = talkers.write_florence2(tmp_path / "florence2")

    refusal = refused(segkit("caption", dataset.folder, "--captioner", folder))
    shown = segkit("caption", dataset.folder, "--captioner", folder, "--caption-task", "<CAPTION>", "--json")

    assert "--caption-task" in refusal
    assert (shown.code, json.loads(shown.out)["drafted"]) == (0, 2)
    assert all("word" in triple.text for triple in triples(dataset)[2:])


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("name", ["key", "prefix", "source", "file_name"])
def test_a_person_edits_one_prompt(segkit: Segkit, dataset: Dataset, place: int, name: str) -> None:
    """--edit finds a triple by its key, the beginning of the key, source or file name, and normalises whitespace."""
    before = triples(dataset)
    key = before[place].key[:6] if name == "prefix" else getattr(before[place], name)

    shown = segkit("caption", dataset.folder, "--edit", key, "  a red\n bed, Zürich ")

    after = triples(dataset)
    assert (shown.code, shown.err) == (0, "")
    assert (after[place].text, after[place].prompt, after[place].problems) == ("a red bed, Zürich", PERSON, ())
    assert after[place].tokens > 2
    assert [*after[:place], *after[place + 1 :]] == [*before[:place], *before[place + 1 :]]


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        (
            "nothing.png",
            "a bed",
            "'nothing.png' is not a key, source or file name in the dataset. Keys are listed in metadata.jsonl",
        ),
        ("", "a bed", "'' is not a key"),
        ("000.png", "", "The prompt for 000.png is empty"),
        ("000.png", " \n ", "The prompt for 000.png is empty"),
        ("000.png", "caf\udce9", "The prompt for 000.png is not UTF-8 text"),
    ],
)
def test_an_invalid_edit_changes_nothing(segkit: Segkit, dataset: Dataset, key: str, text: str, message: str) -> None:
    """An unknown triple or an empty prompt is reported in one line, and the dataset stays the same."""
    before = contents(dataset.folder)

    shown = segkit("caption", dataset.folder, "--edit", key, text)

    assert message in refused(shown)
    assert contents(dataset.folder) == before


def test_drafting_and_writing_do_not_mix(segkit: Segkit, dataset: Dataset) -> None:
    """--redo-drafts together with --edit is refused instead of being ignored."""
    shown = segkit("caption", dataset.folder, "--redo-drafts", "--edit", "000.png", "a bed")

    assert "cannot be combined with --edit or --from-csv" in refused(shown)


def test_a_long_prompt_written_by_a_person_is_kept_and_reported(
    segkit: Segkit, dataset: Dataset, models: Models
) -> None:
    """A long prompt is not shortened; segkit check warns that CLIP would cut it."""
    text = " ".join(["bed"] * 100)

    shown = segkit("caption", dataset.folder, "--edit", "000.png", text, "--tokenizer", models.clip)
    checked = segkit("check", dataset.folder, "--json")

    assert shown.code == 0
    assert triples(dataset)[0].text == text
    assert json.loads(checked.out)["counts"]["prompt-too-long"] == 1


def test_building_again_never_replaces_a_persons_prompt(
    segkit: Segkit, build_options: list[str], tmp_path: Path
) -> None:
    """A prompt written by a person survives further builds, including one with another prompt style."""
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


def test_text_edited_in_the_manifest_counts_as_a_persons(segkit: Segkit, dataset: Dataset, draft: list[object]) -> None:
    """A draft or an empty prompt that was edited in metadata.jsonl is never replaced by a later draft."""
    segkit("caption", dataset.folder, "--redo-drafts", *draft)
    first, second, third, fourth = triples(dataset)
    typed = [replace(second, text="typed over a draft"), replace(third, text="typed too", prompt=NOBODY)]
    dataset.replace_all([first, *typed, fourth])

    redone = segkit("caption", dataset.folder, "--redo-drafts", *draft, "--json")

    assert json.loads(redone.out)["drafted"] == 1
    assert [triple.text for triple in triples(dataset)][:3] == ["my own words", "typed over a draft", "typed too"]


def test_several_edits_in_one_command(segkit: Segkit, dataset: Dataset) -> None:
    """--edit can be repeated, and prompts that exceed CLIP's limit are reported."""
    keys = [triple.key for triple in triples(dataset)]

    shown = segkit("caption", dataset.folder, "--edit", keys[2], "one", "--edit", keys[3], "word " * 90)

    assert [triple.text for triple in triples(dataset)][2:] == ["one", ("word " * 90).strip()]
    assert "Hand-written prompts over CLIP's 77 tokens: 1." in shown.out


def test_contradictory_options_are_refused(segkit: Segkit, dataset: Dataset) -> None:
    """Drafting only what is missing and drafting everything again exclude each other."""
    assert "exclude each other" in refused(segkit("caption", dataset.folder, "--only-missing", "--redo-drafts"))
