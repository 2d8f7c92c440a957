"""Repair of maps and folders: a report for each map, and no original is ever lost."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.errors import MapError, PaletteError, UsageError
from segkit.maps import codec, snap_folder
from segkit.palette import Palette
from segkit.settings import SnapSettings
from segkit.toy.world import damage
from tests.commands.test_snap import TRUTH, bytes_of, write_maps
from tests.conftest import Segkit


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """A folder with an exact map, a JPEG, and a map with swapped red and blue in a subfolder."""
    return write_maps(tmp_path / "maps")


def test_in_place_preserves_the_originals(segkit: Segkit, maps: Path) -> None:
    """The originals are copied to a folder beside the maps; a second run changes nothing."""
    before = bytes_of(maps)

    first, second = segkit("snap", maps, "--in-place"), segkit("snap", maps, "--in-place")

    assert (first.code, second.code) == (0, 0)
    assert set(bytes_of(maps)) == {"exact.png", "soft.png", "below/swapped.png"}
    assert bytes_of(maps.with_name("maps.before-snap")) == before
    assert segkit("check-palette", maps).code == 0


def test_colliding_output_names_are_refused(segkit: Segkit, maps: Path, tmp_path: Path) -> None:
    """Two maps with the same output name are refused before anything is written."""
    damage.painted(TRUTH).save(maps / "soft.png")

    done = segkit("snap", maps, "-o", tmp_path / "out")

    assert done.code == 2
    assert "would both become" in done.err
    assert not (tmp_path / "out").exists()


def test_a_dataset_is_refused(segkit: Segkit, tmp_path: Path) -> None:
    """The maps of a dataset are exact already, and its manifest records their hashes."""
    (tmp_path / "rooms" / ".segkit").mkdir(parents=True)

    done = segkit("snap", tmp_path / "rooms", "--in-place")

    assert done.code == 2
    assert "its maps are exact" in done.err


def test_each_map_has_an_outcome(maps: Path, tmp_path: Path) -> None:
    """Repaired maps have a path and a diagnosis, others a reason; progress counts all of them."""
    (maps / "broken.png").write_bytes(b"not a picture")
    calls = []

    results = snap_folder.snap_files(
        maps, tmp_path / "out", SnapSettings(), lambda stage, done, total, note="": calls.append((stage, done, total))
    )

    assert calls == [("maps", number, 4) for number in (1, 2, 3, 4)]
    outcomes = {record["file"]: record for record in json.loads(json.dumps([r.to_json() for r in results]))}
    assert set(outcomes) == {"below/swapped.png", "broken.png", "exact.png", "soft.jpg"}
    assert outcomes["soft.jpg"]["output"] == str(tmp_path / "out" / "soft.png")
    assert (outcomes["below/swapped.png"]["cause"], outcomes["exact.png"]["changed"]) == ("bgr", 0)
    assert outcomes["broken.png"]["output"] == ""
    assert outcomes["broken.png"]["reason"].startswith("does not open")
    assert all(result.result is None or result.result.labels.size == 0 for result in results)


def test_different_originals_of_one_name_are_all_kept(tmp_path: Path) -> None:
    """A map that was exported again after a repair is backed up under a numbered name, an equal one only once."""
    path, backup = tmp_path / "a.png", tmp_path / "a.png.before-snap"
    other = np.rot90(TRUTH).copy()
    originals = []
    for labels in (TRUTH, other, TRUTH):
        damage.by("bgr", labels).save(path)
        originals.append(path.read_bytes())
        snap_folder.snap_files(path, None, SnapSettings())
        assert (np.asarray(Image.open(path)) == labels).mean() > 0.99

    assert bytes_of(backup) == {"a.png": originals[0], "a 2.png": originals[1]}


def test_the_rules_convert_and_force_a_cause(tmp_path: Path) -> None:
    """COCO maps become maps of ADE20K on request, and a cause that the user knows overrides the diagnosis."""
    coco = Palette.load("coco_panoptic")
    damage.painted(damage.regions(4, 10, 128, coco), coco).save(tmp_path / "coco.png")
    Image.fromarray(TRUTH).save(tmp_path / "ids.png")

    [converted] = snap_folder.snap_files(tmp_path / "coco.png", tmp_path / "a.png", SnapSettings(to="ade20k"))
    [forced] = snap_folder.snap_files(tmp_path / "ids.png", tmp_path / "b.png", SnapSettings(cause="label-ids"))

    assert converted.to_json()["palette"] == "ade20k"
    assert codec.is_exact(Image.open(tmp_path / "a.png"), damage.ADE)
    assert forced.to_json()["cause"] == "label-ids"
    assert (np.asarray(Image.open(tmp_path / "b.png")) == TRUTH).all()


def test_wrong_targets_and_outputs_are_refused(maps: Path, tmp_path: Path) -> None:
    """A missing target, an unknown palette and an existing output are errors; nothing is written."""
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "exact.png").write_text("mine")
    before = bytes_of(tmp_path)

    with pytest.raises(MapError, match="does not exist"):
        snap_folder.snap_files(tmp_path / "nowhere", None, SnapSettings())
    with pytest.raises(PaletteError, match="'mine'"):
        snap_folder.snap_files(maps, None, SnapSettings(palette="mine"))
    with pytest.raises(UsageError, match=r"exact\.png already exists\. Choose another output folder"):
        snap_folder.snap_files(maps, tmp_path / "taken", SnapSettings())

    assert bytes_of(tmp_path) == before
