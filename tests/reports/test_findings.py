"""What check-palette finds, as values: in tables, maps, folders and datasets."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.dataset import Dataset
from segkit.dataset.info import Info
from segkit.dataset.triple import PERSON, Triple, map_name, photo_name
from segkit.errors import MapError, SegkitError, UsageError
from segkit.maps import codec
from segkit.palette import UNLABELLED, Palette
from segkit.photos.geometry import Geometry
from segkit.reports import findings

ADE = Palette.load("ade20k")


def write_map(path: Path, *classes: str, off: int = 0) -> Path:
    """Write a map of 10x10 pixels in bands of equal height, RGB if some pixels are to lie off the palette."""
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = np.repeat(np.array([ADE.find(name).index for name in classes], np.uint8), 10 // len(classes) * 10)
    image = codec.paint(labels.reshape(10, 10), ADE)
    if off:
        image = image.convert("RGB")
        image.paste((1, 2, 3), (0, 0, off, 1))
    image.save(path)
    return path


def test_a_map_is_told_with_its_classes_by_share(tmp_path: Path) -> None:
    """An exact map has no finding, and its classes are named with their shares, largest first."""
    labels = np.full((10, 10), ADE.find("sky").index, np.uint8)
    labels[:2], labels[2:5] = ADE.find("sea").index, UNLABELLED
    codec.paint(labels, ADE).save(tmp_path / "a.png")

    found = findings.examine(str(tmp_path / "a.png"))

    assert (found.kind, found.findings, found.has_findings) == ("map", [], False)
    assert [(m.file, m.off_pixels) for m in found.maps] == [("a.png", 0)]
    assert list(found.maps[0].classes.items()) == [("sky", 0.5), ("sea", 0.2)]


def test_a_folder_is_counted_map_by_map(tmp_path: Path) -> None:
    """Maps in folders below are found, hidden ones are not, and each map off the palette is a finding of its own."""
    write_map(tmp_path / "a.png", "wall", "sky")
    write_map(tmp_path / "b" / "c.PNG", "wall", "sky", off=3)
    write_map(tmp_path / "d.png", "sea", off=10)
    write_map(tmp_path / ".hidden" / "e.png", "sea", off=1)

    found = findings.examine(str(tmp_path))

    assert found.kind == "folder"
    assert {m.file: m.off_palette for m in found.maps} == {"a.png": 0, "b/c.PNG": 0.03, "d.png": 0.1}
    assert {problem.place: problem.rule for problem in found.findings} == dict.fromkeys(
        ["b/c.PNG", "d.png"], "off-palette"
    )
    assert "3 pixels (3.0%) are off the palette ade20k" in found.findings[0].message


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("empty.png", b"", "does not open"), ("text.png", b"hello", "does not open"), ("cut.png", None, "does not open")],
)
def test_a_map_that_does_not_open_is_a_finding(tmp_path: Path, name: str, content: bytes | None, reason: str) -> None:
    """An empty, foreign or truncated file is told by name, and the other maps are still read."""
    whole = write_map(tmp_path / "whole.png", "wall").read_bytes()
    (tmp_path / name).write_bytes(whole[:-40] if content is None else content)

    found = findings.examine(str(tmp_path))

    assert [m.file for m in found.maps] == ["whole.png"]
    assert [(problem.rule, problem.place) for problem in found.findings] == [("unreadable-map", name)]
    assert reason in found.findings[0].message


def test_what_is_called_like_a_map_and_is_no_file_is_told(tmp_path: Path) -> None:
    """A named pipe called like a map is a finding; it is not opened, which would block for ever."""
    write_map(tmp_path / "whole.png", "wall")
    os.mkfifo(tmp_path / "pipe.png")

    found = findings.examine(str(tmp_path))

    assert [problem.message for problem in found.findings] == ["pipe.png is not a file."]


def triple(key: str) -> Triple:
    """Return a triple of this key."""
    return Triple(
        photo_name(key, ".jpg"), map_name(key), "a room", key, f"{key}.jpg", key * 4, "0" * 16, 10, 10,
        Geometry(10, 10, 1, (), 10, 10, 0, 0), (), 4, PERSON, "train", key, "open", (),
    )  # fmt: skip


def test_a_dataset_is_compared_with_its_own_palette(tmp_path: Path) -> None:
    """The maps of a dataset's triples are read with the palette that it records; a missing one is a finding."""
    coco = Palette.load("coco_panoptic")
    dataset = Dataset.create(tmp_path / "rooms", Info(coco, {"segmenter": {"name": "m", "revision": "1"}}, {}))
    with dataset.writing():
        dataset.commit([triple("a" * 16), triple("b" * 16)])
    path = tmp_path / "rooms" / map_name("a" * 16)
    path.parent.mkdir(parents=True)
    codec.paint(np.full((4, 4), coco.find("cat").index, np.uint8), coco).save(path)

    found = findings.examine(str(tmp_path / "rooms"))

    assert (found.kind, found.palette) == ("dataset", "coco_panoptic")
    assert [(m.off_pixels, m.classes) for m in found.maps] == [(0, {"cat": 1.0})]
    assert [problem.message for problem in found.findings] == [f"{map_name('b' * 16)} does not exist."]


