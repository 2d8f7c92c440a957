"""Findings of check-palette as values, for tables, maps, folders and datasets."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segkit.dataset import Dataset
from segkit.dataset.info import Info
from segkit.dataset.triple import PERSON, Triple, map_name, photo_name
from segkit.errors import MapError, SegkitError, UsageError
from segkit.maps import codec
from segkit.palette import Palette
from segkit.photos.geometry import Geometry
from segkit.reports import findings

ADE = Palette.load("ade20k")


def write_map(path: Path, *classes: str, off: int = 0) -> Path:
    """Write a 10x10 map of equal bands; with off > 0, as RGB with that many off-palette pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = np.repeat(np.array([ADE.find(name).index for name in classes], np.uint8), 10 // len(classes) * 10)
    image = codec.paint(labels.reshape(10, 10), ADE)
    if off:
        image = image.convert("RGB")
        image.paste((1, 2, 3), (0, 0, off, 1))
    image.save(path)
    return path


def test_every_map_of_a_folder_is_examined(tmp_path: Path) -> None:
    """Maps in subfolders are examined, hidden ones ignored, and each off-palette map is one finding."""
    write_map(tmp_path / "a.png", "wall", "sky")
    write_map(tmp_path / "b" / "c.PNG", "wall", "sky", off=3)
    write_map(tmp_path / "d.png", "sea", off=10)
    write_map(tmp_path / ".hidden" / "e.png", "sea", off=1)

    report = findings.examine(str(tmp_path))

    assert report.kind == "folder"
    assert {m.file: m.off_palette for m in report.maps} == {"a.png": 0, "b/c.PNG": 0.03, "d.png": 0.1}
    assert {problem.place: problem.rule for problem in report.findings} == dict.fromkeys(
        ["b/c.PNG", "d.png"], "off-palette"
    )
    assert "3 pixels (3.0%) are off the palette ade20k" in report.findings[0].message


def triple(key: str) -> Triple:
    """Return a triple with this key."""
    return Triple(
        photo_name(key, ".jpg"), map_name(key), "a room", key, f"{key}.jpg", key * 4, "0" * 16, 10, 10,
        Geometry(10, 10, 1, (), 10, 10, 0, 0), (), 4, PERSON, "train", key, "open", (),
    )  # fmt: skip


def test_a_dataset_is_compared_with_its_recorded_palette(tmp_path: Path) -> None:
    """Maps of a dataset are read with its recorded palette; a missing map is a finding."""
    coco = Palette.load("coco_panoptic")
    dataset = Dataset.create(tmp_path / "rooms", Info(coco, {"segmenter": {"name": "m", "revision": "1"}}, {}))
    with dataset.writing():
        dataset.commit([triple("a" * 16), triple("b" * 16)])
    path = tmp_path / "rooms" / map_name("a" * 16)
    path.parent.mkdir(parents=True)
    codec.paint(np.full((4, 4), coco.find("cat").index, np.uint8), coco).save(path)

    report = findings.examine(str(tmp_path / "rooms"))

    assert (report.kind, report.palette) == ("dataset", "coco_panoptic")
    assert [(m.off_pixels, m.classes) for m in report.maps] == [(0, {"cat": 1.0})]
    assert [problem.message for problem in report.findings] == [f"{map_name('b' * 16)} does not exist."]


def test_a_changed_copy_of_a_published_palette_is_compared_with_it(tmp_path: Path) -> None:
    """A file named ade20k.csv with other classes is compared with ADE20K like any table."""
    path = tmp_path / "ade20k.csv"
    path.write_text("name,r,g,b\nrobot,120,120,121\n")

    report = findings.examine(str(path))

    assert [problem.message for problem in report.findings] == [
        "robot (0) and wall (0) of ade20k are 1.00 apart "
        "(#787879, #787878; L∞ 1, CIEDE2000 0.62; safe for a drift below 0.50)."
    ]


@pytest.mark.parametrize("distance", [-1.0, 443.0, float("nan"), float("inf"), "10"])
def test_a_distance_out_of_range_is_refused(distance: Any) -> None:
    """The distance must lie between 0 and that of black and white."""
    with pytest.raises(UsageError, match=r"min_distance=.*: expected (at least 0, at most 442|a( finite)? number)"):
        findings.examine(None, distance)


@pytest.mark.parametrize("name", ["", "nothing", "nothing.png", "text.md", "no ending", "folder", "pipe.png", "broken"])
def test_unsupported_targets_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The error for an unsupported target names the target and fits on one line."""
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


def test_the_error_lists_every_kind_of_target(tmp_path: Path) -> None:
    """The error for an unsupported file lists tables as well as maps."""
    (tmp_path / "notes.txt").write_text("hello")

    with pytest.raises(
        MapError,
        match=r"does not have the suffix of a picture\. Expected a palette .* in the layout of fill50k",
    ):
        findings.examine(str(tmp_path / "notes.txt"))


def test_a_folder_named_like_a_table_is_a_folder(tmp_path: Path) -> None:
    """A folder named x.csv is searched for maps."""
    (tmp_path / "x.csv").mkdir()

    with pytest.raises(MapError, match=r"x\.csv contains no pictures"):
        findings.examine(str(tmp_path / "x.csv"))
