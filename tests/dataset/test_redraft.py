"""Drafts that name the classes of a map follow its corrections; what a person wrote does not."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from segkit.dataset import Dataset, decisions, prompts, relabel, saving
from segkit.dataset.prompts import Style, estimate
from segkit.dataset.triple import Prompt, digest
from segkit.maps import strokes
from segkit.maps.strokes import Stroke
from tests.dataset.test_dataset import build, render

STYLE = Style("a photo of", "", "{caption}, {classes}")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Two triples whose drafts name the classes of their maps."""
    opened = build(render(tmp_path / "photos", 2), tmp_path / "out")
    with opened.writing():
        settings = {**opened.info.settings, "prefix": STYLE.prefix, "template": STYLE.template}
        opened.save_info(replace(opened.info, settings=settings))
        triples = []
        for triple in opened:
            text, tokens, _ = prompts.draft("a room", triple.classes, STYLE, estimate)
            author = Prompt("model", "m", "1", human=False, digest=digest(text), caption="a room")
            triples.append(replace(triple, text=text, tokens=tokens, prompt=author))
        opened.commit(triples)
        opened.fold()
    return opened


def correct(dataset: Dataset) -> str:
    """Give the largest class of the first map another one, and return the prompt."""
    triple, palette = dataset[0], dataset.info.palette
    largest = palette.find(triple.classes[0].name).index
    relabel.relabel(dataset, triple.key, [Stroke(palette.find("sofa").index, strokes.runs(triple.labels == largest))])
    return dataset[0].text


def test_a_draft_follows_the_map(dataset: Dataset) -> None:
    """Its classes are named anew, still as the model's draft; undo brings the earlier text back."""
    before = dataset[0]

    text = correct(dataset)

    after = dataset[0]
    assert text == prompts.draft("a room", after.classes, STYLE, estimate)[0]
    assert "sofa" in text
    assert (after.prompt.by, after.by_person, after.tokens) == ("model", False, estimate(text))
    assert after.edits.revision == 1
    relabel.undo(dataset, before.key)
    assert (dataset[0].text, dataset[0].prompt) == (before.text, before.prompt)


@pytest.mark.parametrize("how", ["written", "edited", "another template"])
def test_other_prompts_stay(dataset: Dataset, how: str) -> None:
    """Those of a person, those changed by hand in the manifest, and drafts that another template gave."""
    text = dataset[0].text
    if how == "written":
        decisions.set_prompt(dataset, dataset[0].key, text, count=estimate)
    elif how == "edited":
        dataset.manifest.write_text(dataset.manifest.read_text().replace(text, f"{text}!"))
        text = f"{text}!"
    else:
        with dataset.writing():
            settings = {**dataset.info.settings, "template": "{classes}: {caption}"}
            dataset.save_info(replace(dataset.info, settings=settings))

    assert correct(dataset) == text


def test_an_interrupted_save_is_completed_with_its_draft(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between map and record, the next writer records what the save would have."""
    commit, records = Dataset.commit, []
    monkeypatch.setattr(Dataset, "commit", lambda _, triples, *__: records.extend(triples))
    correct(dataset)
    monkeypatch.setattr(Dataset, "commit", commit)

    with dataset.writing():
        assert saving.complete(dataset) == 1
    completed = dataset[0]

    assert "sofa" in completed.text
    assert completed.text == records[0].text
