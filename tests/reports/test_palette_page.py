"""The page of check-palette: findings, the nearest pairs and the worst maps."""

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from segkit.reports import findings, palette_page
from tests.reports.test_findings import write_map
from tests.reports.test_page import HOSTILE, report


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    """Rendering is deterministic."""
    for name in "ab":
        palette_page.write(report(HOSTILE), tmp_path / name)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def pictures(text: str) -> list[Image.Image]:
    """Return the pictures of a page in RGB."""
    return [
        Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB") for data in re.findall(r"base64,([^\"]+)", text)
    ]


def test_the_worst_maps_are_shown_and_exact_ones_are_not(tmp_path: Path) -> None:
    """Of 14 damaged maps the 12 with most off-palette pixels have a figure; all are counted by cause."""
    for off in range(15):
        write_map(tmp_path / f"{off:02}.png", "wall", off=off % 11 + (off > 10) * 20)

    palette_page.write(findings.examine(str(tmp_path)), tmp_path / "page.html")

    text = (tmp_path / "page.html").read_text()
    assert "15 maps by cause" in text
    shown = re.findall(r"(\d\d)\.png[: ]", text[text.index("worst maps") : text.index("Findings</h2>")])
    assert len(set(shown)) == palette_page.WORST
    assert not {"00", "01", "02"} & set(shown)


def test_a_single_pixel_leaves_a_mark(tmp_path: Path) -> None:
    """A pixel that the thumbnail would skip is marked nevertheless; unlabelled black is not off the palette."""
    image = Image.new("RGB", (1280, 1280), (120, 120, 120))
    image.paste((0, 0, 0), (0, 0, 640, 1280))
    image.putpixel((1001, 1002), (1, 2, 3))
    image.save(tmp_path / "a.png")

    palette_page.write(findings.examine(str(tmp_path)), tmp_path / "page.html")

    original, marked, *_ = pictures((tmp_path / "page.html").read_text())
    assert original.size == marked.size == (palette_page.THUMBNAIL, palette_page.THUMBNAIL)
    pixels = np.asarray(marked)
    assert np.argwhere((pixels == (255, 0, 255)).all(-1)).tolist() == [[250, 250]]


def test_a_map_that_vanished_is_named_without_pictures(tmp_path: Path) -> None:
    """A map that was removed after its diagnosis does not stop the page."""
    write_map(tmp_path / "gone.png", "wall", off=4)
    write_map(tmp_path / "here.png", "wall", off=3)
    report = findings.examine(str(tmp_path))
    (tmp_path / "gone.png").unlink()

    palette_page.write(report, tmp_path / "page.html")

    text = (tmp_path / "page.html").read_text()
    assert "gone.png does not exist" in text
    assert len(pictures(text)) == 3  # original, marked, repaired
    assert "here.png: " in text


def test_the_nearest_pairs_come_first_and_known_ones_last(tmp_path: Path) -> None:
    """The pairs of ADE20K, which are known, follow a new one although they are nearer."""
    known = findings.examine(None)
    (tmp_path / "mine.csv").write_text("name,hex\nlawn,#646464\nroof,#646465\n")
    [new] = [pair for pair in findings.examine(str(tmp_path / "mine.csv")).pairs if not pair.other]

    palette_page.write(replace(known, pairs=[*known.pairs[::-1], new]), tmp_path / "page.html")

    text = (tmp_path / "page.html").read_text()
    rows = re.findall(r"<td>(error|warning|known)</td><td>([\d.]+)</td>", text)
    distances = [float(distance) for _, distance in rows]
    assert [severity for severity, _ in rows] == [new.severity, *["known"] * len(known.pairs)]
    assert distances[0] == 1 > distances[1]
    assert distances[1:] == sorted(distances[1:])
