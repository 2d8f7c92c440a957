"""What check-palette finds in control maps: the cause of wrong colours, the classes, the cure."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from segkit.dataset.map_sources import Source
from segkit.errors import MapError
from segkit.maps import codec, diagnose
from segkit.maps.diagnose import CAUSES
from segkit.palette import Palette
from segkit.problem import Problem
from segkit.progress import Progress


@dataclass(frozen=True)
class MapReport:
    """One control map.

    Attributes:
        file: its name in the target.
        cause: a member of fingerprint.CAUSES.
        evidence: what tells so.
        possible: other causes that its pixels do not exclude.
        off_palette: share of the pixels off the palette, 0 to 1.
        off_pixels: number of those.
        classes: share of the pixels by class name, by the map's exact colours.
        cure: the command that mends it; "" for an exact map.
        source: where it stands.
    """

    file: str
    cause: str
    evidence: str
    possible: tuple[str, ...]
    off_palette: float
    off_pixels: int
    classes: dict[str, float]
    cure: str
    source: Source

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "source"}


def read(sources: Sequence[Source], table: Palette, progress: Progress) -> tuple[list[Problem], list[MapReport]]:
    """Look at maps, one at a time.

    Returns:
        What is wrong, and a report of each map that opens.
    """
    findings: list[Problem] = []
    reports = []
    for done, source in enumerate(sources, 1):
        found = _read_map(source, table)
        progress("maps", done, len(sources))
        if isinstance(found, Problem):
            findings.append(found)
            continue
        reports.append(found)
        if found.cause != "exact":
            off = f"{found.off_pixels:,} pixels ({found.off_palette:.1%}) are off the palette {table.name}"
            message = f"{found.file}: {off}; {CAUSES[found.cause]} ({found.evidence})."
            findings.append(Problem("off-palette", "error", found.file, message, found.cure))
    return findings, reports


def _read_map(source: Source, table: Palette) -> MapReport | Problem:
    try:
        image = source.read()
    except MapError as error:
        return Problem("unreadable-map", "error", source.name, f"{source.name} {error}.", "Make the map anew.")
    found = diagnose.identify(image, table)
    labels, off = codec.read(image, table)
    pixels = codec.count(labels)[: len(table)]
    present = sorted((index for index, number in enumerate(pixels) if number), key=lambda index: -pixels[index])
    shares = {table[index].name: round(pixels[index] / labels.size, 4) for index in present}
    share, cure = off / labels.size, _cure(source, found.cause)
    return MapReport(source.name, found.cause, found.evidence, found.possible, share, off, shares, cure, source)


def _cure(source: Source, cause: str) -> str:
    if cause == "exact":
        return ""
    if cause in ("unknown", "greyscale"):
        return "Make the map anew: segkit build-dataset PHOTOS"
    return source.cure(("--to", "ade20k") if cause == "coco" else ())
