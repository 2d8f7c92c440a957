"""Findings about control maps: classes, unreadable files, and the command that repairs a map."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.dataset.map_sources import Source
from segkit.maps import codec
from segkit.palette import UNLABELLED, Palette
from segkit.progress import silent
from segkit.reports import findings, map_findings
from segkit.toy.world import damage
from tests.conftest import Segkit
from tests.reports.test_findings import write_map

ADE = Palette.load("ade20k")


def test_a_maps_classes_are_reported_by_share(tmp_path: Path) -> None:
    """An exact map has no finding; its classes are listed with their shares, largest first."""
    labels = np.full((10, 10), ADE.find("sky").index, np.uint8)
    labels[:2], labels[2:5] = ADE.find("sea").index, UNLABELLED
    codec.paint(labels, ADE).save(tmp_path / "a.png")

    report = findings.examine(str(tmp_path / "a.png"))

    assert (report.kind, report.findings, report.has_findings) == ("map", [], False)
    assert [(m.file, m.off_pixels) for m in report.maps] == [("a.png", 0)]
    assert list(report.maps[0].classes.items()) == [("sky", 0.5), ("sea", 0.2)]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("empty.png", b"", "does not open"), ("text.png", b"hello", "does not open"), ("cut.png", None, "does not open")],
)
def test_an_unreadable_map_is_a_finding(tmp_path: Path, name: str, content: bytes | None, reason: str) -> None:
    """An empty, foreign or truncated file is reported by name, and the other maps are still examined."""
    whole = write_map(tmp_path / "whole.png", "wall").read_bytes()
    (tmp_path / name).write_bytes(whole[:-40] if content is None else content)

    report = findings.examine(str(tmp_path))

    assert [m.file for m in report.maps] == ["whole.png"]
    assert [(problem.rule, problem.place) for problem in report.findings] == [("unreadable-map", name)]
    assert reason in report.findings[0].message


def test_a_pipe_named_like_a_map_is_a_finding(tmp_path: Path) -> None:
    """A named pipe is reported without being opened, which would block forever."""
    write_map(tmp_path / "whole.png", "wall")
    os.mkfifo(tmp_path / "pipe.png")

    report = findings.examine(str(tmp_path))

    assert [problem.message for problem in report.findings] == ["pipe.png is not a file."]


def test_progress_is_reported_per_map(tmp_path: Path) -> None:
    """Progress is called once per map, with the total."""
    for name in "ab":
        write_map(tmp_path / f"{name}.png", "wall")
    calls = []

    findings.examine(str(tmp_path), progress=lambda stage, done, total, note="": calls.append((stage, done, total)))

    assert calls == [("maps", 1, 2), ("maps", 2, 2)]


def test_rgb_and_indexed_maps_give_the_same_classes(tmp_path: Path) -> None:
    """An RGB copy has the same classes as the indexed map."""
    path = write_map(tmp_path / "a.png", "wall", "sky")
    with Image.open(path) as image:
        image.convert("RGB").save(tmp_path / "b.png")

    indexed, rgb = findings.examine(str(tmp_path)).maps

    assert indexed.classes == rgb.classes == {"wall": 0.5, "sky": 0.5}


def test_the_cure_depends_on_the_cause(tmp_path: Path) -> None:
    """COCO maps are converted, other repairable maps snapped, grey ones created again; exact maps need nothing."""
    coco = Palette.load("coco_panoptic")
    labels = damage.place(1, 12, 128)
    images = {
        "exact": damage.painted(labels),
        "bgr": damage.by("bgr", labels),
        "coco": damage.painted(damage.regions(1, 12, 128, coco), coco),
        "greyscale": damage.painted(labels).convert("L"),
    }
    for name, image in images.items():
        image.save(tmp_path / f"{name}.png")
    sources = [Source(f"{name}.png", tmp_path / f"{name}.png") for name in images]

    problems, reports = map_findings.read(sources, ADE, silent)

    assert [report.cause for report in reports] == list(images)
    snap = f"segkit snap {tmp_path}/{{0}}.png -o repaired/{{0}}.png"
    assert [report.cure for report in reports] == [
        "",
        snap.format("bgr"),
        snap.format("coco") + " --to ade20k",
        "Create the map again from the photo: segkit build-dataset PHOTOS",
    ]
    assert [(problem.place, problem.cure) for problem in problems] == [(r.file, r.cure) for r in reports[1:]]


def test_json_has_no_source(tmp_path: Path) -> None:
    """The JSON of a report has every attribute but the location of the map."""
    path = write_map(tmp_path / "a.png", "wall", "sky", off=1)

    _, [report] = map_findings.read([Source("a.png", path)], ADE, silent)

    shown = report.to_json()
    assert "source" not in shown
    assert (shown["file"], shown["off_pixels"], shown["off_palette"]) == ("a.png", 1, 0.01)
    assert shown["classes"] == {"sky": 0.5, "wall": 0.49}


def test_a_map_that_may_be_shifted_is_named_without_a_finding(segkit: Segkit, tmp_path: Path) -> None:
    """check-palette and snap say why, and how to read it so."""
    labels = np.repeat(np.array([ADE.find(name).index for name in ("ceiling", "wall", "floor")], np.uint8), 20)
    damage.by("shifted", labels[:, None].repeat(40, 1)).save(tmp_path / "a.png")

    checked, snapped = segkit("check-palette", tmp_path / "a.png"), segkit("snap", tmp_path, "-o", tmp_path / "out")

    assert checked.code == 0
    assert "a.png: 33% of its pixels are black" in checked.out
    assert "--from shifted" in checked.out
    assert "If so, use --from shifted." in " ".join(snapped.out.split())
