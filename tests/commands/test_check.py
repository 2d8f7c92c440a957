"""segkit check, through the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from segkit.dataset import Dataset
from tests.conftest import Models, Segkit
from tests.dataset.test_dataset import build, contents, render, written


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset of four triples with prompts and without problems."""
    made = build(render(tmp_path / "photos", 4), tmp_path / "my dataset")
    made.replace_all([written(triple, "a room with a bed") for triple in made.triples()])
    return made


def spoil(dataset: Dataset) -> None:
    """Remove two prompts and one control map."""
    first, second, third, *rest = dataset.triples()
    dataset.replace_all([replace(first, text=""), replace(second, text=""), third, *rest])
    (dataset.folder / third.conditioning_image_file_name).unlink()


def test_a_clean_dataset_passes(segkit: Segkit, dataset: Dataset) -> None:
    """A clean dataset gives exit code 0 and one line."""
    shown = segkit("check", dataset.folder)

    assert (shown.code, shown.err) == (0, "")
    assert shown.out.splitlines()[-1] == f"{dataset.folder}: 4 triples, no problems."


def test_triples_that_were_left_out_are_counted_apart(segkit: Segkit, dataset: Dataset) -> None:
    """They are checked, too, but metadata.jsonl does not list them."""
    dataset.decide(dataset[0].key, "rejected")

    shown = segkit("check", dataset.folder).out.splitlines()[-1]
    as_json = json.loads(segkit("check", dataset.folder, "--json").out)

    assert shown == f"{dataset.folder}: 4 triples (1 left out), no problems."
    assert (as_json["triples"], as_json["left_out"]) == (4, 1)


def test_counts_come_first_then_problems_by_severity(segkit: Segkit, dataset: Dataset) -> None:
    """The counts by rule are followed by the problems, errors before warnings, each with its cure on the next line."""
    spoil(dataset)

    shown = segkit("check", dataset.folder)

    lines = shown.out.splitlines()
    starts = [place for place, line in enumerate(lines) if line.startswith(("error", "warning"))]
    listed, cures = [lines[place] for place in starts], [lines[place + 1] for place in starts]
    assert shown.code == 1
    assert shown.out.index("prompt-missing") < shown.out.index(listed[0])
    assert [line.split()[0] for line in listed] == ["error", "warning", "warning"]
    assert "Run segkit build-dataset again with the same photos" in cures[0]
    assert f"segkit caption '{dataset.folder}' --edit" in cures[1]
    assert shown.out.splitlines()[-1] == f"{dataset.folder}: 4 triples, 1 error, 2 warnings."


def test_the_outcome_as_json(segkit: Segkit, dataset: Dataset) -> None:
    """--json prints the counts by rule and every problem as a flat object."""
    spoil(dataset)

    shown = segkit("check", dataset.folder, "--json")

    outcome = json.loads(shown.out)
    assert shown.code == 1
    assert (outcome["dataset"], outcome["triples"]) == (str(dataset.folder), 4)
    assert outcome["counts"] == {"prompt-missing": 2, "file-missing": 1}
    assert [problem["rule"] for problem in outcome["problems"]] == ["file-missing", "prompt-missing", "prompt-missing"]
    assert all(set(problem) == {"rule", "severity", "place", "message", "cure"} for problem in outcome["problems"])


def test_warnings_alone_do_not_fail_a_dataset(segkit: Segkit, dataset: Dataset) -> None:
    """A dataset without prompts passes the check."""
    dataset.replace_all([replace(triple, text="") for triple in dataset.triples()])

    shown = segkit("check", dataset.folder, "--json")

    assert shown.code == 0
    assert json.loads(shown.out)["counts"] == {"prompt-missing": 4}


def test_prompts_are_recounted_with_a_tokenizer(segkit: Segkit, dataset: Dataset, models: Models) -> None:
    """--tokenizer finds the prompt that is too long; without it, the check reports an implausible token count."""
    first, *rest = dataset.triples()
    dataset.replace_all([written(first, "curtains " * 80), *rest])

    trusted = segkit("check", dataset.folder)
    counted = segkit("check", dataset.folder, "--tokenizer", models.clip, "--json")

    assert "tokens-differ" in trusted.out
    assert counted.code == 1
    assert json.loads(counted.out)["counts"] == {"prompt-too-long": 1}


def test_checking_changes_nothing(segkit: Segkit, dataset: Dataset) -> None:
    """A check modifies nothing, not even the leftovers of a killed run."""
    dataset.commit([written(next(dataset.triples()), "a chair")])
    (dataset.folder / "images" / ".part-0123456789ab").write_bytes(b"half")
    before = contents(dataset.folder)

    segkit("check", dataset.folder)

    assert contents(dataset.folder) == before


def add(dataset: Dataset, line: int, **values: Any) -> None:
    """Add keys to a line of the manifest and to the objects in it, as a text editor would."""
    lines = [json.loads(text) for text in dataset.manifest.read_text("utf-8").splitlines()]
    lines[line] |= values
    for nested in (lines[line]["geometry"], lines[line]["prompt"], lines[line]["classes"][0]):
        nested["seen"] = True
    dataset.manifest.write_text("".join(json.dumps(text) + "\n" for text in lines), "utf-8")


def test_columns_of_yours_are_kept_by_every_writer(segkit: Segkit, dataset: Dataset, tmp_path: Path) -> None:
    """No problem is reported, and captions, a build of more photos and new splits write them back."""
    for line in range(4):
        add(dataset, line, stars=line, tags=["a", "b"], room_file_name="room.txt")
    checked = segkit("check", dataset.folder, "--json")
    segkit("caption", dataset.folder, "--edit", "000.png", "a bed")
    build(render(tmp_path / "photos", 6), dataset.folder, split="val=0.5")

    lines = [json.loads(text) for text in dataset.manifest.read_text("utf-8").splitlines()]
    assert (checked.code, json.loads(checked.out)["problems"]) == (0, [])
    assert [line.get("stars") for line in lines] == [0, 1, 2, 3, None, None]
    assert lines[0]["text"] == "a bed"
    for line in lines[:4]:
        assert (line["tags"], line["room_file_name"]) == (["a", "b"], "room.txt")
        assert line["geometry"]["seen"] is line["prompt"]["seen"] is line["classes"][0]["seen"] is True


def test_lone_surrogates_are_reported_with_their_line(segkit: Segkit, dataset: Dataset) -> None:
    """In a prompt and in a column of yours; reading the dataset fails with the same line instead of a traceback."""
    add(dataset, 1, text="half \ud83d")
    add(dataset, 2, note="\udfff")

    shown = segkit("check", dataset.folder, "--json")
    edited = segkit("caption", dataset.folder, "--edit", "000.png", "a bed")

    damage = [problem for problem in json.loads(shown.out)["problems"] if problem["rule"] == "manifest-damaged"]
    assert shown.code == 1
    assert [problem["place"] for problem in damage] == ["metadata.jsonl, line 2", "metadata.jsonl, line 3"]
    assert r"text holds half of a character (a lone surrogate, \ud83d)" in damage[0]["message"]
    assert (edited.code, edited.err.count("\n")) == (2, 1)
    assert "metadata.jsonl, line 2 is damaged" in edited.err
