"""A repair into a folder continues: finished maps are kept, and nothing is overwritten."""

from pathlib import Path

import numpy as np
import pytest

from segkit import storage
from segkit.dataset import map_repair
from segkit.dataset.repair_record import Record
from segkit.errors import UsageError
from segkit.settings import SnapSettings
from segkit.toy.world import damage
from tests.commands.test_snap import RECORD, bytes_of
from tests.conftest import Segkit

LABELS = damage.place(3, 8, 96)


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """A folder with three maps whose red and blue are swapped."""
    folder = tmp_path / "maps"
    folder.mkdir()
    for name in "abc":
        damage.by("bgr", np.roll(LABELS, ord(name))).save(folder / f"{name}.png")
    return folder


def test_finished_maps_are_kept(segkit: Segkit, maps: Path, tmp_path: Path) -> None:
    """A second run repairs what is missing, says how many maps were kept, and leaves one that a person painted."""
    out = tmp_path / "out"
    segkit("snap", maps, "-o", out)
    (out / "a.png").unlink()
    (out / "b.png").write_bytes(b"painted by hand")
    before = bytes_of(out)

    again = segkit("snap", maps, "-o", out)

    assert again.code == 0
    assert "1 map repaired, 2 kept from an earlier run." in again.out
    assert {name: data for name, data in bytes_of(out).items() if name in before and name != RECORD} == {
        name: data for name, data in before.items() if name != RECORD
    }
    assert (out / "a.png").is_file()


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_killed_repair_continues(maps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Whether the process died before or after a map was in place, the result is that of an uninterrupted repair."""
    map_repair.snap_files(maps, tmp_path / "whole", SnapSettings())
    write = storage.write
    written: list[Path] = []

    def die(path: Path, data: bytes) -> None:
        if len(written) == at:
            raise KeyboardInterrupt
        written.append(path)
        write(path, data)

    monkeypatch.setattr(storage, "write", die)
    with pytest.raises(KeyboardInterrupt):
        map_repair.snap_files(maps, tmp_path / "out", SnapSettings())
    monkeypatch.undo()
    with (tmp_path / "out" / RECORD).open("ab") as file:
        file.write(b'\n{"output": "c.p')  # a line that a kill cut short
    results = map_repair.snap_files(maps, tmp_path / "out", SnapSettings())

    assert [result.kept for result in results] == [place < at for place in range(3)]
    whole, out = bytes_of(tmp_path / "whole"), bytes_of(tmp_path / "out")
    assert {name: out[name] for name in whole if name != RECORD} == {
        name: data for name, data in whole.items() if name != RECORD
    }


def test_a_changed_original_is_reported(maps: Path, tmp_path: Path) -> None:
    """Its repaired map stays until the user removes it."""
    map_repair.snap_files(maps, tmp_path / "out", SnapSettings())
    damage.by("bgr", LABELS[::-1]).save(maps / "a.png")
    before = bytes_of(tmp_path / "out")

    refused = map_repair.snap_files(maps, tmp_path / "out", SnapSettings())
    (tmp_path / "out" / "a.png").unlink()
    again = map_repair.snap_files(maps, tmp_path / "out", SnapSettings())

    assert refused[0].reason.startswith("is not the map that")
    assert [result.kept for result in refused] == [False, True, True]
    assert before["b.png"] == (tmp_path / "out" / "b.png").read_bytes()
    assert [result.kept for result in again] == [False, True, True]
    assert again[0].output == tmp_path / "out" / "a.png"


@pytest.mark.parametrize("rules", [SnapSettings(palette="coco_panoptic"), SnapSettings(unsure="unlabelled")])
def test_other_settings_need_another_folder(maps: Path, tmp_path: Path, rules: SnapSettings) -> None:
    """Else one folder would hold maps of two palettes."""
    map_repair.snap_files(maps, tmp_path / "out", SnapSettings())
    before = bytes_of(tmp_path / "out")

    with pytest.raises(UsageError, match="was repaired with another palette or other options"):
        map_repair.snap_files(maps, tmp_path / "out", rules)

    assert bytes_of(tmp_path / "out") == before


def test_the_last_line_of_an_output_counts(tmp_path: Path) -> None:
    """A map may be repaired again after its original changed."""
    record = Record.open(tmp_path, "settings")
    record.add(b"old", tmp_path / "a.png")
    record.add(b"new", tmp_path / "a.png")

    again = Record.open(tmp_path, "settings")

    assert (tmp_path / "a.png" in again, tmp_path / "b.png" in again) == (True, False)
    assert again.is_of(b"new", tmp_path / "a.png")
    assert not again.is_of(b"old", tmp_path / "a.png")
