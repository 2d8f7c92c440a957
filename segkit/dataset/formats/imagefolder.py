"""Hugging Face's imagefolder: metadata with file_name, a column of control maps, and a prompt.

A dataset of segkit has this layout too; without its hidden folder, its splits and rejected triples are still honoured.
Written, each split is a folder with metadata of its own, which Hugging Face and segkit read as that split.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from segkit import rows, storage
from segkit.dataset import lines
from segkit.dataset.formats.listing import (
    MAP_WORDS,
    Damaged,
    Entry,
    Fault,
    Listing,
    file_in,
    json_objects,
    line_of,
    prompt,
    refuse,
    split_of,
)
from segkit.dataset.formats.writing import HF_SPLITS, Chunks, Content, Item
from segkit.dataset.triple import Triple
from segkit.errors import DatasetError

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
"""Names of the list, in order of preference where a folder holds several."""

_STANDARD = ("conditioning_image_file_name", "conditioning_image")
_EXPECTED = "expected file_name, conditioning_image_file_name and text"


def detect(folder: Path) -> bool:
    """Return whether a folder has this layout: metadata, here or in a folder in it, with a column of control maps.

    Damaged rows are left to `read`.

    Raises:
        DatasetError: all rows of a list are damaged.
    """
    return any(map(_has_maps, _metadata(folder)))


def _has_maps(metadata: Path) -> bool:
    faults: list[Fault] = []
    first_rows = [row for _, row in islice(_rows(metadata, faults.append), 100)]
    if faults and not first_rows:
        refuse(faults[0])
    return any(map(_map_columns, first_rows))


def columns(folder: Path) -> list[str]:
    """Return the columns of the first metadata in a folder, for error messages; [] without metadata."""
    return next((list(row) for path in _metadata(folder) for _, row in islice(_rows(path), 1)), [])


def read(folder: Path, keep_rejected: bool = False, lenient: bool = False) -> Listing:
    """Read the metadata of a folder and of the folders in it.

    Splits come from a column `split`, or from folders called train, validation or test. A photo that several lists name
    is read from the first. Rows with `review` "rejected", as segkit writes them, are left out.

    Args:
        folder: the folder.
        keep_rejected: do not leave them out.
        lenient: pass over rows that cannot be used, as faults of the listing.

    Raises:
        DatasetError: the metadata is damaged, lacks a column, names a file outside its folder, or contradicts itself.
    """
    entries: list[Entry] = []
    faults: list[Fault] = []
    damaged = faults.append if lenient else refuse
    rejected = 0
    for path in _metadata(folder):
        listed = {entry.photo for entry in entries}
        for source, row in _rows(path, damaged):
            try:
                entry = _entry(folder, path.parent, row, source)
            except DatasetError as error:
                damaged(Fault(Path(source).relative_to(folder).as_posix(), str(error)))
                continue
            if row.get("review") == "rejected" and not keep_rejected:
                rejected += 1
            elif entry.photo not in listed:
                entries.append(entry)
    notes = [f"Triples rejected in a review, left out: {rejected:,}."] if rejected else []
    notes += [f"{path} is not read, because {first.name} lies beside it." for first, path in _ignored(folder)]
    return Listing("imagefolder", tuple(entries), tuple(notes), tuple(faults))


def _entry(root: Path, folder: Path, row: dict[str, Any], source: str) -> Entry:
    names = _map_columns(row)
    if not names or not isinstance(row.get("file_name"), str):
        raise DatasetError(f"{source}: {_EXPECTED}; found {', '.join(row)}.")
    if len(names) > 1:
        raise DatasetError(
            f"{source}: the map could be {' or '.join(names)}. Rename the map's column to {_STANDARD[0]}."
        )
    photo, control_map = file_in(folder, row["file_name"], source), file_in(folder, row[names[0]], source)
    split = _split(root, photo, row, source)
    return Entry(photo, control_map, prompt(row, source), source, split or "train", has_split=bool(split))


def _map_columns(row: dict[str, Any]) -> list[str]:
    """Return the columns that may hold the control map, whatever their order; more than one is ambiguous.

    The name that diffusers expects comes first, then a name that suggests a map. A mask may be something else, so it
    counts only without a better name, and any other file name, such as the original's, only if it is the only one.
    """
    if standard := [name for name in _STANDARD if name in row]:
        return standard[:1]
    others = [name for name in row if name.endswith(("_file_name", "_image"))]
    words = {name: set(name.split("_")[:-1]) & MAP_WORDS for name in others}
    likely = [name for name in others if words[name] - {"mask"}]
    return likely or [name for name in others if words[name]] or [name for name in others if "original" not in name]


def _split(root: Path, photo: Path, row: dict[str, Any], source: str) -> str:
    folders = [split for part in photo.relative_to(root).parts[:-1] if (split := split_of(part))]
    by_folder, cell = folders[0] if folders else None, row.get("split")
    if cell is None or cell == "":
        return by_folder or ""
    by_column = split_of(cell) if isinstance(cell, str) else None
    if by_column is None:
        raise DatasetError(f"{source}: split is {cell!r}; expected train, val or test.")
    if by_folder and by_folder != by_column:
        raise DatasetError(f"{source}: split is {cell!r}, but {photo} lies in a folder of {by_folder}. Correct one.")
    return by_column


def _metadata(folder: Path) -> list[Path]:
    """Return the metadata files of a folder and of the folders in it; of several in one folder, the first.

    Datasets of segkit in it are datasets of their own.
    """
    inside = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    folders = [folder, *sorted(path for path in inside if not (path / ".segkit").exists())]
    named = (next((place / name for name in METADATA if (place / name).is_file()), None) for place in folders)
    return [path for path in named if path]


def _ignored(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the metadata that is read and each other one beside it."""
    for first in _metadata(folder):
        for name in METADATA:
            if name != first.name and (first.parent / name).is_file():
                yield first, first.parent / name


