"""segkit remove, through the command line."""

import json
from pathlib import Path

import pytest

from segkit.dataset import Dataset
from tests.conftest import Segkit
from tests.dataset.test_dataset import build, contents, render


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset of three triples."""
    return build(render(tmp_path / "photos", 3), tmp_path / "my rooms")


def test_leave_out_and_put_back(segkit: Segkit, dataset: Dataset) -> None:
    """Each command says how many triples it changed and what to run next; check finds nothing wrong."""
    out = segkit("remove", dataset.folder, "001.png")
    checked = segkit("check", dataset.folder)
    back = segkit("remove", dataset.folder, "--undo", "--where", "review:rejected", "--json")

    assert (out.code, out.err) == (0, "")
    assert "1 triple left out (001.png); 2 remain." in out.out
    assert f"segkit remove '{dataset.folder}' --undo" in out.out
    assert checked.code == 0
    assert json.loads(back.out)["sources"] == ["001.png"]
    assert len(dataset) == 3


def test_a_dry_run_changes_nothing(segkit: Segkit, dataset: Dataset) -> None:
    """It lists what would be left out."""
    before = contents(dataset.folder)

    shown = segkit("remove", dataset.folder, "--where", "width<5000", "--dry-run")

    assert "001.png" in shown.out
    assert "3 triples would change; nothing was." in shown.out
    assert contents(dataset.folder) == before


def test_pictures_that_were_deleted_are_missed_by_nobody(segkit: Segkit, dataset: Dataset) -> None:
    """A triple without pictures is left out whole: check and train ask for none."""
    segkit("remove", dataset.folder, "000.png", "--delete-files")

    checked = segkit("check", dataset.folder, "--json")

    assert checked.code == 0
    assert {problem["rule"] for problem in json.loads(checked.out)["problems"]} == {"prompt-missing"}
    assert len(list((dataset.folder / "images").rglob("*.jpg"))) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Nothing to remove. Pass either keys or --where."),
        (("--undo",), "Nothing to put back."),
        (("00",), "at least 4 digits"),
        (("nothing",), "'nothing' is not a key, source or file name"),
        (("--where", "person"), "'person' is not understood"),
        (("000.png", "--undo", "--delete-files"), "exclude each other"),
    ],
)
def test_mistakes_are_one_line(segkit: Segkit, dataset: Dataset, arguments: tuple[str, ...], message: str) -> None:
    """Wrong use gives exit code 2 and changes nothing."""
    before = contents(dataset.folder)

    shown = segkit("remove", dataset.folder, *arguments)

    assert (shown.code, shown.err.count("\n")) == (2, 1)
    assert message in shown.err
    assert contents(dataset.folder) == before
