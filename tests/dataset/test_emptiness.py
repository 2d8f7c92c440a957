"""segkit.dataset.emptiness: a dataset without triples is never called sound, nor worked on."""

import json
from pathlib import Path

import pytest

from segkit.dataset import Dataset
from tests.conftest import Segkit
from tests.dataset.test_dataset import build, render


@pytest.fixture
def empty(tmp_path: Path) -> Dataset:
    """A dataset none of whose files was a photo."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "notes.jpg").write_text("no picture")
    return build(tmp_path / "files", tmp_path / "my rooms")


def test_check_finds_that_there_is_nothing_to_check(segkit: Segkit, empty: Dataset) -> None:
    """The finding names the reason and the next command, and gives the exit code of a finding."""
    shown, as_json = segkit("check", empty.folder), segkit("check", empty.folder, "--json")

    assert (shown.code, as_json.code) == (1, 1)
    assert shown.out.splitlines()[-1] == f"{empty.folder}: 0 triples, 1 error, 0 warnings."
    assert f"no photo was accepted, for the reasons in {empty.hidden / 'rejected.jsonl'}" in shown.out
    assert f"segkit build-dataset PHOTOS -o '{empty.folder}'" in shown.out
    assert json.loads(as_json.out)["counts"] == {"no-triples": 1}


@pytest.mark.parametrize(
    "command",
    [
        "check-palette DATASET",
        "caption DATASET --captioner toy",
        "export DATASET --to kohya -o OUT",
        "subset DATASET -o OUT",
        "train DATASET -o OUT --base toy --controlnet fresh --steps 1",
        "evaluate fresh --dataset DATASET -o OUT --base toy --judge toy-judge",
        "generate --map DATASET -o OUT --base toy --controlnet fresh",
        "review DATASET --no-browser",
    ],
)
def test_other_commands_refuse_it(segkit: Segkit, empty: Dataset, tmp_path: Path, command: str) -> None:
    """They say that it has no triples and what to run, in one line, and write nothing."""
    paths = {"DATASET": empty.folder, "OUT": tmp_path / "out"}

    result = segkit(*(paths.get(word, word) for word in command.split()))

    assert result.code == 2
    assert len(result.err.splitlines()) == 1
    assert f"{empty.folder} has no triples" in result.err
    assert "segkit build-dataset PHOTOS -o" in result.err
    assert not (tmp_path / "out").exists()


def test_a_build_without_a_triple_does_not_lead_to_check(segkit: Segkit, empty: Dataset, tmp_path: Path) -> None:
    """Its last line says what is missing."""
    options = "--segmenter brightness --no-caption --size 96 --min-size 80 --split val=0.2".split()
    again = segkit("build-dataset", tmp_path / "files", "-o", empty.folder, *options)

    assert again.out.splitlines()[-1] == f"Next: add other photos with segkit build-dataset PHOTOS -o '{empty.folder}'"


def test_triples_that_were_all_left_out_are_named(segkit: Segkit, tmp_path: Path) -> None:
    """An export says that a person left them out, rather than that there are none; a check has something to check."""
    dataset = build(render(tmp_path / "photos", 2), tmp_path / "rooms")
    for key in [triple.key for triple in dataset]:
        dataset.decide(key, "rejected")

    exported = segkit("export", dataset.folder, "--to", "kohya", "-o", tmp_path / "out")

    assert "has no triples: a person left out all of them (2)" in exported.err
    assert "no-triples" not in json.loads(segkit("check", dataset.folder, "--json").out)["counts"]


def test_a_damaged_list_is_not_called_empty(segkit: Segkit, tmp_path: Path) -> None:
    """Only the damage is reported."""
    dataset = build(render(tmp_path / "photos", 1), tmp_path / "rooms")
    dataset.manifest.write_text("{\n")

    counts = json.loads(segkit("check", dataset.folder, "--json").out)["counts"]

    assert counts.keys() >= {"manifest-damaged"}
    assert "no-triples" not in counts