def _rows(metadata: Path, damaged: Damaged = refuse) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the position of each row, for error messages, and its cells by column."""
    read_rows = {".csv": _csv, ".parquet": _parquet}.get(metadata.suffix, json_objects)
    for line, row in read_rows(metadata, damaged):
        yield f"{metadata}, line {line}", row


def _csv(path: Path, damaged: Damaged) -> Iterator[tuple[int, dict[str, Any]]]:
    header: list[str] = []
    try:
        for line, cells in rows.csv_rows(rows.decode(path.read_bytes(), "surrogateescape")):
            if not header:
                header = cells
                continue
            if reason := _unusable(header, cells):
                damaged(Fault(line_of(path, line), f"{path}: cannot be read, line {line}: {reason}"))
                continue
            padded = cells[: len(header)] + [""] * (len(header) - len(cells))
            yield line, {column: cell for column, cell in zip(header, padded, strict=True) if column}
    except rows.CsvError as error:
        raise DatasetError(f"{path}: cannot be read. Line {error.line}: {error}. Correct or remove the file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}). Correct or remove the file.") from None


def _unusable(header: list[str], cells: list[str]) -> str:
    """Return why a row of a CSV file cannot be used, as a sentence; "" if it can."""
    if any(cells[len(header) :]):
        return "more cells than columns. Put texts with commas in quotes."
    if any(not cell.isascii() and any("\udc80" <= letter <= "\udcff" for letter in cell) for cell in cells):
        return "not UTF-8. Save the table as UTF-8."
    return ""


def _parquet(path: Path, damaged: Damaged) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise DatasetError(f"{path} needs pyarrow. Run: pip install pyarrow") from None
    number = 0
    try:
        for batch in parquet.ParquetFile(path).iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise DatasetError(f"{path}: cannot be read ({error}). Correct or remove the file.") from None


def files(item: Item, split: str) -> dict[str, bytes]:
    """Return the files of a triple by name: as in a dataset, within the folder of its split."""
    triple, folder = item.triple, HF_SPLITS[item.triple.split]
    return {
        f"{folder}/{triple.file_name}": item.photo,
        f"{folder}/{triple.conditioning_image_file_name}": item.control_map,
    }


def lists(content: Content) -> Iterator[tuple[str, Chunks]]:
    """Yield the metadata.jsonl of each split."""
    for split in content.splits:
        yield f"{HF_SPLITS[split]}/metadata.jsonl", map(_line, content.of_split(split))


def _line(triple: Triple) -> bytes:
    names = {"file_name": triple.file_name, "conditioning_image_file_name": triple.conditioning_image_file_name}
    return storage.to_line(names | columns_of(triple))


def columns_of(triple: Triple) -> dict[str, str | int]:
    """Return the columns beside the pictures in Hugging Face's layouts: text and numbers only, never null.

    Lists, objects and keys that somebody added would give the splits different features, which `datasets` refuses; the
    triple's whole line of metadata.jsonl is one text, `record`.
    """
    return {
        "text": triple.text,
        "key": triple.key,
        "source": triple.source,
        "split": triple.split,
        "width": triple.width,
        "height": triple.height,
        "review": triple.review,
        "record": lines.encode(triple).decode().rstrip("\n"),
    }
