"""The findings of check-palette as one self-contained HTML page: swatches and similar pairs, or the worst maps."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

from segkit import storage
from segkit.errors import MapError
from segkit.maps import codec, pixels, snap
from segkit.palette import UNLABELLED, Palette, collisions
from segkit.reports import page
from segkit.reports.findings import PaletteReport
from segkit.reports.map_findings import MapReport

WORST = 12
"""Maximum number of maps shown."""

MOST_PAIRS = 200
"""Maximum number of pairs listed; the user's come before known ones, nearest first."""

THUMBNAIL = 320
"""Longer side of a picture in pixels."""

_MARK = (255, 0, 255)


@dataclass(frozen=True)
class _Repair:
    """A map before and after `snap`.

    Attributes:
        map: the findings of the map.
        pictures: original, off-palette pixels marked, repaired; empty if the map no longer opens.
        advice: the command that repairs the map, or why it cannot be repaired.
    """

    map: MapReport
    pictures: list[page.Picture]
    advice: str


def write(report: PaletteReport, path: Path) -> None:
    """Write the page.

    Raises:
        StorageError: the page cannot be written, for example because the disk is full.
    """
    html = page.render(
        "palette.html",
        report=report,
        findings=[finding for finding in report.findings if finding.severity != "known"],
        pairs=_nearest_pairs(report),
        causes=_causes(report),
        worst=_worst(report),
    )
    storage.write(path, html.encode())


def _nearest_pairs(report: PaletteReport) -> list[collisions.Pair]:
    return sorted(report.pairs, key=lambda pair: (pair.severity == "known", pair.l2))[:MOST_PAIRS]


def _causes(report: PaletteReport) -> list[tuple[str, int]]:
    return Counter(map_report.cause for map_report in report.maps).most_common()


def _worst(report: PaletteReport) -> list[_Repair]:
    if report.map_palette is None:
        return []
    damaged = [map_report for map_report in report.maps if map_report.cause != "exact"]
    worst = sorted(damaged, key=lambda map_report: -map_report.off_palette)[:WORST]
    return [_repair(map_report, report.map_palette) for map_report in worst]


def _repair(map_report: MapReport, palette: Palette) -> _Repair:
    try:
        source = map_report.source.read_file()
    except MapError as error:  # the file vanished or changed after it was diagnosed
        return _Repair(map_report, [], str(error))
    image = source.image
    packed = pixels.pack_image(image)
    original = _shrink(Image.fromarray(pixels.unpack(packed)))
    labels, _ = codec.read(image, palette)
    marked = _mark(original, (labels == UNLABELLED) & (packed != 0))  # black is unlabelled, not off the palette
    pictures = [
        page.embed(original, "original", "PNG", "map"),
        page.embed(marked, "off-palette pixels", "PNG", "map"),
    ]
    target = Palette.load("ade20k") if map_report.cause == "coco" else None
    try:
        snapped = snap.snap(source, palette, target_palette=target)
    except MapError as error:
        return _Repair(map_report, pictures, str(error))
    repaired = _shrink(codec.paint(snapped.labels, snapped.palette))
    pictures.append(page.embed(repaired, "repaired", "PNG", "map"))
    return _Repair(map_report, pictures, map_report.cure)


def _shrink(image: Image.Image) -> Image.Image:
    scale = min(1.0, THUMBNAIL / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Resampling.NEAREST)


def _mark(thumbnail: Image.Image, off: NDArray[np.bool_]) -> Image.Image:
    """Return the map in pale grey with its off-palette pixels marked.

    Args:
        thumbnail: the map, scaled down.
        off: (H, W) mask of off-palette pixels, at the full size of the map.
    """
    pale = thumbnail.convert("L").point(lambda level: 160 + level // 4).convert("RGB")
    # BOX averages over the source pixels, so isolated ones still leave a mark; NEAREST would skip most of them.
    mask = Image.fromarray(off.astype(np.uint8) * np.uint8(255)).resize(pale.size, Resampling.BOX)
    pale.paste(_MARK, mask=mask.point(lambda level: 255 if level else 0))
    return pale
