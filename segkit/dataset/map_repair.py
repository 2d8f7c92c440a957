"""Repair of single maps and of folders, one map at a time, with a report for each; originals are never lost."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from segkit import locks, storage
from segkit.dataset import repair_record
from segkit.dataset.formats import layouts
from segkit.dataset.repair_record import Record
from segkit.errors import DatasetError, MapError, UsageError
from segkit.maps import codec, label_ids, snap
from segkit.maps import files as map_files
from segkit.maps.files import MapFile
from segkit.maps.snap import Snapped
from segkit.palette import Palette
from segkit.progress import Progress, silent
from segkit.settings import SnapSettings
from segkit.words import quote

_CERTAIN = 10.0
"""Evidence, in units of a decisive difference, from which on further maps are not consulted."""


@dataclass(frozen=True)
class SnapResult:
    """Outcome for one map.

    Attributes:
        file: path of the map relative to the folder.
        output: path of the repaired map; None if it could not be repaired.
        reason: why not, or "".
        result: diagnosis and changes; None if the map could not be repaired or is kept. Its labels are emptied to save
            memory.
        kept: whether the output is from an earlier run and was left as it is.
    """

    file: str
    output: Path | None
    reason: str = ""
    result: Snapped | None = None
    kept: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as JSON values."""
        outcome: dict[str, Any] = {
            "file": self.file, "output": str(self.output or ""), "reason": self.reason, "kept": self.kept
        }  # fmt: skip
        if not self.result:
            return outcome
        return outcome | {
            "cause": self.result.diagnosis.cause,
            "evidence": self.result.diagnosis.evidence,
            "palette": self.result.palette.name,
            "changed": self.result.changed,
            "doubtful": self.result.doubtful,
            "concern": self.result.concern,
            "appeared": list(self.result.appeared),
            "vanished": list(self.result.vanished),
            "first_id": self.result.first_id,
        }


