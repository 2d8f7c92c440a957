"""Folders of foreign maps mended, one map at a time, with a report of each; the originals are never lost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from segkit import storage
from segkit.errors import MapError, UsageError
from segkit.maps import codec, snap
from segkit.maps import files as map_files
from segkit.maps.snap import Snapped, Unsure
from segkit.palette import Palette
from segkit.progress import Progress, silent


@dataclass(frozen=True)
class Rules:
    """How maps are mended.

    Attributes:
        palette: a shipped palette's name or a table: what the maps should be painted with.
        to: the palette whose classes foreign ones get by their names; "" leaves them.
        cause: what is wrong with all of them, a member of fingerprint.CAUSES; "" looks at each.
        unsure: what becomes of pixels that cannot be decided.
    """

    palette: str = "ade20k"
    to: str = ""
    cause: str = ""
    unsure: Unsure = "nearest"


@dataclass(frozen=True)
class SnapResult:
    """What became of one map.

    Attributes:
        file: its name in the folder.
        output: where the mended map is; None if it could not be mended.
        reason: why not, or "".
        result: what was found and done; None if it could not be mended. Its labels are let go.
    """

    file: str
    output: Path | None
    reason: str = ""
    result: Snapped | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        told: dict[str, Any] = {"file": self.file, "output": str(self.output or ""), "reason": self.reason}
        if not self.result:
            return told
        return told | {
            "cause": self.result.diagnosis.cause,
            "evidence": self.result.diagnosis.evidence,
            "palette": self.result.palette.name,
            "changed": self.result.changed,
            "doubtful": self.result.doubtful,
            "appeared": list(self.result.appeared),
            "vanished": list(self.result.vanished),
        }


def snap_files(target: Path, output: Path | None, rules: Rules, progress: Progress = silent) -> list[SnapResult]:
    """Mend a map or a folder of maps.

    Args:
        target: the map or folder.
        output: folder for the mended maps, or for one map its name, ending in .png. None mends in place: the originals
            are first copied into a folder beside it (see backup_of).
        rules: how.
        progress: see segkit.progress.

    Raises:
        MapError: the target is neither a map nor a folder of maps.
        PaletteError: a palette of the rules is none.
        UsageError: the target is a dataset, a file would be written over, or two would get one name.
        StorageError: the disk is full.
    """
    if (target / ".segkit").is_dir():
        raise UsageError(f"{target} is a dataset: its maps are exact. See: segkit check {target}")
    folder, files = map_files.find(target)
    table, to = Palette.load(rules.palette), Palette.load(rules.to) if rules.to else None
    way = partial(snap.snap, palette=table, target_palette=to, cause=rules.cause, unsure=rules.unsure)
    backup = backup_of(target) if output is None else None
    places = _places(folder, files, output)
    found = []
    for number, (file, place) in enumerate(places.items(), 1):
        name = file.relative_to(folder).as_posix()
        try:
            found.append(_snap_file(file, name, place, backup, way))
        except MapError as error:
            found.append(SnapResult(name, None, str(error)))
        progress("maps", number, len(places))
    return found


def backup_of(target: Path) -> Path:
    """Return the folder for originals that are mended in place: beside the map or folder, called NAME.before-snap."""
    whole = target.resolve()
    return whole.with_name(f"{whole.name}.before-snap")


def _places(folder: Path, files: Sequence[Path], output: Path | None) -> dict[Path, Path]:
    """Return where each mended map goes; nothing may stand there but, in place, the map itself."""
    if output is not None and output.suffix.lower() == ".png" and len(files) == 1:
        places = {files[0]: output}
    else:
        places = {file: ((output or folder) / file.relative_to(folder)).with_suffix(".png") for file in files}
    taken: dict[str, Path] = {}
    for file, place in places.items():
        other = taken.setdefault(str(place).casefold(), file)
        if other is not file:
            raise UsageError(f"{other.name} and {file.name} would both become {place}. Rename one of them.")
        if place.exists() and (output is not None or place != file):
            raise UsageError(f"{place} is there already. Name an empty folder with -o, or remove it.")
    return places


def _snap_file(
    file: Path, name: str, place: Path, backup: Path | None, way: Callable[[Image.Image], Snapped]
) -> SnapResult:
    result = way(map_files.read(file))
    data = codec.encode(result.labels, result.palette)
    if backup is None:
        storage.write(place, data)
    elif (original := file.read_bytes()) != data:
        _keep(backup / name, original)
        storage.write(place, data)
        if place != file:
            file.unlink()
    return SnapResult(name, place, result=replace(result, labels=result.labels[:0]))


def _keep(path: Path, original: bytes) -> None:
    """Write a copy, under another name if one of that name holds something else."""
    number, free = 1, path
    while free.exists() and free.read_bytes() != original:
        number += 1
        free = path.with_stem(f"{path.stem} {number}")
    if not free.exists():
        storage.write(free, original)
