"""Repair of maps and folders: a report for each map, and no original is ever lost."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit import locks
from segkit.dataset import map_repair
from segkit.errors import LockedError, MapError, PaletteError, UsageError
from segkit.maps import codec
from segkit.palette import Palette
from segkit.reports import findings
from segkit.settings import SnapSettings
from segkit.toy import world
from segkit.toy.world import damage
from tests.commands.test_snap import RECORD, TRUTH, bytes_of, write_maps
from tests.conftest import Segkit


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """A folder with an exact map, a JPEG, and a map with swapped red and blue in a subfolder."""
    return write_maps(tmp_path / "maps")


def test_an_output_that_would_mix_with_the_maps_is_refused(segkit: Segkit, maps: Path, tmp_path: Path) -> None:
    """The folder of the maps, in which repaired ones would clash with them, and a name that is no PNG file."""
    before = sorted(path.name for path in maps.iterdir())
    single = next(path for path in maps.iterdir() if path.is_file())

    same = segkit("snap", maps, "-o", maps)
    named = segkit("snap", single, "-o", tmp_path / "a.jpg")

    assert (same.code, named.code) == (2, 2)
    assert "is the folder of the maps. Pass another folder, or --in-place." in same.err
    assert "a.jpg: repaired maps are PNG files. Pass a path that ends in .png, or a folder." in named.err
    assert sorted(path.name for path in maps.iterdir()) == before
    assert not (tmp_path / "a.jpg").exists()


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

    results = map_repair.snap_files(
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
        map_repair.snap_files(path, None, SnapSettings())
        assert (np.asarray(Image.open(path)) == labels).mean() > 0.99

    assert bytes_of(backup) == {"a.png": originals[0], "a 2.png": originals[1]}


def test_the_rules_convert_and_force_a_cause(tmp_path: Path) -> None:
    """COCO maps become maps of ADE20K on request, and a cause that the user knows overrides the diagnosis."""
    coco = Palette.load("coco_panoptic")
    damage.painted(damage.regions(4, 10, 128, coco), coco).save(tmp_path / "coco.png")
    Image.fromarray(TRUTH).save(tmp_path / "ids.png")

    [converted] = map_repair.snap_files(tmp_path / "coco.png", tmp_path / "a.png", SnapSettings(to="ade20k"))
    [forced] = map_repair.snap_files(tmp_path / "ids.png", tmp_path / "b.png", SnapSettings(cause="label-ids"))

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
        map_repair.snap_files(tmp_path / "nowhere", None, SnapSettings())
    with pytest.raises(PaletteError, match="'mine'"):
        map_repair.snap_files(maps, None, SnapSettings(palette="mine"))
    with pytest.raises(UsageError, match=r"exact\.png already exists\. Choose another output folder"):
        map_repair.snap_files(maps, tmp_path / "taken", SnapSettings())

    assert bytes_of(tmp_path) == before


def foreign(folder: Path, layout: str, suffix: str = ".png") -> Path:
    """Write a photo and its map in a layout; the map is a JPEG if its suffix is. Return the map."""
    photo, name = {"fill50k": ("t", "s"), "imagefolder": ("images", "maps"), "kohya": ("img", "cond")}[layout]
    for place in (photo, name):
        (folder / place).mkdir(parents=True)
    Image.effect_noise((256, 256), 50).convert("RGB").save(folder / photo / "0.png")
    colors = np.array([swatch.rgb for swatch in Palette.load("ade20k")], np.uint8)
    image = Image.fromarray(colors[np.repeat(np.arange(4), 64)[:, None].repeat(256, 1)])
    image.save(folder / name / f"0{suffix}", quality=75)
    lists = {
        "fill50k": ("prompt.json", {"source": f"s/0{suffix}", "target": "t/0.png", "prompt": "x"}),
        "imagefolder": (
            "metadata.jsonl", {"file_name": "images/0.png", "conditioning_image_file_name": f"maps/0{suffix}"}
        ),
    }  # fmt: skip
    if layout in lists:
        (folder / lists[layout][0]).write_text(json.dumps(lists[layout][1]) + "\n")
    return folder / name / f"0{suffix}"


@pytest.mark.parametrize("layout", ["fill50k", "imagefolder", "kohya"])
def test_only_the_maps_of_another_layout_are_repaired(layout: str, tmp_path: Path) -> None:
    """Photos beside them are not touched; in place, a map keeps the name by which its list finds it."""
    control_map = foreign(tmp_path / "data", layout, ".jpg")
    photo = next(path for path in (tmp_path / "data").rglob("0.png"))
    before = photo.read_bytes()

    [repaired] = map_repair.snap_files(tmp_path / "data", tmp_path / "out", SnapSettings())

    assert repaired.output == (tmp_path / "out" / control_map.relative_to(tmp_path / "data")).with_suffix(".png")
    if layout == "kohya":
        [in_place] = map_repair.snap_files(tmp_path / "data", None, SnapSettings())
        assert in_place.output == control_map.with_suffix(".png")
        assert not control_map.exists()
    else:
        with pytest.raises(UsageError, match=r"0\.jpg would become a PNG file, but the list of .* names"):
            map_repair.snap_files(tmp_path / "data", None, SnapSettings())
        assert control_map.exists()
    assert photo.read_bytes() == before


def grey(path: Path, *values: int) -> None:
    """Write a map of four areas whose pixels hold these class indices."""
    Image.fromarray(np.kron(np.array(values, np.uint8).reshape(2, 2), np.ones((16, 16), np.uint8))).save(path)


def test_class_indices_of_a_folder_are_read_alike(tmp_path: Path) -> None:
    """One map with the value 150 shows that all of them count from 1; check-palette suggests the folder."""
    maps = tmp_path / "maps"
    maps.mkdir()
    grey(maps / "a.png", 1, 2, 3, 5)
    grey(maps / "b.png", 1, 3, 6, 150)
    grey(maps / "c.png", 0, 4, 7, 13)

    map_repair.snap_files(maps, tmp_path / "out", SnapSettings())
    cures = {problem.cure for problem in findings.examine(str(maps)).findings}

    corners = {}
    for name in "abc":
        with Image.open(tmp_path / "out" / f"{name}.png") as image:
            corners[name] = np.asarray(image)[::16, ::16].ravel().tolist()
    assert corners == {"a": [0, 1, 2, 4], "b": [0, 2, 5, 149], "c": [255, 3, 6, 12]}
    assert cures == {f"segkit snap {maps} -o repaired"}
    alone = findings.examine(str(maps / "a.png")).findings[0].cure
    assert alone.startswith(f"If wall is 1: segkit snap {maps / 'a.png'} -o repaired/a.png --first-id 1 ; if it is 0: ")


def test_indexed_pictures_with_other_colours_are_read_if_asked(tmp_path: Path) -> None:
    """Their values are the classes; check-palette says how to read them so."""
    values = np.kron(np.array([[3, 9], [120, 255]], np.uint8), np.ones((32, 32), np.uint8))
    image = Image.fromarray(values)
    image.putpalette([(37 * number) % 256 for number in range(768)])
    image.save(tmp_path / "p.png")

    [finding] = findings.examine(str(tmp_path / "p.png")).findings
    rules = SnapSettings(cause="label-ids", first_id=0)
    [repaired] = map_repair.snap_files(tmp_path / "p.png", tmp_path / "out.png", rules)
    [refused] = map_repair.snap_files(tmp_path / "p.png", tmp_path / "other.png", SnapSettings())

    assert finding.cure.startswith("If its values are class indices: segkit snap ")
    assert "--from label-ids" in finding.cure
    assert repaired.output is not None
    with Image.open(repaired.output) as written:
        assert (np.asarray(written) == values).all()
    assert refused.output is None


def test_transparent_areas_stay_unlabelled(tmp_path: Path) -> None:
    """What shows through them, such as white, is no class and no outline."""
    palette = Palette.load("ade20k")
    labels = np.array([[0, 3], [7, 20]], np.uint8).repeat(64, 0).repeat(64, 1)
    rgba = np.asarray(codec.paint(labels, palette).convert("RGBA")).copy()
    rgba[labels == 0] = (255, 255, 255, 0)
    Image.fromarray(rgba).save(tmp_path / "hole.png")

    assert findings.examine(str(tmp_path / "hole.png")).maps[0].off_pixels == 0
    [repaired] = map_repair.snap_files(tmp_path / "hole.png", tmp_path / "out.png", SnapSettings(cause="exact"))

    assert repaired.output is not None
    with Image.open(repaired.output) as written:
        assert (np.asarray(written) == np.where(labels == 0, 255, labels)).all()


def test_a_folder_decides_where_classes_count_from(tmp_path: Path) -> None:
    """Scenes tell it, also for maps of two classes; undecided ones are refused unless the user says it."""
    scenes, undecided = tmp_path / "scenes", tmp_path / "undecided"
    scenes.mkdir()
    undecided.mkdir()
    for seed in (5, 6):
        Image.fromarray(world.scene(seed, (128, 128)).labels + np.uint8(1)).save(scenes / f"{seed}.png")
    for folder in (scenes, undecided):
        grey(folder / "two.png", 3, 3, 3, 7)
        grey(folder / "four.png", 100, 101, 102, 103)

    results = map_repair.snap_files(scenes, tmp_path / "out", SnapSettings())
    refused = map_repair.snap_files(undecided, tmp_path / "no", SnapSettings())
    asked = map_repair.snap_files(undecided, tmp_path / "yes", SnapSettings(first_id=1))

    assert all(result.output for result in results)
    for name in ("out", "yes"):
        with Image.open(tmp_path / name / "two.png") as two, Image.open(tmp_path / name / "four.png") as four:
            assert np.unique(np.asarray(two)).tolist() == [2, 6]
            assert np.unique(np.asarray(four)).tolist() == [99, 100, 101, 102]
    assert [result.reason.split(":")[0] for result in refused] == ["cannot be repaired"] * 2
    assert "If wall is 0: first_id=0; if it is 1: first_id=1" in refused[0].reason
    assert all(result.output for result in asked)


def test_official_folders_count_from_one(tmp_path: Path) -> None:
    """Annotations of ADEChallengeData2016 need no question."""
    folder = tmp_path / "ADEChallengeData2016" / "annotations" / "training"
    folder.mkdir(parents=True)
    grey(folder / "a.png", 0, 4, 7, 13)

    [result] = map_repair.snap_files(folder, tmp_path / "out", SnapSettings())

    assert result.output
    with Image.open(result.output) as image:
        assert np.unique(np.asarray(image)).tolist() == [3, 6, 12, 255]
    assert "first-id" not in findings.examine(str(folder / "a.png")).findings[0].cure


def test_a_map_without_classes_is_not_repaired(tmp_path: Path) -> None:
    """Black, white, transparent, unlabelled, or without a counterpart in the target palette: nothing is written."""
    coco = Palette.load("coco_panoptic")
    folder = tmp_path / "maps"
    folder.mkdir()
    Image.new("RGB", (32, 32)).save(folder / "black.png")
    Image.new("RGB", (32, 32), "white").save(folder / "white.png")
    Image.new("RGBA", (32, 32), (255, 0, 0, 0)).save(folder / "clear.png")
    codec.paint(np.full((32, 32), 255, np.uint8), Palette.load("ade20k")).save(folder / "unlabelled.png")
    Image.new("RGB", (32, 32), coco.find("zebra").rgb).save(folder / "zebra.png")

    results = map_repair.snap_files(folder, tmp_path / "out", SnapSettings(to="ade20k"))

    assert [result.output for result in results] == [None] * 5
    assert {problem.place for problem in findings.examine(str(folder)).findings} == {
        path.name for path in folder.iterdir()
    }
    assert not (tmp_path / "out").exists()


def test_one_process_writes_a_folder(maps: Path, tmp_path: Path) -> None:
    """A second one is refused; afterwards nothing of the lock remains."""
    hidden = tmp_path / "out" / ".segkit-snap"
    hidden.mkdir(parents=True)

    with locks.locked(hidden / "lock"), pytest.raises(LockedError, match=r"out is being written by process"):
        map_repair.snap_files(maps, tmp_path / "out", SnapSettings())
    map_repair.snap_files(maps, tmp_path / "out", SnapSettings())

    assert bytes_of(tmp_path / "out").keys() == {RECORD, "exact.png", "soft.png", "below/swapped.png"}