def test_a_changed_copy_of_a_published_table_is_compared_with_it(tmp_path: Path) -> None:
    """A table that is called ade20k.csv but holds other classes is no exception."""
    path = tmp_path / "ade20k.csv"
    path.write_text("name,r,g,b\nrobot,120,120,121\n")

    found = findings.examine(str(path))

    assert [problem.message for problem in found.findings] == [
        "robot (0) and wall (0) of ade20k are 1.00 apart "
        "(#787879, #787878; L∞ 1, CIEDE2000 0.62; safe for a drift below 0.50)."
    ]


@pytest.mark.parametrize("distance", [-1.0, 443.0, float("nan"), float("inf")])
def test_a_distance_out_of_range_is_refused(distance: float) -> None:
    """No distance below 0 or beyond that of black and white is taken."""
    with pytest.raises(UsageError, match="expected 0 to 442"):
        findings.examine(None, distance)


@pytest.mark.parametrize("name", ["", "nothing", "nothing.png", "text.md", "no ending", "folder", "pipe.png", "broken"])
def test_other_targets_are_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What is neither table, map, folder of maps nor dataset is refused, with what was found."""
    monkeypatch.chdir(tmp_path)
    Path("text.md").write_text("hello")
    Path("no ending").write_text("hello")
    Path("folder").mkdir()
    os.mkfifo("pipe.png")
    (Path("broken") / ".segkit").mkdir(parents=True)

    with pytest.raises(SegkitError) as raised:
        findings.examine(name)

    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_of_another_kind_is_told_all_that_a_target_may_be(tmp_path: Path) -> None:
    """Tables too, not maps alone."""
    (tmp_path / "notes.txt").write_text("hello")

    with pytest.raises(
        MapError, match=r"does not have the suffix of a picture\. Expected a palette .* or an imagefolder"
    ):
        findings.examine(str(tmp_path / "notes.txt"))


def test_a_folder_called_like_a_table_is_a_folder(tmp_path: Path) -> None:
    """A folder called x.csv is looked into for maps."""
    (tmp_path / "x.csv").mkdir()

    with pytest.raises(MapError, match=r"x\.csv contains no pictures"):
        findings.examine(str(tmp_path / "x.csv"))


def test_progress_is_told_map_by_map(tmp_path: Path) -> None:
    """Progress hears of each map with the total."""
    for name in "ab":
        write_map(tmp_path / f"{name}.png", "wall")
    heard = []

    findings.examine(str(tmp_path), progress=lambda stage, done, total, note="": heard.append((stage, done, total)))

    assert heard == [("maps", 1, 2), ("maps", 2, 2)]


def test_maps_of_one_colour_table_are_found_by_colour_too(tmp_path: Path) -> None:
    """A copy in RGB names the same classes as the indexed map."""
    path = write_map(tmp_path / "a.png", "wall", "sky")
    with Image.open(path) as image:
        image.convert("RGB").save(tmp_path / "b.png")

    indexed, rgb = findings.examine(str(tmp_path)).maps

    assert indexed.classes == rgb.classes == {"wall": 0.5, "sky": 0.5}