_NOT_PNG = (".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""Endings of pictures that a path given for a single map may have by mistake."""


def snap_files(target: Path, output: Path | None, rules: SnapSettings, progress: Progress = silent) -> list[SnapResult]:
    """Repair a map or a folder of maps. Maps that an output folder already holds from the same originals are kept.

    Args:
        target: a map, a folder of maps, or a folder in another tool's layout, of which only the maps are repaired.
        output: folder for the repaired maps, or for a single map its path, ending in .png. None repairs in place:
            originals are first copied to a folder beside the target (see `backup_of`).
        rules: options.
        progress: see segkit.progress.

    Raises:
        MapError: the target is neither a map nor a folder of maps, or its list is damaged.
        PaletteError: a palette of the rules does not load.
        UsageError: the target is a dataset, a file would be overwritten, two maps would get the same name, or a list
            names maps that would get another name.
        LockedError: another process is writing to the same folder.
        StorageError: the disk is full.
    """
    folder, files = _find(target, in_place=output is None)
    if output is not None and output.resolve() == folder.resolve():
        raise UsageError(f"{output} is the folder of the maps. Pass another folder, or in_place=True.")
    if output is not None and target.is_file() and output.suffix.lower() in _NOT_PNG and not output.is_dir():
        raise UsageError(f"{output}: repaired maps are PNG files. Pass a path that ends in .png, or a folder.")
    palette, target_palette = Palette.load(rules.palette), Palette.load(rules.to) if rules.to else None
    backup = backup_of(target) if output is None else None
    first_id = cache(lambda: rules.first_id if rules.first_id is not None else _first_id(files, rules.cause, palette))
    repair = partial(_repaired, palette=palette, target=target_palette, rules=rules, first_id=first_id)
    results = []
    settings = repair_record.settings_of(rules, palette, target_palette)
    _outputs(folder, files, output, settings)  # a refusal leaves no folder
    with _locked(output, folder):
        outputs, record = _outputs(folder, files, output, settings)
        for number, (file, path) in enumerate(outputs.items(), 1):
            name = file.relative_to(folder).as_posix()
            try:
                if record is not None and path.exists():
                    results.append(_kept(file, name, path, record))
                else:
                    results.append(_snap_file(file, name, path, backup, record, repair))
            except MapError as error:
                results.append(SnapResult(name, None, str(error)))
            progress("maps", number, len(outputs))
    return results


def _find(target: Path, in_place: bool) -> tuple[Path, list[Path]]:
    """Return the folder that names are relative to, and the maps."""
    if (target / ".segkit").is_dir():
        raise UsageError(f"{target} is a dataset: its maps are exact. To check them, run: segkit check {quote(target)}")
    try:
        layout = layouts.detect_maps(target)
        if not layout:
            return map_files.find(target)
        files = list(dict.fromkeys(entry.control_map for entry in layouts.read(target).entries))
    except DatasetError as error:
        raise MapError(str(error)) from None
    renamed = [file for file in files if file.suffix.lower() != ".png"]
    if in_place and renamed and layout != "kohya":  # kohya's maps are found by name whatever their suffix
        number = f"{len(renamed)} maps, such as {renamed[0]}, would each" if renamed[1:] else f"{renamed[0]} would"
        raise UsageError(
            f"{number} become a PNG file, but the list of {target} names the file as it is. Pass an output folder, and "
            "edit the list."
        )
    return target, files


def backup_of(target: Path) -> Path:
    """Return the folder for originals of maps repaired in place: NAME.before-snap, beside the map or folder."""
    path = target.resolve()
    return path.with_name(f"{path.name}.before-snap")


def _outputs(
    folder: Path, files: Sequence[Path], output: Path | None, settings: str
) -> tuple[dict[Path, Path], Record | None]:
    """Return the output path of each map, and the record of an output folder.

    No path may exist, except for a map repaired in place, and one that the record knows under the same settings. All of
    them are checked before the first map is written.
    """
    record = None
    if output is not None and output.suffix.lower() == ".png" and len(files) == 1:
        outputs = {files[0]: output}
    else:
        outputs = {file: ((output or folder) / file.relative_to(folder)).with_suffix(".png") for file in files}
        record = Record.open(output, settings) if output is not None else None
    taken: dict[str, Path] = {}
    for file, path in outputs.items():
        other = taken.setdefault(str(path).casefold(), file)  # some file systems ignore case
        if other is not file:
            raise UsageError(f"{other.name} and {file.name} would both become {path}. Rename one of them.")
        if path in outputs and path != file:
            raise UsageError(f"{file.name} would become {path}, which is another of the maps. Rename one of them.")
        if record is not None and path.exists() and path in record:
            record.require_same_settings(path)
        elif path.exists() and (output is not None or path != file):
            raise UsageError(f"{path} already exists. Choose another output folder.")
    return outputs, record


def _kept(file: Path, name: str, path: Path, record: Record) -> SnapResult:
    """Return the outcome for a map that the output folder already holds.

    Raises:
        MapError: it was repaired from another original.
    """
    if not record.is_of(file.read_bytes(), path):
        raise MapError(
            f"is not the map that {path} was repaired from, which is kept. Remove that file to repair this map"
        )
    return SnapResult(name, path, kept=True)


def _snap_file(
    file: Path,
    name: str,
    path: Path,
    backup: Path | None,
    record: Record | None,
    repair: Callable[[MapFile], Snapped],
) -> SnapResult:
    result = repair(map_files.read_file(file))
    data = codec.encode(result.labels, result.palette)
    if record is not None:
        record.add(file.read_bytes(), path)
    if backup is None:
        storage.write(path, data)
    elif (original := file.read_bytes()) != data:
        # The copy is on disk before the map is replaced, so that a kill at any moment loses nothing.
        _back_up(backup / name, original)
        storage.write(path, data)
        if path != file:
            file.unlink()
    return SnapResult(name, path, result=replace(result, labels=result.labels[:0]))


def _repaired(
    source: MapFile,
    palette: Palette,
    target: Palette | None,
    rules: SnapSettings,
    first_id: Callable[[], int | None],
) -> Snapped:
    """Repair one map of a folder; two values are class indices if the folder shows from which number they count."""
    repair = partial(snap.snap, source, palette, target_palette=target, unsure=rules.unsure, first_id=first_id)
    try:
        return repair(cause=rules.cause)
    except MapError:
        if rules.cause or not label_ids.are_two(source.image, palette) or first_id() is None:
            raise
    return repair(cause="label-ids")


def _first_id(files: Sequence[Path], cause: str, palette: Palette) -> int | None:
    """Return whether classes count from 0 or 1 in maps of class indices: one reading for all maps of a folder."""
    official = {label_ids.official_first(file.absolute()) for file in files}
    if len(official) == 1 and None not in official:
        return official.pop()
    evidence = label_ids.Evidence()
    for file in files:
        with suppress(MapError):
            evidence += label_ids.evidence(label_ids.read(map_files.read(file), cause == "label-ids"), palette)
        if evidence.highest == len(palette) or abs(evidence.gain) > _CERTAIN:
            break
    return evidence.first(palette)


@contextmanager
def _locked(output: Path | None, folder: Path) -> Iterator[None]:
    """Hold a lock on the folder that maps are written to; nothing of the lock remains.

    Raises:
        LockedError: another process holds it.
    """
    place = folder if output is None else output.parent if output.suffix.lower() == ".png" else output
    hidden = place / repair_record.HIDDEN
    created = not place.exists()
    storage.make_folder(hidden)
    with locks.locked(hidden / "lock"):
        try:
            yield
        finally:
            with suppress(OSError):
                (hidden / "lock").unlink()
                hidden.rmdir()  # unless it holds a record
                if created:
                    place.rmdir()  # unless maps were written


def _back_up(path: Path, original: bytes) -> None:
    """Write a copy, under a numbered name if the path holds different content."""
    number, free = 1, path
    while free.exists() and free.read_bytes() != original:
        number += 1
        free = path.with_stem(f"{path.stem} {number}")
    if not free.exists():
        storage.write(free, original)
