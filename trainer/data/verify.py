"""Open every photo and control map of another tool's dataset once, before anything slow starts."""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from PIL import Image

from segkit import maps, photos, threads
from segkit.dataset import stamps
from segkit.dataset.formats.listing import Entry
from segkit.dataset.map_sources import Source
from segkit.errors import MapError, PhotoError
from segkit.maps import codec, diagnose
from segkit.palette import Palette
from segkit.photos.quiet import quiet_pillow
from segkit.problem import Problem
from segkit.progress import Progress, silent
from segkit.reports import map_findings

_CURE = "Replace it, or remove its entry."


@dataclass(frozen=True)
class Measured:
    """What was found when a photo and its control map were opened.

    Attributes:
        width, height: size of the upright photo in pixels.
        photo_hash, map_hash: SHA-256 of the two files.
    """

    width: int
    height: int
    photo_hash: str
    map_hash: str


def measure(
    entries: Sequence[Entry], palette: Palette | None, progress: Progress = silent
) -> tuple[list[Measured], list[Problem]]:
    """Decode every photo and control map, in threads, and compare their shapes.

    Args:
        entries: the pairs.
        palette: palette of the maps; None accepts any picture.
        progress: called with ("photos and maps", done, total).

    Returns:
        A measurement for each entry, in order, if there are no problems; and the problems.
    """
    measured: list[Measured] = []
    problems: list[Problem] = []
    off_palette: list[Path] = []
    with quiet_pillow(), threads.pool(os.cpu_count()) as pool:
        # in parts, since a pool keeps the results of everything that it was asked for
        results = (pool.map(lambda entry: _measure(entry, palette), chunk) for chunk in stamps.chunks(entries))
        for done, result in enumerate(chain.from_iterable(results), 1):
            if isinstance(result, Problem):
                problems.append(result)
            elif isinstance(result, Path):
                off_palette.append(result)
            else:
                measured.append(result)
            progress("photos and maps", done, len(entries))
    if palette and off_palette:
        # named with their folder, since the photo often has the same name
        sources = [Source(Path(*path.parts[-2:]).as_posix(), path) for path in off_palette]
        problems += map_findings.read(sources, palette, silent)[0]
    return measured, problems


def _measure(entry: Entry, palette: Palette | None) -> Measured | Problem | Path:
    """Return the measurement of a pair, what is wrong with it, or a map with colours off the palette."""
    for path in (entry.photo, entry.control_map):
        if not path.is_file():
            return _problem("file-missing", path, f"does not exist; {entry.source} names it.")
    try:
        photo = photos.read(entry.photo)
        width, height = photos.open_upright(photo).size
    except PhotoError as error:
        return _problem("unreadable-photo", entry.photo, f"cannot be used: {error.reason}, {error}.")
    try:
        control_map = maps.read(entry.control_map)
    except MapError as error:
        return _problem("unreadable-map", entry.control_map, f"{error}.")
    map_width, map_height = control_map.size
    # equal aspect ratios, up to one pixel of rounding when one of the two was scaled
    if abs(width * map_height - height * map_width) > max(width, height, map_width, map_height):
        sizes = f"{map_width} x {map_height} pixels, but its photo has {width} x {height}. Expected the same shape."
        return _problem("shapes-differ", entry.control_map, sizes)
    if palette and (wrong := _wrong_map(entry, control_map, palette)):
        return wrong
    digests = [hashlib.sha256(data).hexdigest() for data in (photo, entry.control_map.read_bytes())]
    return Measured(width, height, *digests)


def _wrong_map(entry: Entry, control_map: Image.Image, palette: Palette) -> Problem | Path | None:
    """Return what is wrong with the colours of a map, its path if that must be diagnosed, or None."""
    labels, off = codec.read(control_map, palette)
    if off and _is_map(entry.photo, palette):
        swapped = f"is a photo, and {entry.photo} a map: they are swapped. Correct the columns of {entry.source}."
        return _problem("swapped", entry.control_map, swapped)
    return entry.control_map if off or diagnose.suspicion(control_map, labels, palette) else None


def _is_map(path: Path, palette: Palette) -> bool:
    """Report whether a picture has no other colours than those of a palette."""
    with suppress(MapError):  # photos may have formats in which no map occurs
        return codec.read(maps.read(path), palette)[1] == 0
    return False


def _problem(rule: str, path: Path, what: str) -> Problem:
    return Problem(rule, "error", str(path), f"{path}: {what}", _CURE)
