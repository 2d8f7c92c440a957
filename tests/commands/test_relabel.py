"""segkit relabel."""

import json
from pathlib import Path

import pytest

from segkit import relabel
from segkit.dataset import Dataset
from segkit.errors import UsageError
from tests.conftest import Segkit
from tests.dataset.test_dataset import build, render


@pytest.fixture
def rooms(tmp_path: Path) -> Dataset:
    """A dataset of two triples, and in maps/ a painted map of the first, under the name of its photo."""
    made = build(render(tmp_path / "photos", 2), tmp_path / "rooms")
    image = made[0].control_map.convert("RGB")
    image.paste(made.info.palette.find("lamp").rgb, (4, 4, 24, 34))
    (tmp_path / "maps").mkdir()
    image.save(tmp_path / "maps" / "000.png")
    return made


def test_a_map_is_taken_undone_and_redone(segkit: Segkit, rooms: Dataset, tmp_path: Path) -> None:
    """Each says what happened and what to do next."""
    taken = segkit("relabel", rooms.folder, "000.png", tmp_path / "maps" / "000.png")
    undone = segkit("relabel", rooms.folder, "000.png", "--undo", "--json")
    redone = segkit("relabel", rooms.folder, "000.png", "--redo")

    assert taken.code == undone.code == redone.code == 0
    assert f"000.png ({rooms[0].key}): 600 pixels changed (4.9%): floor → lamp 381, " in taken.out
    assert "--undo" in taken.out
    assert json.loads(undone.out)["redoable"] == 1
    assert "Edits left to undo: 1, to redo: 0." in redone.out


def test_a_dry_run_says_what_would_change(segkit: Segkit, rooms: Dataset, tmp_path: Path) -> None:
    """In which classes, of one map or a folder; nothing is changed."""
    before = rooms.manifest.read_bytes(), rooms[0].labels.tolist()

    single = segkit("relabel", rooms.folder, "000.png", tmp_path / "maps" / "000.png", "--dry-run")
    folder = segkit("relabel", rooms.folder, "--from", tmp_path / "maps", "--dry-run", "--json")
    wrong = segkit("relabel", rooms.folder, "000.png", "--undo", "--dry-run")

    assert (single.code, folder.code, wrong.code) == (0, 0, 2)
    assert "600 pixels would change (4.9%): floor → lamp 381, " in single.out
    assert "1 map would be taken over." in single.out
    assert "--undo" not in single.out
    (result,) = json.loads(folder.out)["maps"]
    assert sum(change["pixels"] for change in result["changes"]) == result["pixels"] == 600
    assert (rooms.manifest.read_bytes(), Dataset.open(rooms.folder)[0].labels.tolist()) == before
    assert not (rooms.folder / ".segkit" / "edits").exists()
    assert "--dry-run goes with" in wrong.err


def test_a_folder_with_a_map_that_cannot_be_taken(segkit: Segkit, rooms: Dataset, tmp_path: Path) -> None:
    """Exit code 1, with the reason; the others are taken."""
    (tmp_path / "maps" / "garden.png").write_bytes((tmp_path / "maps" / "000.png").read_bytes())

    result = segkit("relabel", rooms.folder, "--from", tmp_path / "maps")
    as_json = segkit("relabel", rooms.folder, "--from", tmp_path / "maps", "--json")

    assert result.code == as_json.code == 1
    assert "garden.png is named after no triple" in result.out.replace("\n", " ")
    assert "1 map taken over, 1 not taken." in result.out.replace("\n", " ")
    assert [bool(one["reason"]) for one in json.loads(as_json.out)["maps"]] == [False, True]


def test_a_class_is_added(segkit: Segkit, rooms: Dataset) -> None:
    """Its colour is shown, and how to paint with it; a name that exists is refused."""
    added = segkit("relabel", rooms.folder, "--add-class", "solar panel")
    again = segkit("relabel", rooms.folder, "--add-class", "solar panel", "--json")

    assert (added.code, again.code) == (0, 2)
    assert "solar panel" in added.out
    assert "already class 150" in again.err + again.out
    assert Dataset.open(rooms.folder).info.palette[150].name == "solar panel"


@pytest.mark.parametrize(
    "arguments", [[], ["000.png"], ["000.png", "map.png", "--undo"], ["--undo"], ["000.png", "--from", "maps"]]
)
def test_a_combination_without_meaning_is_refused(segkit: Segkit, rooms: Dataset, arguments: list[str]) -> None:
    """The message lists those that have one."""
    result = segkit("relabel", rooms.folder, *arguments)

    assert result.code == 2
    assert "Pass KEY and MAP" in result.err


def test_python_offers_the_same(rooms: Dataset, tmp_path: Path) -> None:
    """segkit.relabel: a map, a folder, a class."""
    (single,) = relabel(rooms, "000.png", tmp_path / "maps" / "000.png")
    (of_folder,) = relabel(rooms.folder, folder=tmp_path / "maps")
    nothing = relabel(rooms, add_class="solar panel")

    assert single.changed > 0
    assert of_folder.changed == 0
    assert nothing == []
    assert rooms.info.palette[150].name == "solar panel"
    for arguments in ((), ("000.png",)):
        with pytest.raises(UsageError, match="nothing to relabel"):
            relabel(rooms, *arguments)
