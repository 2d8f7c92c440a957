"""Findings of check-palette about control maps: the cause of wrong colours, the classes shown, the repair."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

from PIL import Image

from segkit.dataset.map_sources import Source
from segkit.errors import MapError
from segkit.maps import causes, codec, diagnose, label_ids
from segkit.maps.causes import CAUSES
from segkit.maps.diagnose import Diagnosis
from segkit.palette import Palette
from segkit.problem import Problem
from segkit.progress import Progress


@dataclass(frozen=True)
class MapReport:
    """Findings about one control map.

    Attributes:
        file: name of the map within the target.
        cause: a key of `causes.CAUSES`; "exact" for a map without fault.
        evidence: what the diagnosis is based on, in words.
        possible: other causes that the pixels do not rule out.
        off_palette: share of pixels whose colour is not in the palette, 0 to 1.
        off_pixels: number of these pixels.
        classes: class name to share of all pixels, counting exact colours only, largest first.
        cure: the command that repairs the map; "" for an exact map.
        hint: why an exact map may be shifted all the same, and the command for that; "" for no reason.
        source: where the map is stored; not part of the JSON.
    """

    file: str
    cause: str
    evidence: str
    possible: tuple[str, ...]
    off_palette: float
    off_pixels: int
    classes: dict[str, float]
    cure: str
    hint: str
    source: Source

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-compatible values."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "source"}


def read(sources: Sequence[Source], palette: Palette, progress: Progress) -> tuple[list[Problem], list[MapReport]]:
    """Diagnose maps, one at a time.

    Args:
        sources: the maps.
        palette: the palette they should use.
        progress: see `segkit.progress`.

    Returns:
        One problem per unreadable or inexact map, and one report per readable map.
    """
    findings: list[Problem] = []
    reports = []
    for done, source in enumerate(sources, 1):
        result = _read_map(source, palette, alone=len(sources) == 1)
        progress("maps", done, len(sources))
        if isinstance(result, Problem):
            findings.append(result)
            continue
        reports.append(result)
        if result.cause != "exact":
            message = f"{result.file}: {_off(result, palette)}{CAUSES[result.cause]} ({result.evidence})."
            findings.append(Problem("off-palette", "error", result.file, message, result.cure))
    return findings, reports


def _off(report: MapReport, palette: Palette) -> str:
    """Return how many pixels are off the palette, to begin a sentence; "" for none."""
    if not report.off_pixels:
        return ""
    pixels = "1 pixel" if report.off_pixels == 1 else f"{report.off_pixels:,} pixels"
    verb = "is" if report.off_pixels == 1 else "are"
    return f"{pixels} ({report.off_palette:.1%}) {verb} off the palette {palette.name}; "


def _read_map(source: Source, palette: Palette, alone: bool) -> MapReport | Problem:
    try:
        image = source.read()
    except MapError as error:
        cure = "Create the map again or remove it."
        return Problem("unreadable-map", "error", source.name, f"{source.name} {error}.", cure)
    diagnosis = diagnose.identify(image, palette)
    labels, off = codec.read(image, palette)
    counts = codec.count(labels)[: len(palette)]
    present = sorted((index for index, count in enumerate(counts) if count), key=lambda index: -counts[index])
    shares = {palette[index].name: round(counts[index] / labels.size, 4) for index in present}
    return MapReport(
        file=source.name,
        cause=diagnosis.cause,
        evidence=diagnosis.evidence,
        possible=diagnosis.possible,
        off_palette=off / labels.size,
        off_pixels=off,
        classes=shares,
        cure=_ids_cure(source, image, palette)
        if diagnosis.cause == "label-ids" and alone
        else _cure(source, diagnosis),
        hint=f"{diagnosis.hint}. If so: {source.cure(('--from', 'shifted'))}" if diagnosis.hint else "",
        source=source,
    )


def _ids_cure(source: Source, image: Image.Image, palette: Palette) -> str:
    """Return the command that repairs a single map of class indices, and the choice if the first class is unclear."""
    with suppress(MapError):
        first = label_ids.official_first(source.file.absolute())
        if first is None and label_ids.first_of([label_ids.read(image)], palette) is None:
            one, zero = (source.cure(("--first-id", first)) for first in "10")
            return f"If {palette[0].name} is 1: {one} ; if it is 0: {zero}"
    return source.cure()


def _cure(source: Source, diagnosis: Diagnosis) -> str:
    cause = diagnosis.cause
    if cause == "exact":
        return ""
    if "label-ids" in diagnosis.possible:
        return f"If its values are class indices: {source.cure(('--from', 'label-ids'))}"
    if cause == "label-ids":
        return source.folder_cure()  # whether classes count from 0 or 1 shows in the folder, not in each map
    if cause == "unsure":
        return " ; ".join(f"If it is {name}: {source.cure(('--from', name))}" for name in diagnosis.possible)
    if cause == "unknown" and "exact" in diagnosis.possible:
        return f"To give its pixels the nearest classes: {source.cure(('--from', 'exact'))}"
    if cause == "foreign":
        return f"If it is painted with another palette: {source.cure(('--palette', 'PALETTE.csv'))} ; else repaint it"
    return causes.cure(cause) or source.cure(("--to", "ade20k") if cause == "coco" else ())
