"""Repair of single maps and of folders, one map at a time, with a report for each; originals are never lost."""

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
from segkit.maps.snap import Snapped
from segkit.palette import Palette
from segkit.progress import Progress, silent
from segkit.settings import SnapSettings


@dataclass(frozen=True)
class SnapResult:
    """Outcome for one map.

    Attributes:
        file: path of the map relative to the folder.
        output: path of the repaired map; None if it could not be repaired.
        reason: why not, or "".
        result: diagnosis and changes; None if the map could not be repaired. Its labels are emptied to save memory.
    """

    file: str
    output: Path | None
    reason: str = ""
    result: Snapped | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as JSON values."""
        outcome: dict[str, Any] = {"file": self.file, "output": str(self.output or ""), "reason": self.reason}
        if not self.result:
            return outcome
        return outcome | {
            "cause": self.result.diagnosis.cause,
            "evidence": self.result.diagnosis.evidence,
            "palette": self.result.palette.name,
            "changed": self.result.changed,
            "doubtful": self.result.doubtful,
            "appeared": list(self.result.appeared),
            "vanished": list(self.result.vanished),
        }


def snap_files(target: Path, output: Path | None, rules: SnapSettings, progress: Progress = silent) -> list[SnapResult]:
    """Repair a map or a folder of maps.

    Args:
        target: the map or folder.
        output: folder for the repaired maps, or for a single map its path, ending in .png. None repairs in place:
            originals are first copied to a folder beside the target (see `backup_of`).
        rules: options.
        progress: see segkit.progress.

    Raises:
        MapError: the target is neither a map nor a folder of maps.
        PaletteError: a palette of the rules does not load.
        UsageError: the target is a dataset, a file would be overwritten, or two maps would get the same name.
        StorageError: the disk is full.
    """
    if (target / ".segkit").is_dir():
        raise UsageError(f"{target} is a dataset: its maps are exact. To check them, run: segkit check {target}")
    folder, files = map_files.find(target)
    palette, target_palette = Palette.load(rules.palette), Palette.load(rules.to) if rules.to else None
    repair = partial(snap.snap, palette=palette, target_palette=target_palette, cause=rules.cause, unsure=rules.unsure)
    backup = backup_of(target) if output is None else None
    outputs = _outputs(folder, files, output)
    results = []
    for number, (file, path) in enumerate(outputs.items(), 1):
        name = file.relative_to(folder).as_posix()
        try:
            results.append(_snap_file(file, name, path, backup, repair))
        except MapError as error:
            results.append(SnapResult(name, None, str(error)))
        progress("maps", number, len(outputs))
    return results


def backup_of(target: Path) -> Path:
    """Return the folder for originals of maps repaired in place: NAME.before-snap, beside the map or folder."""
    path = target.resolve()
    return path.with_name(f"{path.name}.before-snap")


def _outputs(folder: Path, files: Sequence[Path], output: Path | None) -> dict[Path, Path]:
    """Return the output path of each map; none may exist, except for a map repaired in place.

    All of them are checked before the first map is written.
    """
    if output is not None and output.suffix.lower() == ".png" and len(files) == 1:
        outputs = {files[0]: output}
    else:
        outputs = {file: ((output or folder) / file.relative_to(folder)).with_suffix(".png") for file in files}
    taken: dict[str, Path] = {}
    for file, path in outputs.items():
        other = taken.setdefault(str(path).casefold(), file)  # some file systems ignore case
        if other is not file:
            raise UsageError(f"{other.name} and {file.name} would both become {path}. Rename one of them.")
        if path.exists() and (output is not None or path != file):
            raise UsageError(f"{path} already exists. Choose another output folder, or remove it.")
    return outputs


def _snap_file(
    file: Path, name: str, path: Path, backup: Path | None, repair: Callable[[Image.Image], Snapped]
) -> SnapResult:
    result = repair(map_files.read(file))
    data = codec.encode(result.labels, result.palette)
    if backup is None:
        storage.write(path, data)
    elif (original := file.read_bytes()) != data:
        # The copy is on disk before the map is replaced, so that a kill at any moment loses nothing.
        _back_up(backup / name, original)
        storage.write(path, data)
        if path != file:
            file.unlink()
    return SnapResult(name, path, result=replace(result, labels=result.labels[:0]))


def _back_up(path: Path, original: bytes) -> None:
    """Write a copy, under a numbered name if the path holds different content."""
    number, free = 1, path
    while free.exists() and free.read_bytes() != original:
        number += 1
        free = path.with_stem(f"{path.stem} {number}")
    if not free.exists():
        storage.write(free, original)
